"""Takes delivered files into the lake under a contract: checked, ranked, sealed, and all at once.

An ingest is a row of steps in a private working folder. Killed at any point it leaves the old
version current, or the new one; started again with the same files it goes on after the last
finished step. Readers notice a version by its pointer, which is written last.
"""

import datetime as dt
import hashlib
import json
import secrets
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from privacy.dp.types import Value
from sandbox.lake.canonical import canonical_ids
from sandbox.lake.catalogue import Lake
from sandbox.lake.errors import ContractError, LakeError, UnknownTableError
from sandbox.lake.keyed import KeyedHash
from sandbox.lake.keys import KeyRing
from sandbox.lake.layout import Earlier, Laid, Layout
from sandbox.lake.manifest import Batch, Manifest, StoredFile, folder_of, publish
from sandbox.lake.reading import Encoding, Source, open_source
from sandbox.lake.registry import assign, of_kind, open_registry, save_registry
from sandbox.lake.report import figures, note_faults, read_report, write_quarantine
from sandbox.lake.rows import RowReader, quote
from sandbox.lake.seal import digest_of, seal_file
from sandbox.lake.steps import Steps, locked, only_steps
from sandbox.lake.store import Store
from sandbox.lake.terms import Contract, DomainSource


@dataclass(frozen=True, slots=True)
class Delivery:
    """Files to store under a contract."""

    contract: Contract
    files: tuple[Path, ...]
    as_known: dt.date
    """The day on which the city knew these rows; new units get its year as their cohort."""
    append: bool = False
    """Add to the current version instead of replacing it."""
    encoding: Encoding = Encoding.UTF_8
    batch: str = ""
    """Name of the delivery; by default the names of its files."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a delivery. The figures are the provider's alone."""

    table: str
    version: str
    changed: bool
    """False: exactly this was stored already."""
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an ingest reads and writes."""

    store: Store
    keys: KeyRing
    work: Path
    """A private folder for locks, unfinished ingests and decrypted files of earlier versions."""
    memory_mb: int = 2_000
    """What the engine may hold in memory; the rest spills into `work`."""


def ingest(delivery: Delivery, place: Place, say: Callable[[str], None]) -> Outcome:
    """Store a delivery as a table's new current version and return what happened."""
    table = delivery.contract.table
    place.work.mkdir(mode=0o700, parents=True, exist_ok=True)
    lake = Lake(place.store, place.keys, place.work / "cache")
    with locked(place.work / "locks" / f"table-{table}"):
        contract = delivery.contract.resolve(lambda source: _domain(lake, source))
        batch = _batch(delivery)
        current = _current(lake, table)
        _check_lineage(contract, current)
        if current and _is_stored(delivery, batch, contract, current):
            # What was killed right after publishing left its working files behind.
            shutil.rmtree(place.work / "ingest" / table, ignore_errors=True)
            return Outcome(table, current.version, changed=False, report=_report(lake, current))
        earlier = current if delivery.append else None
        identity = hashlib.sha256(
            json.dumps(
                [
                    *(batch.digest, batch.name, contract.digest, delivery.append),
                    *(current.version if current else "", str(delivery.as_known)),
                    delivery.encoding,
                ]
            ).encode()
        ).hexdigest()[:32]
        steps = only_steps(place.work / "ingest" / table, identity)
        number = current.number + 1 if current else 1
        # Not a hash of the rows: an id that people see says nothing about them. The random part
        # keeps a lake made anew from meeting answers that were stored for another's version 1.
        version = f"{number}-{steps.once('mark', lambda: secrets.token_hex(8))}"
        run = _Run(delivery, contract, place, lake, steps, say)
        manifest = run.manifest(version, batch, earlier)
        publish(place.store, place.keys, manifest)
        say(f"version {version} is current")
        _forget(place.store, manifest, current)
        shutil.rmtree(steps.folder)
        return Outcome(table, version, changed=True, report=_report(lake, manifest))


