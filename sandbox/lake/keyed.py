"""HMAC-SHA256 inside DuckDB: one vectorised expression instead of a Python call for each row.

Source: RFC 2104: HMAC(K, m) = H(K ⊕ opad ‖ H(K ⊕ ipad ‖ m)); a test compares it with `hmac`.
"""

import duckdb

_BLOCK_BYTES = 64


class KeyedHash:
    """HMAC under one key on one connection; the key is a session variable, never query text."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, name: str, key: bytes) -> None:
        """Bind the key's two pads to variables that begin with `name`."""
        self._inner, self._outer = f"{name}_inner", f"{name}_outer"
        padded = key.ljust(_BLOCK_BYTES, b"\0")
        if len(padded) != _BLOCK_BYTES:
            raise ValueError(f"a key has at most {_BLOCK_BYTES} bytes, got {len(key)}")
        for variable, pad in ((self._inner, 0x36), (self._outer, 0x5C)):
            value = bytes(byte ^ pad for byte in padded)
            connection.execute(f"SET VARIABLE {variable} = ?::BLOB", [value])

    def hex(self, message: str) -> str:
        """Return the SQL of the tag, 64 hex digits, of a BLOB expression."""
        inner = f"sha256(getvariable('{self._inner}') || {message})"
        return f"sha256(getvariable('{self._outer}') || unhex({inner}))"

    def uint64(self, message: str) -> str:
        """Return the SQL of the tag's first 64 bits as UBIGINT."""
        return f"('0x' || ({self.hex(message)})[1:16])::UBIGINT"
