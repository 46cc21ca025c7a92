"""The real gateway over a real home, which kills itself at a named point of its first answer.

`python -m tests.support.dying_gateway HOME PORT MARKETPLACE POINT`: everything is production code;
the deaths sit in wrappers around what is passed to its constructors, so that the product itself has
no such switch.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from marketplace.client import MarketplaceClient
from privacy.dp.draw import ReleasePlan
from privacy.dp.facts import PublicFacts
from privacy.dp.query import Query
from privacy.dp.release import Exact, Noising, Release
from sandbox.engine.room import LakeTables
from sandbox.gateway.__main__ import engine_room, serve
from sandbox.gateway.answering import Answer, Asker, OperationHandle
from sandbox.gateway.execute import Executor
from sandbox.gateway.purse import MarketplaceAuthority, MarketplacePurse

POINTS = (
    "gateway.before_compute",
    "gateway.after_compute",
    "gateway.after_noise",
    "answer.before_send",
)
POINT = sys.argv[4] if len(sys.argv) > 4 else ""  # three arguments come first


def reached(point: str) -> None:
    """End this process as a power cut would, if this is its point."""
    if point == POINT:
        os.kill(os.getpid(), signal.SIGKILL)


class DyingRoom:
    """The engines, dying around the computation."""

    def __init__(self, room: Any) -> None:
        self._room = room

    def __getattr__(self, name: str) -> Any:
        return getattr(self._room, name)

    def prepare(
        self,
        engine: str,
        plan: ReleasePlan,
        facts: PublicFacts,
        frames: Mapping[str, pa.Table],
        asker: str,
        cancelled: Callable[[], bool],
    ) -> Callable[[], Exact]:
        run = self._room.prepare(engine, plan, facts, frames, asker, cancelled)

        def dying() -> Exact:
            reached("gateway.before_compute")
            exact = run()
            reached("gateway.after_compute")
            return exact  # type: ignore[no-any-return]

        return dying


class DyingNoise(Noising):
    """Adds noise, then dies."""

    def __call__(self, exact: Exact) -> Release:
        made = super().__call__(exact)
        reached("gateway.after_noise")
        return made


class DyingExecutor(Executor):
    """Dies when everything is committed and nothing is sent."""

    def answer(self, asker: Asker, query: Query, operation: OperationHandle) -> Answer:
        answer = super().answer(asker, query, operation)
        reached("answer.before_send")
        return answer


def main() -> None:
    """Serve until the end."""
    home, port, marketplace = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    client = MarketplaceClient(marketplace, (home / "gateway.token").read_text().strip())
    room = engine_room(home)
    purse = MarketplacePurse(client)
    executor = DyingExecutor(LakeTables(room.lake), DyingRoom(room), purse, DyingNoise)
    serve(room, executor, MarketplaceAuthority(client), port)


if __name__ == "__main__":
    main()