def check(delivery: Delivery, place: Place, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the report that a delivery would have as a table's whole new version; store nothing.

    Units are counted against the cap and entered nowhere.
    """
    table = delivery.contract.table
    place.work.mkdir(mode=0o700, parents=True, exist_ok=True)
    lake = Lake(place.store, place.keys, place.work / "cache")
    contract = delivery.contract.resolve(lambda source: _domain(lake, source))
    _check_lineage(contract, _current(lake, table))
    with locked(place.work / "locks" / f"check-{table}"):
        steps = only_steps(place.work / "check" / table, secrets.token_hex(8))
        try:
            run = _Run(delivery, contract, place, lake, steps, say, trial=True)
            return run.report()
        finally:
            shutil.rmtree(steps.folder)


class _Run:
    """One ingest, step by step."""

    def __init__(
        self,
        delivery: Delivery,
        contract: Contract,
        place: Place,
        lake: Lake,
        steps: Steps,
        say: Callable[[str], None],
        *,
        trial: bool = False,
    ) -> None:
        self._delivery, self._contract, self._place = delivery, contract, place
        self._lake, self._steps, self._say = lake, steps, say
        self._trial = trial

    def manifest(self, version: str, batch: Batch, earlier: Manifest | None) -> Manifest:
        """Do all steps before the last, and return the manifest to publish."""
        laid = self._steps.once("lay out", lambda: self._lay_out(earlier))
        where = folder_of(self._contract.table, version)

        def store(name: str) -> StoredFile:
            key = f"{where}/{Path(name).name}.age"
            return StoredFile(**self._steps.once(key, lambda: self._store(name, key)))

        self._say("sealing and storing")
        stored = {name: store(name) for name in [*laid["files"], *laid["others"].values()]}
        epochs = tuple(laid["epochs"])
        return Manifest(
            table=self._contract.table,
            version=version,
            contract=self._contract,
            cohorts=epochs,
            files=tuple(stored[name] for name in laid["files"]),
            displaced=stored.get(laid["others"].get("displaced", "")),
            quarantine=stored[laid["others"]["quarantine"]],
            report=stored[laid["others"]["report"]],
            batches=(*(earlier.batches if earlier else ()), batch),
        )

    def report(self) -> dict[str, Any]:
        """Lay the files out and return their figures; nothing leaves the working folder."""
        laid = self._lay_out(None)
        return read_report((self._steps.folder / laid["others"]["report"]).read_bytes())

    def _store(self, name: str, key: str) -> dict[str, Any]:
        plain = self._steps.folder / name
        sealed = plain.with_name(plain.name + ".age")
        seal_file(self._place.keys, plain, sealed)
        digests = [digest_of(path) for path in (sealed, plain)]
        self._place.store.put(key, sealed)
        sealed.unlink()
        return asdict(StoredFile(key, *digests))

    def _lay_out(self, earlier: Manifest | None) -> dict[str, Any]:
        """Write the version's files; return their names inside the working folder."""
        folder = self._steps.fresh("layout")
        contract, keys = self._contract, self._place.keys
        with duckdb.connect(config=self._settings()) as connection:
            self._say("reading")
            sources = [
                open_source(connection, path, self._delivery.encoding, folder, number)
                for number, path in enumerate(self._delivery.files)
            ]
            reader = RowReader(
                contract,
                KeyedHash(connection, "token", keys.subkey("token")),
                self._delivery.as_known,
            )
            for source in sources:
                if missing := reader.missing(source):
                    raise LakeError(
                        f"{source.name} lacks the columns {', '.join(missing)} of contract "
                        f"{contract.table}. Deliver them, or change the contract."
                    )
                if nested := reader.nested(source):
                    raise LakeError(
                        f"{source.name} holds no single values in {', '.join(nested)}. Deliver "
                        "texts, numbers, dates or booleans there."
                    )
            epochs = self._register(connection, reader, sources) if contract.unit else ()
            self._say("checking rows")
            bad = note_faults(connection, [reader.faults(source) for source in sources])
            before = self._earlier(earlier)
            rank = KeyedHash(connection, "rank", keys.subkey(f"rank/{contract.table}"))
            laid = Layout(connection, contract, reader, rank).write(
                list(zip(sources, bad, strict=True)), before, folder, self._say
            )
            write_quarantine(
                connection,
                contract,
                sources,
                self._lake.local_file(earlier.quarantine) if earlier else None,
                folder / "quarantine.parquet",
            )
            known = _report(self._lake, earlier) if earlier else {}
            report = figures(connection, contract, sources, laid, known)
        (folder / "report.json").write_text(json.dumps(report, ensure_ascii=False))
        return self._names(laid, epochs)

    def _names(self, laid: Laid, epochs: tuple[int, ...]) -> dict[str, Any]:
        inside = self._steps.folder
        others = {"quarantine": "layout/quarantine.parquet", "report": "layout/report.json"}
        if laid.displaced:
            others["displaced"] = str(laid.displaced.relative_to(inside))
        files = [str(file.relative_to(inside)) for file in laid.files]
        return {"files": files, "others": others, "epochs": epochs}

    def _settings(self) -> dict[str, str | bool | int | float | list[str]]:
        spill = self._steps.folder / "spill"
        return {
            "memory_limit": f"{self._place.memory_mb}MB",
            "temp_directory": str(spill),
            # Contracts and files say everything; the engine must not reach for anything else.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }

    def _earlier(self, earlier: Manifest | None) -> Earlier:
        if earlier is None:
            return Earlier((), None)
        displaced = self._lake.local_file(earlier.displaced) if earlier.displaced else None
        return Earlier(tuple(self._lake.local_file(f) for f in earlier.files), displaced)

    def _register(
        self, connection: duckdb.DuckDBPyConnection, reader: RowReader, sources: list[Source]
    ) -> tuple[int, ...]:
        """Give every unit of the delivery its integer; leave them in table `units`."""
        unit = self._contract.unit
        if unit is None:
            raise AssertionError("a public table has no units")
        texts = " UNION ".join(reader.unit_texts(source) for source in sources)
        connection.execute(
            f"CREATE TEMP TABLE texts AS SELECT raw FROM ({texts}) WHERE raw IS NOT NULL"
        )
        type_ = self._contract.field(unit.column).type
        canonical_ids(connection, "texts", unit.format, type_).create("ids")
        keys, store = self._place.keys, self._place.store
        with locked(self._place.work / "locks" / f"domain-{unit.domain}"):
            self._say("registering units")
            held = open_registry(connection, store, keys, unit.domain, self._steps.folder)
            known = of_kind(held, unit.kind(type_))
            year = self._delivery.as_known.year
            registry, grown = assign(connection, keys, known, year)
            count = connection.execute("SELECT count(*) FROM registry").fetchone()
            if count and count[0] > unit.max_units:
                raise LakeError(
                    f"Domain {unit.domain} would have more than the {unit.max_units} units that "
                    "the contract attests. Its owner has to state a higher cap first."
                )
            if (grown or known != held) and not self._trial:
                save_registry(connection, store, keys, registry, self._steps.folder)
        return registry.epochs


def _current(lake: Lake, table: str) -> Manifest | None:
    try:
        return lake.manifest(table)
    except UnknownTableError:
        return None


def _check_lineage(contract: Contract, current: Manifest | None) -> None:
    """Refuse a version whose rows belong to others than before: other accounts would pay for it."""
    before = contract.lineage if current is None else current.contract.lineage
    if before != contract.lineage:
        raise ContractError(
            contract.table,
            f"its rows were {before} and would be {contract.lineage}. All versions of a table are "
            "charged to the same accounts; store other rows as another table.",
        )


def _report(lake: Lake, manifest: Manifest) -> dict[str, Any]:
    return read_report(lake.local_file(manifest.report).read_bytes())


def _batch(delivery: Delivery) -> Batch:
    for path in delivery.files:
        if not path.is_file():
            raise LakeError(f"{path} is no file. Give the delivered Parquet or CSV files.")
    with ThreadPoolExecutor(2) as pool:
        digests = list(pool.map(digest_of, delivery.files))
    name = delivery.batch or ", ".join(path.name for path in delivery.files)
    return Batch(name, hashlib.sha256("\n".join(digests).encode()).hexdigest())


def _is_stored(delivery: Delivery, batch: Batch, contract: Contract, current: Manifest) -> bool:
    """Whether a delivery is in the current version; raise if it cannot be added to it."""
    if not delivery.append:
        return current.batches == (batch,) and current.contract.digest == contract.digest
    if current.contract.digest != contract.digest:
        raise LakeError(
            f"The contract of {contract.table} has changed since version {current.version}. "
            "Deliver the whole table again without --append."
        )
    same = [known for known in current.batches if known.name == batch.name]
    if same and batch not in same:
        raise LakeError(
            f"Version {current.version} of {contract.table} already holds other contents under "
            f"the name {batch.name!r}. Name this delivery: --batch NAME"
        )
    return bool(same)


def _forget(store: Store, current: Manifest, previous: Manifest | None) -> None:
    """Delete what belongs neither to the current version nor to the one before it."""
    kept = tuple(f"{m.folder}/" for m in (current, previous) if m)
    for key in store.list(f"tables/{current.table}/"):
        if not key.startswith(kept):
            store.delete(key)


def _domain(lake: Lake, source: DomainSource) -> tuple[Value, ...]:
    """Return the different values of a public table's column, in order."""
    facts = lake.table(source.table).facts
    if facts.is_private or source.column not in {c.name for c in facts.columns}:
        raise LakeError(
            f"A key domain is taken from {source.table}.{source.column}, which is no column of a "
            "public table. A domain read off private rows would tell of them."
        )
    files = [str(path) for path in lake.local_files(source.table)]
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"SELECT DISTINCT {quote(source.column)} AS v FROM read_parquet($files) "
            "WHERE v IS NOT NULL ORDER BY v",
            {"files": files},
        ).fetchall()
    return tuple(value for (value,) in rows)
