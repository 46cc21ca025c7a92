"""The real server process, killed at moments that nobody chose."""

import os
import random
import threading
from pathlib import Path

import pytest

from marketplace.client import MadeItem, MarketplaceClient, MarketplaceProblem
from tests.support.marketplace import (
    ALLOTMENT,
    COST,
    TABLES,
    ask,
    digest,
    draws,
    gateway_token,
    make_home,
    parts,
    reserve,
    running,
)

KILLS = 20 if os.environ.get("LAB_FULL") == "1" else 2
QUESTIONS = ALLOTMENT // COST


def pay(client: MarketplaceClient, operation: str) -> bytes:
    """Live a paid answer as the gateway does, with fresh noise at each computation."""
    held = reserve(client, operation)
    release = held.items[0].release_id
    if release is None:
        noisy = random.SystemRandom().randbytes(64)
        made = [MadeItem(digest(operation), noisy, draws(COST))]
        release = client.record(held, made, TABLES).releases[digest(operation)]
    return client.answer(ask(operation).tenant, release)


@pytest.mark.parametrize("turn", range(KILLS))
def test_a_kill_at_any_moment_loses_no_charge_and_changes_no_answer(
    tmp_path: Path, turn: int
) -> None:
    settings, sent = make_home(tmp_path / "home"), {}
    operations = [f"op{i}" for i in range(QUESTIONS)]
    with running(settings) as server:
        client = MarketplaceClient(server.url, gateway_token(settings))
        pay(client, operations[0])
        killer = threading.Timer(0.005 + 0.017 * turn, server.process.kill)
        killer.start()
        for operation in operations:
            try:
                sent[operation] = pay(client, operation)
            except MarketplaceProblem as problem:
                assert problem.code == "SERVICE_UNAVAILABLE"  # noqa: PT017
                break
        killer.join()
        server.process.wait(10)
        client.close()
    with parts(settings) as market:
        left = market.releases.left("demo-enterprise", "enterprise")
        assert left.cap.micro_rho - left.budget.micro_rho >= COST * len(sent)
    with running(settings) as server:
        client = MarketplaceClient(server.url, gateway_token(settings))
        again = {operation: pay(client, operation) for operation in operations}
        assert {o: again[o] for o in sent} == sent
        assert client.budget("demo-enterprise", "enterprise").micro_rho == 0
        client.close()
