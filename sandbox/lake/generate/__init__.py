"""A made-up city: registry, tax, social insurance, courts, loans, with no real enterprise in it.

Everything is drawn from one seed. The recipe gives each enterprise a hidden health; what the tables
show follows from it, so that a credit model has something to find. `__main__` is the command.
"""
