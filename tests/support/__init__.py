"""Real stand-ins and oracles that the tests share."""
