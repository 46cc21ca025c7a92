"""The log: exact bytes of every decision, in a Merkle tree."""
