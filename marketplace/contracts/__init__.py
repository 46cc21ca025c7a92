"""Digital contracts: who may do what with which data for how long, and how it ends."""
