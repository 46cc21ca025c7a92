"""The registry of a unit domain: which integer stands for which unit, and its cohort, for ever.

A unit is known by its token, HMAC(domain key, canonical id), never by the id itself: so an entry is
also the tombstone that stays after a unit's rows were erased, and no integer is assigned twice.
The integer is taken from the token, so that the presence of one unit does not change another's;
only on a collision (odds about 10^-7 for a million units) does the later token take the next draw.
A unit's cohort is the year in which it was first ingested anywhere in the domain.
All tables of a domain name its units by one kind of id: by another kind the same unit would be
entered again, as a new one of a new cohort, with a budget of its own.
"""

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from sandbox.lake.errors import IntegrityError, LakeError
from sandbox.lake.keyed import KeyedHash
from sandbox.lake.keys import KeyRing
from sandbox.lake.seal import digest_of, seal_file, unseal_file
from sandbox.lake.store import MissingObjectError, Store

SURROGATE_BITS = 62
"""Integers are drawn from [0, 2^62): positive as BIGINT, with room for arithmetic."""


@dataclass(frozen=True, slots=True)
class Registry:
    """One domain's entries, as table `registry(token, unit, cohort)` of a connection."""

    domain: str
    epochs: tuple[int, ...]
    """Years in which anything was ingested into the domain: a fact about deliveries, not units."""
    kind: str = ""
    """Kind of its ids, set by the first delivery; empty before it."""


def open_registry(
    connection: duckdb.DuckDBPyConnection, store: Store, keys: KeyRing, domain: str, folder: Path
) -> Registry:
    """Load a domain's current entries into table `registry` of the connection."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE registry (token BLOB, unit BIGINT, cohort INTEGER)"
    )
    try:
        pointer = json.loads(store.get_bytes(_pointer(domain)))
    except MissingObjectError:
        return Registry(domain, ())
    signed = json.dumps(pointer["content"], sort_keys=True).encode()
    if not hmac.compare_digest(pointer["tag"], keys.tag(f"registry/{domain}", signed)):
        raise IntegrityError(
            f"The registry of domain {domain} was changed, or the keys are another lake's. "
            "Restore both from one backup."
        )
    content = pointer["content"]
    sealed, plain = folder / "registry.age", folder / "registry.parquet"
    store.get(content["key"], sealed)
    if digest_of(sealed) != content["sha256"]:
        raise IntegrityError(f"Object {content['key']} was changed. Restore it from a backup.")
    unseal_file(keys, sealed, plain)
    connection.execute("INSERT INTO registry SELECT * FROM read_parquet(?)", [str(plain)])
    sealed.unlink()
    plain.unlink()
    return Registry(domain, tuple(content["epochs"]), content.get("kind", ""))


def of_kind(registry: Registry, kind: str) -> Registry:
    """Return the registry with its kind of ids settled; LakeError if it is another."""
    if registry.kind not in ("", kind):
        raise LakeError(
            f"Domain {registry.domain} knows its units by {registry.kind} ids, and this contract "
            f"names them by {kind} ids: the same unit would count twice. Deliver the ids that the "
            "domain uses."
        )
    return replace(registry, kind=kind)


def assign(
    connection: duckdb.DuckDBPyConnection,
    keys: KeyRing,
    registry: Registry,
    year: int,
    bits: int = SURROGATE_BITS,
) -> tuple[Registry, bool]:
    """Enter the units of table `ids(raw, id)` and leave `units(raw, id, unit, cohort)`.

    Returns the registry and whether it has changed.
    """
    token = KeyedHash(connection, "unit", keys.subkey(f"unit/{registry.domain}")).hex("encode(id)")
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE tokens AS
        SELECT raw, id, unhex({token}) AS token FROM ids WHERE id IS NOT NULL
        """
    )
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE drawn AS
        SELECT token, (('0x' || hex(token)[1:16])::UBIGINT >> {64 - bits})::BIGINT AS unit
        FROM (SELECT DISTINCT token FROM tokens) ANTI JOIN registry USING (token)
        """
    )
    _redraw_collisions(connection, bits)
    connection.execute(f"INSERT INTO registry SELECT token, unit, {year:d} FROM drawn")
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE units AS
        SELECT raw, id, unit, cohort FROM tokens JOIN registry USING (token)
        """
    )
    _check_bijection(connection)
    new = connection.execute("SELECT count(*) FROM drawn").fetchone()
    epochs = tuple(sorted({*registry.epochs, year}))
    return replace(registry, epochs=epochs), new != (0,) or epochs != registry.epochs


def save_registry(
    connection: duckdb.DuckDBPyConnection,
    store: Store,
    keys: KeyRing,
    registry: Registry,
    folder: Path,
) -> None:
    """Make table `registry` the domain's current entries; the pointer is written last."""
    plain, sealed = folder / "registry.parquet", folder / "registry.age"
    connection.execute(
        "COPY (SELECT * FROM registry ORDER BY token) TO $path (FORMAT parquet)",
        {"path": str(plain)},
    )
    seal_file(keys, plain, sealed)
    plain.unlink()
    key = f"domains/{registry.domain}/{secrets.token_hex(8)}.parquet.age"
    content = {
        "key": key,
        "sha256": digest_of(sealed),
        "epochs": list(registry.epochs),
        "kind": registry.kind,
    }
    store.put(key, sealed)
    sealed.unlink()
    signed = json.dumps(content, sort_keys=True).encode()
    tag = keys.tag(f"registry/{registry.domain}", signed)
    pointer = _pointer(registry.domain)
    store.put_bytes(pointer, json.dumps({"content": content, "tag": tag}).encode())
    for old in store.list(f"domains/{registry.domain}/"):
        if old not in (key, pointer):
            store.delete(old)


def _pointer(domain: str) -> str:
    return f"domains/{domain}/current"


def _redraw_collisions(connection: duckdb.DuckDBPyConnection, bits: int) -> None:
    """Give every token whose integer is taken the next one of its own sequence."""
    colliding = connection.execute(
        """
        SELECT token FROM drawn
        WHERE unit IN (SELECT unit FROM registry)
           OR unit IN (SELECT unit FROM drawn GROUP BY unit HAVING count(*) > 1)
        ORDER BY token
        """
    ).fetchall()
    if not colliding:
        return
    connection.execute(
        "DELETE FROM drawn WHERE token IN (SELECT unnest(?::BLOB[]))", [[t for (t,) in colliding]]
    )
    for (token,) in colliding:
        draw = 0
        unit = int.from_bytes(token[:8], "big") >> (64 - bits)
        while connection.execute(
            "SELECT 1 FROM registry WHERE unit = $u UNION ALL SELECT 1 FROM drawn WHERE unit = $u",
            {"u": unit},
        ).fetchone():
            draw += 1
            digest = hashlib.sha256(token + draw.to_bytes(8, "big")).digest()
            unit = int.from_bytes(digest[:8], "big") >> (64 - bits)
        connection.execute("INSERT INTO drawn VALUES (?, ?)", [token, unit])


def _check_bijection(connection: duckdb.DuckDBPyConnection) -> None:
    row = connection.execute(
        """
        SELECT count(DISTINCT id) = count(DISTINCT unit),
          (SELECT count(*) = count(DISTINCT unit) AND count(*) = count(DISTINCT token)
           FROM registry)
        FROM units
        """
    ).fetchone()
    if row != (True, True):
        raise AssertionError("surrogates are no bijection: two units share an integer")
