"""The HTTP service through its own client; the stand-in in memory keeps the same contract."""

import copy
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from marketplace.app import assemble, build
from marketplace.audit import tree
from marketplace.client import (
    Grant,
    Held,
    MadeItem,
    MarketplaceClient,
    MarketplaceProblem,
    SessionView,
    WantedItem,
)
from marketplace.releases.service import SMALL_ANSWER_BYTES
from tests.support.databases import environment
from tests.support.every_route import BODIES
from tests.support.marketplace import (
    ALLOTMENT,
    COST,
    TABLES,
    Running,
    digest,
    draws,
    gateway_token,
    make_home,
    running,
    token,
)
from tests.support.memory_marketplace import MemoryMarketplace

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "openapi.json"
FIRM, BANK = "demo-enterprise", "demo-bank"
Market = MarketplaceClient | MemoryMarketplace


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One process for all tests that read only, or that use operations of their own."""
    with running(make_home(tmp_path_factory.mktemp("market") / "home")) as process:
        yield process


@pytest.fixture(params=["http", "memory"])
def market(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Market, str]]:
    """A fresh marketplace, and the analyst's token."""
    if request.param == "memory":
        grant = {"tax_summary": Grant(("market-research",), 0.5, 1.0)}
        lending = {"tax_summary": Grant(("lending",), 0.5, 1.0)}
        people = {
            "token-of-analyst": SessionView("analyst", FIRM, ("analyst",), "en", grant),
            "token-of-bank": SessionView("bank-risk", BANK, ("analyst",), "en", lending),
        }
        allotments = {(t, "enterprise"): (ALLOTMENT, 50) for t in (FIRM, BANK)}
        yield MemoryMarketplace(people, allotments), "token-of-analyst"
        return
    settings = make_home(tmp_path / "home")
    with running(settings) as process:
        client = MarketplaceClient(process.url, gateway_token(settings))
        yield client, token(settings, "analyst")
        client.close()


def wanted(name: str, cost: int = COST) -> WantedItem:
    return WantedItem(digest(name), "enterprise", (2025, 2026), cost, 0, "discrete-gaussian/1")


def reserve(market: Market, operation: str, *items: WantedItem, **changed: object) -> Held:
    names = items or (wanted(operation),)
    request = {
        "operation_id": operation,
        "user": "analyst",
        "tenant": FIRM,
        "purpose": "market-research",
        "epsilon": "0.5",
        "tables": TABLES,
        "plan_digest": digest([i.digest for i in names]),
        "items": names,
    }
    return market.reserve(**{**request, **changed})  # type: ignore[arg-type]


def sent(name: str, data: bytes = b"answer", cost: int = COST) -> MadeItem:
    return MadeItem(digest(name), data, draws(cost))


def code_of(call: object, *arguments: object, **named: object) -> str:
    with pytest.raises(MarketplaceProblem) as caught:
        call(*arguments, **named)  # type: ignore[operator]
    assert caught.value.en
    assert caught.value.zh
    return caught.value.code


