"""The database's tables as numbered revisions; the one place where tables are made and altered."""
