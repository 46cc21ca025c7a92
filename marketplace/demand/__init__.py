"""What data is asked for that nobody can use yet, and how much of it was met."""
