"""From a refusal to an answer and back: the whole way of a grant, over real HTTP."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from marketplace.client import Held, MadeItem, MarketplaceClient, MarketplaceProblem, WantedItem
from tests.support.desk import WANTED, Caller
from tests.support.marketplace import (
    COST,
    Running,
    digest,
    draws,
    gateway_token,
    make_home,
    running,
    token,
)

FIRM = "demo-enterprise"
TABLES = {"social_insurance": "v1"}
CLOCKED = Path(__file__).resolve().parents[1] / "support" / "programs" / "clocked_marketplace.py"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(make_home(tmp_path / "home"), CLOCKED) as process:
        yield process


def reserve(gateway: MarketplaceClient, name: str) -> Held:
    return gateway.reserve(
        operation_id=name,
        user="analyst",
        tenant=FIRM,
        purpose="market-research",
        epsilon="0.5",
        tables=TABLES,
        plan_digest=digest("the same query"),
        items=[WantedItem(digest("cell"), "enterprise", (2026,), COST, 0, "discrete-gaussian/1")],
    )


def refusal(gateway: MarketplaceClient, name: str) -> MarketplaceProblem:
    with pytest.raises(MarketplaceProblem) as caught:
        reserve(gateway, name)
    return caught.value


def test_an_analyst_is_refused_asks_is_granted_answered_and_refused_again(server: Running) -> None:
    analyst, provider = Caller(server, "analyst"), Caller(server, "hr-provider")
    approver, operator = Caller(server, "bureau-approver"), Caller(server, "operator")
    gateway = MarketplaceClient(server.url, gateway_token(server.settings))
    before = gateway.session(token(server.settings, "analyst"))

    denied = refusal(gateway, "first")
    assert (denied.code, denied.more["policy"]) == ("GRANT_REVOKED", "no-grant")
    assert "Ask its provider" in denied.en
    assert "提供方" in denied.zh

    table = denied.more["resource"]
    drafted = analyst.get(f"/access/drafts?table={table}&code={denied.code}")
    assert (drafted["table"], denied.code in drafted["reason"]) == (table, True)
    request = analyst.post("/access/requests", {**WANTED, "reason": drafted["reason"]})
    assert (request["state"], request["approvals_needed"]) == ("review", 2)

    assert [r["id"] for r in provider.get("/access/inbox")] == [request["id"]]
    assert provider.get("/access/notices")[0]["about"] == request["id"]
    assert approver.get("/access/inbox") == []
    provider.judge(request, "reviews")
    assert provider.get("/access/inbox") == []
    assert approver.judge(request, "approvals")["state"] == "approval"
    assert refusal(gateway, "second").code == "GRANT_REVOKED"
    assert operator.judge(request, "approvals")["state"] == "granted"
    assert analyst.get("/access/waits")[0]["decided"] == 1

    after = gateway.session(token(server.settings, "analyst"))
    assert before.etag != after.etag
    assert table in set(after.tables) - set(before.tables)
    held = reserve(gateway, "third")
    made = [MadeItem(digest("cell"), b"noisy", draws(COST))]
    done = gateway.record(held, made, TABLES)
    assert gateway.answer(FIRM, done.releases[digest("cell")]) == b"noisy"

    (server.settings.home / "clock-days").write_text("31")
    late = refusal(gateway, "fourth")
    assert (late.code, late.more["policy"]) == ("GRANT_EXPIRED", "grant-term")
    assert "renewal" in late.en
    assert table not in gateway.session(token(server.settings, "analyst")).tables

    grant = next(g for g in analyst.get("/access/grants") if g["table"] == table)
    again = analyst.post(f"/access/grants/{grant['id']}/renewals", {"reason": "Next quarter."})
    provider.judge(again, "reviews")
    approver.judge(again, "approvals")
    operator.judge(again, "approvals")
    assert reserve(gateway, "fifth").items[0].charged_micro_rho == 0

    stop = Caller(server, "security-admin").post(
        "/access/stops", {"scope": "lab", "reason": "A drill."}
    )
    assert refusal(gateway, "sixth").code == "ACCESS_STOPPED"
    assert gateway.session(token(server.settings, "analyst")).tables == {}
    approver.post(f"/access/stops/{stop['id']}/lift")
    assert reserve(gateway, "seventh").items[0].release_id

    seen = Caller(server, "regulator").get("/policy/decisions")
    assert {"GRANT_REVOKED", "GRANT_EXPIRED", "ACCESS_STOPPED", ""} <= {d["code"] for d in seen}
    assert httpx.get(f"{server.url}/api/v1/log/checkpoint").json()["size"] > len(seen)
    gateway.close()
