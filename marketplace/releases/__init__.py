"""Reserve, record, read back: the life of a paid answer."""
