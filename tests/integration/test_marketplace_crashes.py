"""A process that ends at any point of an answer's life never gives an answer without its charge.

Each named point is crashed at many times in this process (the transaction in flight is lost, as in
a power cut), and a few times by SIGKILL of the real server. `LAB_FULL=1` runs the long sizes.
"""

import os
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import func, select

from marketplace import db
from marketplace.budgets.replay import replay
from marketplace.client import MadeItem, MarketplaceClient, MarketplaceProblem
from marketplace.errors import MarketplaceError
from marketplace.releases.crash import POINTS, nowhere
from marketplace.releases.model import Made, State
from marketplace.services import Services
from marketplace.settings import Settings
from tests.support.databases import ON_POSTGRESQL
from tests.support.marketplace import (
    COST,
    POLICY,
    TABLES,
    ask,
    digest,
    draws,
    gateway_token,
    item,
    make_home,
    parts,
    reserve,
    running,
)

FULL = os.environ.get("LAB_FULL") == "1"
CRASHES = {(0, 0): 50, (0, 1): 10, (1, 0): 1_000, (1, 1): 500}[FULL, ON_POSTGRESQL]
"""Crashes at each point; on PostgreSQL, where a start takes longer, 10,000 in all are enough."""
PER_HOME = 50
"""Crashes in one home: a home is recounted at each start, so long histories cost their square."""
PER_START = 10
"""Crashes between two starts: every request opens its own transaction, and nothing else is kept."""

WIDE = POLICY.replace("micro_rho: 2000", "micro_rho: 2000000").replace(
    "micro_rho: 1000", "micro_rho: 1000000"
)


def batched(names: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]


class Crash(BaseException):
    """The process ends here: no handler of the product may catch it."""


@dataclass(slots=True)
class Bomb:
    """Ends the process the first time that `point` is reached."""

    point: str
    armed: bool = True

    def __call__(self, point: str) -> None:
        nowhere(point)
        if self.armed and point == self.point:
            self.armed = False
            raise Crash(point)


@dataclass(slots=True)
class Notebook:
    """The outside world: what was ever sent, by operation."""

    sent: dict[str, set[bytes]] = field(default_factory=dict)


def ask_once(market: Services, bomb: Bomb, notebook: Notebook, operation: str) -> None:
    """Do what the gateway does for one question."""
    held = market.releases.reserve(ask(operation))
    release = held.items[0].release_id
    if held.state is State.OPEN:
        bomb("gateway.before_compute")
        bomb("gateway.after_compute")
        noisy = f"{operation}: {random.SystemRandom().random()}".encode()
        bomb("gateway.after_noise")
        made = (Made(digest(operation), noisy, draws(COST)),)
        done = market.releases.record(held.id, held.fencing_token, made, TABLES)
        release = done.release_ids[digest(operation)]
    data = market.releases.answer(str(release), "demo-enterprise")
    bomb("answer.before_send")
    notebook.sent.setdefault(operation, set()).add(data)


def check_books(market: Services, notebook: Notebook) -> None:
    """Everything sent is committed, logged and charged; the ledger covers every release."""
    found = replay(market.database)
    assert found.findings == ()
    with market.database.reading() as connection:
        answers = {bytes(a) for (a,) in connection.execute(select(db.releases.c.answer))}
        released = connection.execute(select(func.sum(db.releases.c.micro_rho))).scalar_one() or 0
    assert {data for all_sent in notebook.sent.values() for data in all_sent} <= answers
    for micro_rho, _ in found.spent.values():
        assert micro_rho >= released


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_never_gives_an_answer_without_a_charge(tmp_path: Path, point: str) -> None:
    for start in range(0, CRASHES, PER_HOME):
        settings, notebook = make_home(tmp_path / str(start), WIDE), Notebook()
        operations = [f"op{i}" for i in range(min(PER_HOME, CRASHES - start))]
        for some in batched(operations, PER_START):
            bomb = Bomb(point)
            with parts(settings, bomb) as market:
                for operation in some:
                    bomb.armed = True
                    with pytest.raises(Crash):
                        ask_once(market, bomb, notebook, operation)
            # The next process over the same files; the client retries the same operation twice.
            with parts(settings) as market:
                for operation in some * 2:
                    ask_once(market, Bomb("never"), notebook, operation)
                check_books(market, notebook)
        with parts(settings) as market:
            left = market.releases.left("demo-enterprise", "enterprise")
            assert left.cap.micro_rho - left.budget.micro_rho == COST * len(operations)
        assert all(len(data) == 1 for data in notebook.sent.values())
        assert len(notebook.sent) == len(operations)


