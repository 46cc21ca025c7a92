"""What a stored version consists of, and the small pointer that makes it the current one.

The pointer carries an HMAC over the sealed manifest, bound to the table's name, and the manifest
carries the SHA-256 of every file: whoever can write to the store but lacks the keys can neither
change a contract or a file nor put one table's version in another's place.
"""

import datetime as dt
import hmac
import json
from dataclasses import asdict, dataclass

from privacy.dp.types import DataType, Value
from sandbox.lake.contract import parse_contract
from sandbox.lake.errors import IntegrityError, UnknownTableError
from sandbox.lake.keys import KeyRing
from sandbox.lake.seal import seal_bytes, unseal_bytes
from sandbox.lake.store import MissingObjectError, Store
from sandbox.lake.terms import Contract, DomainSource

POINTERS = "current/"
"""Pointers are `current/<table>`; everything else of a table is below `tables/<table>/`."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One sealed object of a version."""

    key: str
    sealed_sha256: str
    plain_sha256: str


@dataclass(frozen=True, slots=True)
class Batch:
    """One delivery that a version holds."""

    name: str
    digest: str
    """SHA-256 over the delivered files' contents."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One stored version of a table. It holds no count and no size: nobody may decide by them."""

    table: str
    version: str
    """A number that counts up and 16 random hexadecimal digits: `3-9f86d081884c7d65`."""
    contract: Contract
    cohorts: tuple[int, ...]
    files: tuple[StoredFile, ...]
    displaced: StoredFile | None
    """Rows that lost to another row with the same unique key, kept to merge later deliveries."""
    quarantine: StoredFile
    """Rows that were not stored, each with its reason: for the provider only."""
    report: StoredFile
    """Figures of this ingest as JSON: for the provider only."""
    batches: tuple[Batch, ...]

    @property
    def number(self) -> int:
        """The version's place in the table's history, from 1."""
        return number_of(self.version)

    @property
    def folder(self) -> str:
        """Where the version's objects lie."""
        return folder_of(self.table, self.version)

    def to_json(self) -> bytes:
        """Return the manifest as JSON; its contract's domains are frozen into it."""
        content = {
            **asdict(self),
            "contract": json.loads(self.contract.document),
            "domains": {
                f.name: [str(v) if isinstance(v, dt.date) else v for v in f.domain]
                for f in self.contract.fields
                if isinstance(f.domain, tuple)
            },
        }
        return json.dumps(content, ensure_ascii=False, sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Manifest":
        """Return the manifest in these bytes."""
        content = json.loads(data)
        contract = parse_contract(content["contract"])

        def frozen(source: DomainSource) -> tuple[Value, ...]:
            field = next(f for f in contract.fields if f.domain == source)
            dates = field.type is DataType.DATE
            values = content["domains"][field.name]
            return tuple(dt.date.fromisoformat(v) if dates else v for v in values)

        displaced = content["displaced"]
        return cls(
            table=content["table"],
            version=content["version"],
            contract=contract.resolve(frozen),
            cohorts=tuple(content["cohorts"]),
            files=tuple(StoredFile(**f) for f in content["files"]),
            displaced=StoredFile(**displaced) if displaced else None,
            quarantine=StoredFile(**content["quarantine"]),
            report=StoredFile(**content["report"]),
            batches=tuple(Batch(**b) for b in content["batches"]),
        )


def number_of(version: str) -> int:
    """Return a version's place in its table's history."""
    return int(version.partition("-")[0])


def folder_of(table: str, version: str) -> str:
    """Return where a version's objects go; another try of the same number goes elsewhere."""
    number, _, mark = version.partition("-")
    return f"tables/{table}/{int(number):06d}-{mark}"


def read_pointer(store: Store, table: str) -> bytes:
    """Return the pointer's bytes, which change with the current version."""
    try:
        return store.get_bytes(POINTERS + table)
    except MissingObjectError as error:
        raise UnknownTableError(table) from error


def read_manifest(store: Store, keys: KeyRing, table: str, pointer: bytes) -> Manifest:
    """Return the manifest that a pointer names; raise unless it is what ingest wrote."""
    try:
        said = json.loads(pointer)
        key, tag = str(said["manifest"]), str(said["tag"])
    except (ValueError, KeyError, TypeError) as error:
        raise _broken(table) from error
    sealed = store.get_bytes(key)
    if not hmac.compare_digest(tag, keys.tag(f"manifest/{table}", sealed)):
        raise _broken(table)
    manifest = Manifest.from_json(unseal_bytes(keys, sealed, key))
    if manifest.table != table:
        raise _broken(table)
    return manifest


def publish(store: Store, keys: KeyRing, manifest: Manifest) -> None:
    """Store a manifest and make its version the current one, by one small object written last."""
    sealed = seal_bytes(keys, manifest.to_json())
    key = f"{manifest.folder}/manifest.age"
    store.put_bytes(key, sealed)
    tag = keys.tag(f"manifest/{manifest.table}", sealed)
    pointer = json.dumps({"manifest": key, "tag": tag}).encode()
    store.put_bytes(POINTERS + manifest.table, pointer)


def _broken(table: str) -> IntegrityError:
    return IntegrityError(
        f"The pointer of table {table} does not match its manifest: the store was changed, or the "
        "keys are another lake's. Restore both from one backup."
    )
