"""The service of record: who may ask, what it costs, what was released. It logs each decision."""
