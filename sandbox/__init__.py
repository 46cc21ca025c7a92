"""The lab's side that touches data: lake, engines and the Spark Connect gateway."""
