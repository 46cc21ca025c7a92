"""The pure core: what is asked, what it may reveal, what it costs. No I/O, no clock, no environment."""
