"""The log over HTTP: checkpoint and proofs hold hashes only, so anyone may ask (soundness F.29)."""

from typing import Any

from fastapi import APIRouter

from marketplace.audit import store
from marketplace.errors import MarketplaceError
from marketplace.http import Here

router = APIRouter(prefix="/log", tags=["log"])


@router.get("/checkpoint")
def checkpoint(here: Here) -> dict[str, Any]:
    """Return the size and root of the log."""
    with here.database.reading() as connection:
        size, root = store.checkpoint(connection)
    return {"size": size, "root": root.hex()}


@router.get("/proofs/{index}")
def inclusion(index: int, here: Here) -> dict[str, Any]:
    """Return the audit path of one entry, without the entry."""
    with here.database.reading() as connection:
        try:
            found = store.proof(connection, index)
        except ValueError as error:
            raise _no_such(error) from error
    return {
        "index": index,
        "leaf_hash": found.leaf_hash.hex(),
        "size": found.size,
        "root": found.root.hex(),
        "proof": [p.hex() for p in found.path],
    }


@router.get("/consistency/{old_size}")
def consistency(old_size: int, here: Here) -> dict[str, Any]:
    """Return the proof that the log of `old_size` entries is a prefix of today's."""
    with here.database.reading() as connection:
        try:
            size, root, path = store.consistency(connection, old_size)
        except ValueError as error:
            raise _no_such(error) from error
    return {
        "old_size": old_size,
        "size": size,
        "root": root.hex(),
        "proof": [p.hex() for p in path],
    }


def _no_such(error: ValueError) -> MarketplaceError:
    return MarketplaceError("NOT_FOUND", f"{error}.", "日志中没有该条目或该大小的树。")
