"""A real gateway without noise and without a price, for conformance below the mechanism.

`python -m tests.support.exact_gateway HOME PORT`: the real server, decoder, resolver, analysis,
certificate and engines over a real lake; only the noise function and the purse are exchanged,
through constructor arguments that no production code passes.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from privacy.dp.draw import ReleasePlan
from privacy.dp.release import WithoutNoise
from sandbox.engine.room import LakeTables
from sandbox.gateway.__main__ import engine_room, serve
from sandbox.gateway.answering import Asker
from sandbox.gateway.execute import Compute, Executor, Judged, Receipt
from sandbox.gateway.operations import Grid


@dataclass(frozen=True)
class Anyone:
    """An account that may ask everything."""

    user: str = "tester"
    tenant: str = "tests"
    language: str = "en"
    tables: dict[str, object] = field(default_factory=dict)


class Everyone:
    """Knows every token."""

    def __init__(self, tables: dict[str, object]) -> None:
        self._account = Anyone(tables=tables)

    def session(self, token: str) -> Anyone:
        del token
        return self._account


class FreePurse:
    """Charges nothing and stores nothing."""

    def price(
        self, asker: Asker, tables: tuple[str, ...], epsilon: float | None
    ) -> tuple[str, int]:
        del asker, tables, epsilon
        return "1", 1_000_000

    def left(self, asker: Asker, domain: str) -> tuple[str, int]:
        del asker, domain
        return "1", 1_000_000

    def epsilon_for(self, micro_rho: int) -> float:
        return micro_rho / 1e6

    def pay(
        self,
        asker: Asker,
        judged: Judged,
        operation_id: str,
        prepare: Callable[[ReleasePlan], Compute],
        settle: Callable[[], None],
    ) -> Receipt:
        del asker, operation_id, settle
        answers = {
            plan.digest: prepare(plan)(share)[0]
            for plan, share in zip(judged.program.releases, judged.shares, strict=True)
        }
        return Receipt("none", 0, "0", "1", 1_000_000, answers)


def main() -> None:
    """Serve until terminated."""
    home, port = Path(sys.argv[1]), int(sys.argv[2])
    room = engine_room(home)
    tables = LakeTables(room.lake)
    executor = Executor(tables, room, FreePurse(), WithoutNoise)
    serve(room, executor, Everyone(dict(tables.facts())), port, grid=Grid(enabled=False))


if __name__ == "__main__":
    main()