def test_the_client_and_its_stand_in_keep_one_contract(market: tuple[Market, str]) -> None:
    service, analyst = market
    view = service.session(analyst)
    assert (view.user, view.tenant, view.roles) == ("analyst", FIRM, ("analyst",))
    assert view.tables == {"tax_summary": Grant(("market-research",), 0.5, 1.0)}
    assert code_of(service.session, "not a token of anybody") == "AUTHENTICATION"

    held = reserve(service, "one")
    assert (held.state, held.items[0].release_id, held.items[0].charged_micro_rho) == (
        "open",
        None,
        COST,
    )
    assert code_of(service.recorded, held.reservation_id) == "RESERVATION_CLOSED"
    done = service.record(held, [sent("one", b"\x00bytes\xff")], TABLES)
    assert service.record(held, [sent("one", b"\x00bytes\xff")], TABLES) == done
    assert code_of(service.record, held, [sent("one", b"others")], TABLES) == "ANSWER_DIFFERS"
    assert done.receipt["charged_micro_rho"] == COST
    assert done.left["enterprise"].micro_rho == ALLOTMENT - COST
    assert done.left["enterprise"].cohorts == {2025: ALLOTMENT - COST, 2026: ALLOTMENT - COST}
    release = done.releases[digest("one")]
    assert service.answer(FIRM, release) == b"\x00bytes\xff"
    assert done.answers == {release: b"\x00bytes\xff"}
    assert service.recorded(held.reservation_id).answers == done.answers
    assert code_of(service.answer, BANK, release) == "NOT_FOUND"

    again = reserve(service, "one")
    assert (again.reservation_id, again.state) == (held.reservation_id, "recorded")
    assert again.items[0].release_id == release
    stored = reserve(service, "two", wanted("one", COST // 2))
    assert (stored.state, stored.items[0].release_id) == ("recorded", release)
    assert service.recorded(stored.reservation_id).receipt["charged_micro_rho"] == 0

    for code, changed in (
        ("OPERATION_MISMATCH", {"plan_digest": digest("another")}),
        ("PURPOSE_REFUSED", {"purpose": "curiosity"}),
        ("GRANT_REVOKED", {"tables": {"ent_registration": "v1"}}),
        ("GRANT_REVOKED", {"user": "bank-risk"}),
        ("EPSILON_TOO_LARGE", {"epsilon": "1.5"}),
        ("EPSILON_TOO_LARGE", {"epsilon": "0.01"}),
    ):
        assert code_of(reserve, service, "one", **changed) == code
    assert code_of(reserve, service, "over", wanted("over", ALLOTMENT)) == "BUDGET_EXHAUSTED"

    refunded = reserve(service, "three")
    service.nothing_read(refunded)
    service.nothing_read(refunded)
    assert code_of(reserve, service, "three") == "RESERVATION_CLOSED"
    failed = reserve(service, "four")
    service.failed(failed)
    assert code_of(service.nothing_read, failed) == "RESERVATION_CLOSED"
    first = reserve(service, "five")
    second = reserve(service, "five")
    assert code_of(service.record, first, [sent("five")], TABLES) == "NOT_FOUND"
    assert code_of(service.nothing_read, second) == "REFUND_REFUSED"
    changed_data = {"tax_summary": "v2"}
    assert code_of(service.record, second, [sent("five")], changed_data) == "VERSION_CHANGED"

    assert service.budget(FIRM, "enterprise").micro_rho == ALLOTMENT - 3 * COST
    assert service.budget(BANK, "enterprise").micro_rho == ALLOTMENT
    history = service.queries(analyst)
    assert {q["operation_id"]: (q["state"], q["charged_micro_rho"]) for q in history} == {
        "one": ("recorded", COST),
        "two": ("recorded", 0),
        "three": ("refunded", COST),
        "four": ("failed", COST),
        "five": ("failed", COST),
    }


def test_a_large_answer_is_fetched_by_itself(market: tuple[Market, str]) -> None:
    service, _ = market
    long = b"a" * (SMALL_ANSWER_BYTES + 1)
    large = reserve(service, "large", wanted("large", 1))
    fetched = service.record(large, [sent("large", long, 1)], TABLES)
    assert fetched.answers == {}
    assert service.answer(FIRM, fetched.releases[digest("large")]) == long


def test_64_clients_never_overspend(tmp_path: Path) -> None:
    settings = make_home(tmp_path / "home")
    covered = ALLOTMENT // COST

    def one(url: str, index: int) -> str:
        client = MarketplaceClient(url, gateway_token(settings))
        try:
            held = reserve(client, f"op{index}")
            client.record(held, [sent(f"op{index}")], TABLES)
        except MarketplaceProblem as problem:
            return problem.code
        finally:
            client.close()
        return "answered"

    with running(settings) as process:
        with ThreadPoolExecutor(64) as threads:
            ends = list(threads.map(lambda i: one(process.url, i), range(64)))
        client = MarketplaceClient(process.url, gateway_token(settings))
        left = client.budget(FIRM, "enterprise").micro_rho
        client.close()
    assert (ends.count("answered"), ends.count("BUDGET_EXHAUSTED")) == (covered, 64 - covered)
    assert left == 0
    done = subprocess.run(
        [sys.executable, "-m", "marketplace", "replay", "--home", str(settings.home)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment(settings.home)},
    )
    assert done.returncode == 0, done.stdout
    assert f"{covered} releases, 0 differences" in done.stdout


def test_64_retries_of_one_operation_are_charged_once(server: Running) -> None:
    def one(_: int) -> tuple[str, int]:
        client = MarketplaceClient(server.url, gateway_token(server.settings))
        held = reserve(client, "storm")
        client.close()
        return held.reservation_id, held.items[0].charged_micro_rho

    client = MarketplaceClient(server.url, gateway_token(server.settings))
    before = client.budget(FIRM, "enterprise").micro_rho
    with ThreadPoolExecutor(64) as threads:
        assert len(set(threads.map(one, range(64)))) == 1
    assert before - client.budget(FIRM, "enterprise").micro_rho == COST
    client.close()


@pytest.mark.parametrize("header", ["", "Bearer", "Basic abc", "Token abc", "bearer\tabc"])
def test_a_credential_of_another_form_opens_nothing(server: Running, header: str) -> None:
    answer = httpx.get(f"{server.url}/api/v1/queries", headers={"authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, "AUTHENTICATION")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"extra": 1}, "body.extra"),
        ({"epsilon": 0.5}, "body.epsilon"),
        ({"epsilon": "-1"}, "body.epsilon"),
        ({"epsilon": "nan"}, "body.epsilon"),
        ({"epsilon": "1e9"}, "body.epsilon"),
        ({"epsilon": "٠.٥"}, "body.epsilon"),
        ({"plan_digest": "A" * 64}, "body.plan_digest"),
        ({"plan_digest": "a" * 64 + "\n"}, "body.plan_digest"),
        ({"operation_id": ""}, "body.operation_id"),
        ({"operation_id": "x" * 129}, "body.operation_id"),
        ({"items": []}, "body.items"),
        ({"tables": []}, "body.tables"),
        ({"operation_id": "a\0b"}, "body"),
        ({"tables": [{"name": "tax_summary", "version": "v\0"}]}, "body"),
    ],
)
def test_a_malformed_reservation_is_refused_without_repeating_it(
    server: Running, change: dict[str, object], where: str
) -> None:
    body = {**copy.deepcopy(BODIES["/reservations"]), **change}
    headers = {"authorization": f"Bearer {gateway_token(server.settings)}"}
    answer = httpx.post(f"{server.url}/api/v1/reservations", json=body, headers=headers)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "BAD_REQUEST")
    assert problem["detail"].startswith(where)
    for value in change.values():
        if isinstance(value, str) and len(value) > 2:
            assert value not in answer.text


@pytest.mark.parametrize(
    "change",
    [
        {"cohorts": []},
        {"cohorts": [2025, 2025]},
        {"cohorts": [-1]},
        {"micro_rho": 0},
        {"micro_rho": -5},
        {"micro_rho": 1.5},
        {"micro_rho": 10**13},
        {"micro_rho": True},
        {"delta_1e12": -1},
    ],
    ids=str,
)
def test_a_release_that_would_cost_nothing_is_refused(
    server: Running, change: dict[str, object]
) -> None:
    body = copy.deepcopy(BODIES["/reservations"])
    items = body["items"]
    assert isinstance(items, list)
    items[0].update(change)
    headers = {"authorization": f"Bearer {gateway_token(server.settings)}"}
    answer = httpx.post(f"{server.url}/api/v1/reservations", json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "BAD_REQUEST")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/access/requests/a%00b", 404),
        ("GET", "/receipts/a%00b", 404),
        ("GET", "/api/v1/access/drafts?table=%00", 404),
        ("GET", f"/api/v1/access/requests/{'x' * 5_000}", 404),
        ("GET", f"/api/v1/proofs/{10**30}", 404),
        ("GET", f"/api/v1/log/proofs/{10**30}", 404),
        ("POST", f"/api/v1/funnel/{'x' * 65}", 422),
    ],
    ids=["nul", "nul on a page", "nul in a query", "long", "no path", "large", "too long to keep"],
)
def test_an_address_that_names_nothing_is_refused_alike_on_every_database(
    server: Running, method: str, path: str, status: int
) -> None:
    headers = {"authorization": f"Bearer {token(server.settings, 'operator')}"}
    answer = httpx.request(
        method, f"{server.url}{path}", json={"stage": "contacted"}, headers=headers
    )
    assert answer.status_code == status, answer.text
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_a_body_beyond_the_limit_is_not_read(server: Running) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 2**20

    answer = httpx.put(f"{server.url}/api/v1/releases/x", content=endless(), timeout=30)
    assert answer.status_code in (400, 401, 413)
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_the_log_grows_by_proven_steps(server: Running) -> None:
    client = MarketplaceClient(server.url, gateway_token(server.settings))
    reserve(client, "grow-one")
    old = httpx.get(f"{server.url}/api/v1/log/checkpoint").json()
    reserve(client, "grow-two")
    client.close()
    new = httpx.get(f"{server.url}/api/v1/log/consistency/{old['size']}").json()
    assert new["size"] > old["size"]
    tree.check_consistency(
        old["size"],
        bytes.fromhex(old["root"]),
        new["size"],
        bytes.fromhex(new["root"]),
        [bytes.fromhex(h) for h in new["proof"]],
    )
    leaf = httpx.get(f"{server.url}/api/v1/log/proofs/0").json()
    tree.check_inclusion(
        bytes.fromhex(leaf["leaf_hash"]),
        0,
        leaf["size"],
        [bytes.fromhex(h) for h in leaf["proof"]],
        bytes.fromhex(leaf["root"]),
    )


