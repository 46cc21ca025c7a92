"""The pure core: what is asked, what it may reveal and what it costs. No I/O, clock or settings."""
