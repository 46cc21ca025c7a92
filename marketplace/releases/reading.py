"""What a user may read back: one's own questions, and receipts that prove themselves."""

import base64
import json

from marketplace.audit import store as log
from marketplace.audit import tree
from marketplace.audit.entry import Plain
from marketplace.audit.published import Log
from marketplace.db import Database
from marketplace.releases import refusals, store
from marketplace.window import NEWEST, Window


def history(
    database: Database, tenant: str, user: str, window: Window = NEWEST
) -> list[dict[str, Plain]]:
    """Return a user's questions with cost, state, receipt and releases."""
    with database.reading() as connection:
        held = store.history(connection, tenant, user, window)
        items = store.items_of(connection, [h.id for h in held])
    return [
        {
            "reservation_id": h.id,
            "operation_id": h.operation_id,
            "created": h.created,
            "state": h.state.value,
            "purpose": h.purpose,
            "epsilon": h.epsilon,
            "plan_digest": h.plan_digest,
            "tables": dict(h.tables),
            "charged_micro_rho": sum(i.charged_micro_rho for i in items[h.id]),
            "receipt_id": h.receipt_id,
            "release_ids": [i.release_id for i in items[h.id] if i.release_id],
        }
        for h in held
    ]


def receipt(database: Database, published: Log, tenant: str, name: str) -> dict[str, Plain]:
    """Return a receipt, by its id or by a release's, with a proof for each of its releases.

    Whoever holds it can check offline that the bytes hash to what the entry says, the entry to the
    leaf, and the leaf with its path to the root of the checkpoint.
    """
    with database.reading() as connection:
        paid = store.by_receipt(connection, tenant, name)
        ids = [name] if paid is None else _release_ids(store.items(connection, paid.id))
        releases = store.releases(connection, tenant, ids)
        if not releases:
            raise refusals.no_such_release()
    published.wait(releases[-1].entry_index)
    checkpoint, fetch = published.head.checkpoint, published.fetch(published.head.checkpoint.size)
    with database.reading() as connection:
        entries = [log.entry(connection, r.entry_index) for r in releases]
    paths = [tree.inclusion_proof(r.entry_index, checkpoint.size, fetch) for r in releases]
    return {
        "receipt_id": name,
        "plan_digest": None if paid is None else paid.plan_digest,
        "time": releases[-1].created,
        "checkpoint": {"size": checkpoint.size, "root": checkpoint.root.hex()},
        "releases": [
            {
                "release_id": r.id,
                "digest": r.digest,
                "micro_rho": r.cost.micro_rho,
                "delta_1e12": r.cost.delta_1e12,
                "mechanism": r.mechanism,
                "draws": json.loads(r.draws),
                "tables": dict(r.tables),
                "answer_sha256": r.sha256,
                "entry_index": r.entry_index,
                "entry_b64": base64.b64encode(entry).decode(),
                "leaf_hash": tree.leaf_hash(entry).hex(),
                "proof": [h.hex() for h in path],
                "tlog_proof": published.proof(r.entry_index, witnessed=True),
            }
            for r, entry, path in zip(releases, entries, paths, strict=True)
        ],
    }


def _release_ids(items: list[store.StoredItem]) -> list[str]:
    return [i.release_id for i in items if i.release_id is not None]
