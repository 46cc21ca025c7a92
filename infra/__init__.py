"""The `lab` command: it starts, watches and stops the sides, and imports none of them."""
