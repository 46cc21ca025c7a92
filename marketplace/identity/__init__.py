"""Who calls: users, organisations, their tokens and grants."""