def test_a_flood_of_wrong_tokens_does_not_fill_the_log(server: Running) -> None:
    client = MarketplaceClient(server.url, gateway_token(server.settings))
    sizes = []
    for turn in range(20):
        code_of(client.session, f"wrong token {turn}")
        client.session(token(server.settings, "operator"))
        sizes.append(httpx.get(f"{server.url}/api/v1/log/checkpoint").json()["size"])
    client.close()
    assert len(set(sizes[1:])) == 1


def test_a_marketplace_that_is_away_is_one_problem(tmp_path: Path) -> None:
    client = MarketplaceClient("http://127.0.0.1:9", "token", timeout_seconds=1)
    with pytest.raises(MarketplaceProblem) as caught:
        client.session("x" * 40)
    assert (caught.value.code, caught.value.status) == ("SERVICE_UNAVAILABLE", 503)
    client.close()


def test_the_interface_is_the_one_written_down(tmp_path: Path) -> None:
    services = assemble(make_home(tmp_path / "home"))
    spec = build(services).openapi()
    services.database.close()
    if os.environ.get("LAB_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(spec, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert json.loads(GOLDEN.read_text()) == spec, (
        "tests/golden/openapi.json differs: if the change of the interface is meant, write it anew "
        "with LAB_WRITE_GOLDEN=1 and look at the difference"
    )


def test_seeding_keeps_hashes_only_and_never_changes_a_home(tmp_path: Path) -> None:
    def seeded(home: Path, *more: str) -> None:
        command = [sys.executable, "-m", "marketplace", "seed", "--home", str(home), *more]
        subprocess.run(command, check=True, capture_output=True)

    plain, demo = tmp_path / "plain", tmp_path / "demo"
    seeded(plain)
    seeded(demo, "--demo")
    assert not (plain / "tokens").exists()
    tokens = {p.name: p.read_text().strip() for p in (demo / "tokens").iterdir()}
    assert len(tokens) == len(set(tokens.values())) == 13
    identities = (demo / "identity.json").read_text()
    for secret in (*tokens.values(), (demo / "gateway.token").read_text().strip()):
        assert len(secret) >= 43
        assert secret not in identities
    for path in (demo / "identity.json", demo / "gateway.token", *(demo / "tokens").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    seeded(demo, "--demo")
    assert (demo / "identity.json").read_text() == identities
