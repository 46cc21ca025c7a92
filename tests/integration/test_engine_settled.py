"""Public rows that private rows meet are the rows that were counted, however often they differ."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privacy.dp import cells, joined
from privacy.dp import expr as e
from privacy.dp import query as q
from privacy.dp.analysis import analyse
from privacy.dp.draw import ReleasePlan
from privacy.dp.facts import PublicFacts
from privacy.dp.plan import Node, SortBy, walk
from privacy.dp.resolve import NamedRelations, resolve
from privacy.dp.types import DataType
from sandbox.engine import certified
from sandbox.engine.claim import CertificateError
from sandbox.engine.duckdb import DuckDbEngine
from sandbox.engine.public import PublicEngine
from sandbox.engine.room import claim_of
from sandbox.engine.run import TableSource
from tests.support.engine import FACTS, TAX, stored
from tests.support.engine_room import database, room, small_lake

DIGEST = "ab" * 32
FRAME = pa.table({"k": pa.array([7] * 50 + list(range(1000, 1050)), pa.int32())})
MONTHS = 12


def question() -> q.Query:
    """Join tax rows with the first 50 of 100 public rows that all tie, and count."""
    tie = e.SortKey(e.Call("*", (e.Name(("k",)), e.Literal(0, DataType.INTEGER))))
    fields = (("k", DataType.INTEGER),)
    public = q.ToNames(q.Limit(q.Sort(q.Frame(DIGEST, fields), (tie,)), 50), ("kk",))
    same = e.Call("==", (e.Name(("staff",)), e.Name(("kk",))))
    joined = q.Join(q.Table(("tax",)), public, q.JoinKind.INNER, same)
    return q.Aggregate(joined, (), (e.Call("count", (e.Literal(1, DataType.INTEGER),)),))


@pytest.fixture
def fickle(monkeypatch: pytest.MonkeyPatch) -> list[Node]:
    """Make every evaluation of a limit cut its ties at another place, as an engine may."""
    plans: list[Node] = []
    whole = PublicEngine.run

    def run(self: PublicEngine, node: Node, *args: Any) -> pa.Table:
        if any(isinstance(n, SortBy) for n in walk(node)):
            plans.append(node)
            cut = FRAME.slice(0 if len(plans) % 2 == 0 else 50, 50)
            self._frames[DIGEST] = cut.rename_columns(["k"])
        return whole(self, node, *args)

    monkeypatch.setattr(PublicEngine, "run", run)
    return plans


def judged() -> tuple[ReleasePlan, PublicEngine]:
    runner = PublicEngine(database(), dict, {DIGEST: FRAME})
    known = NamedRelations(FACTS, {}, {DIGEST: (("k", DataType.INTEGER),)})
    program = analyse(resolve(question(), known).node, PublicFacts(FACTS, runner, None))
    (release,) = program.releases
    return release, runner


def tax(name: str, staff: int | None) -> TableSource:
    """Return a tax table with twelve rows of one unit, or of none."""
    row = {"uscc": f"91{9:016d}", "district": "d1", "amount": 1.0, "staff": staff, "large": 1}
    row |= {"overdue": True, "paid_on": None, "note": None}
    found = [row | {"period": 202501 + i} for i in range(MONTHS)] if staff is not None else []
    path = room() / f"settled-{name}.parquet"
    pq.write_table(stored(TAX, found), path)
    return TableSource(TAX, (path,))


def test_one_unit_moves_an_answer_by_no_more_than_was_counted(fickle: list[Node]) -> None:
    one, none = tax("one", 7), tax("none", None)
    for _ in range(4):
        release, runner = judged()
        engine, claim = DuckDbEngine(database()), claim_of(release)
        counts = [
            sum(found.exact().measures["m0"].values())
            for source in (one, none)
            for found in [
                engine.run(release.exact, {"tax": source}, claim=claim, frames=runner.frames)
            ]
        ]
        (draw,) = release.draws
        assert (counts[0] - counts[1]) ** 2 <= draw.squared_l2
    assert len(fickle) == 4, "each question evaluates its public side once"


def test_the_digest_of_a_release_tells_which_rows_were_met(fickle: list[Node]) -> None:
    digests = [judged()[0].digest for _ in range(4)]
    assert digests[0] == digests[2] != digests[1] == digests[3]
    assert fickle


class _NoPrivateRows(Mapping[str, TableSource]):
    def __getitem__(self, name: str) -> TableSource:
        raise AssertionError(f"{name} was read")

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_rows_other_than_the_counted_ones_are_not_joined() -> None:
    release, runner = judged()
    frames = {d: pa.table({"f0": pa.array([7] * 51, pa.int32())}) for d in runner.frames}
    engine = DuckDbEngine(database())
    with pytest.raises(CertificateError, match="computed 51, claimed 50"):
        engine.prepare(
            release.exact, FACTS, _NoPrivateRows(), claim=claim_of(release), frames=frames
        )


def by_region(name: str) -> q.Query:
    """Count tax rows by the region of their district, from a public table under other names."""
    areas = q.ToNames(q.Table(("areas",)), ("area_code", name, "area_weight"))
    same = e.Call("==", (e.Name(("district",)), e.Name(("area_code",))))
    joined = q.Join(q.Table(("tax",)), areas, q.JoinKind.INNER, same)
    count = e.Call("count", (e.Literal(1, DataType.INTEGER),))
    return q.Aggregate(joined, (e.Name((name,)),), (count,))


@pytest.mark.parametrize(("most", "listed"), [(200_000, True), (2, False)])
def test_keys_of_a_public_table_are_listed_only_while_they_are_few(
    monkeypatch: pytest.MonkeyPatch, most: int, listed: bool
) -> None:
    for module in (cells, joined, certified):
        monkeypatch.setattr(module, "MAX_CELLS", most)
    lake = small_lake()
    runner = PublicEngine(database(), lambda: lake)
    node = resolve(by_region("area_region"), NamedRelations(FACTS)).node
    (release,) = analyse(node, PublicFacts(FACTS, runner, None)).releases
    assert (release.cells is not None) is listed
    assert (release.support is None) is listed
    engine, claim = DuckDbEngine(database()), claim_of(release)
    exact = engine.run(release.exact, lake, claim=claim, frames=runner.frames).exact()
    assert set(exact.keys) == {("north",), ("south",), (None,)}
