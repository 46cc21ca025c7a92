"""The service of record: who may ask, what it costs, what was released, and a log of every decision."""
