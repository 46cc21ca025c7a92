"""Who may do what, decided by Cedar policies over stated facts; every decision can be replayed."""
