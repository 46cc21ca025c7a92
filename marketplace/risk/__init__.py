"""Risk rules over what the log keeps, the hits they make, and how people dispose of them."""
