"""Which versions of tables the lab reads: each an entry before anything is answered from it."""
