"""The data side of the lab: contracts, ingest, storage, and a made-up city to try them on."""