def test_crashes_at_random_points_of_mixed_histories_keep_the_books(tmp_path: Path) -> None:
    rng, notebook = random.Random(7), Notebook()
    settings = make_home(tmp_path / "home", WIDE)
    for _ in range(CRASHES // PER_START):
        bomb = Bomb("never")
        with parts(settings, bomb) as market:
            for _ in range(PER_START):
                bomb.point, bomb.armed = rng.choice(POINTS), True
                with suppress(Crash, MarketplaceError):
                    go(market, bomb, notebook, rng)
            check_books(market, notebook)
    assert all(len(data) == 1 for data in notebook.sent.values())


def go(market: Services, bomb: Bomb, notebook: Notebook, rng: random.Random) -> None:
    """Ask, give up or fail one of a few questions, whatever came before."""
    operation, choice = f"op{rng.randrange(CRASHES)}", rng.random()
    if choice < 0.7:
        ask_once(market, bomb, notebook, operation)
        return
    held = market.releases.reserve(ask(operation))
    if choice < 0.85:
        market.releases.failed(held.id, held.fencing_token)
    else:
        market.releases.nothing_read(held.id, held.fencing_token, "cancelled")


# The real server with a hook that ends its own process: the product itself has no such switch.
PROGRAM = """
import argparse, os, pathlib, signal
import uvicorn
from marketplace.app import assemble, build
from marketplace.settings import Settings

def reached(point):
    if point == {point!r}:
        os.kill(os.getpid(), signal.SIGKILL)

parser = argparse.ArgumentParser()
parser.add_argument("--home", type=pathlib.Path)
parser.add_argument("--port", type=int)
given = parser.parse_args()
app = build(assemble(Settings.of(given.home, os.environ), reached))
uvicorn.run(app, host="127.0.0.1", port=given.port, log_level="error")
"""

SERVER_POINTS = tuple(
    p for p in POINTS if not p.startswith("gateway.") and p != "answer.before_send"
)
AFTER_COMMIT = ("record.committed", "answer.read_back")
BEFORE = b"one before the crash"
KILLED_AT = (
    SERVER_POINTS * 10
    if FULL
    else ("reserve.entry_written", "reserve.committed", "record.state_written", "record.committed")
)


def over_http(client: MarketplaceClient, operation: str, noise: str) -> bytes:
    held, wanted = reserve(client, operation), item(operation)
    release = held.items[0].release_id
    if release is None:
        data = f"{operation} {noise}".encode()
        made = [MadeItem(wanted.digest, data, draws(COST))]
        release = client.record(held, made, TABLES).releases[wanted.digest]
    return client.answer(ask(operation).tenant, release)


@pytest.mark.parametrize(("index", "point"), list(enumerate(KILLED_AT)))
def test_a_killed_server_charges_once_and_answers_with_the_same_bytes(
    tmp_path: Path, index: int, point: str
) -> None:
    settings: Settings = make_home(tmp_path / "home", WIDE)
    program = tmp_path / "killed.py"
    program.write_text(PROGRAM.format(point=point), encoding="utf-8")
    with running(settings, program) as server:
        client = MarketplaceClient(server.url, gateway_token(settings))
        with pytest.raises(MarketplaceProblem) as caught:
            over_http(client, "one", "before the crash")
        assert caught.value.code == "SERVICE_UNAVAILABLE"
        assert server.process.wait(10) == -9
        client.close()
    with running(settings) as server:
        client = MarketplaceClient(server.url, gateway_token(settings))
        first = over_http(client, "one", "after it")
        assert over_http(client, "one", "yet again") == first
        # What was committed before the crash stays; otherwise nothing of it was ever seen.
        assert first == (BEFORE if point in AFTER_COMMIT else b"one after it")
        left = client.budget("demo-enterprise", "enterprise")
        client.close()
    assert 1_000_000 - left.micro_rho == COST
    with parts(settings) as market:
        assert replay(market.database).findings == ()
