"""Sessions: what is told, and what the log keeps of them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from marketplace import db
from marketplace.errors import MarketplaceError
from marketplace.identity.service import QUIET_SECONDS, Sessions
from marketplace.services import Services
from marketplace.settings import Settings
from tests.support.marketplace import FIRST_START, Clock, make_home, parts, revoke, token


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_home(tmp_path / "home")


@pytest.fixture
def market(settings: Settings) -> Iterator[Services]:
    with parts(settings) as services:
        yield services


def logged(market: Services) -> list[dict[str, object]]:
    with market.database.reading() as connection:
        later = db.entries.c.index >= FIRST_START
        rows = connection.execute(select(db.entries.c.bytes).where(later).order_by("index"))
        return [json.loads(bytes(r[0])) for r in rows]


def test_one_entry_stands_for_the_gateways_repeated_looks(
    market: Services, settings: Settings
) -> None:
    for _ in range(50):
        market.sessions.open(token(settings, "analyst"))
    market.sessions.open(token(settings, "bank-risk"))
    assert [e["event"] for e in logged(market)] == ["session:open"] * 2
    assert "analyst" not in json.dumps([e["facts"]["subject_commitment"] for e in logged(market)])  # type: ignore[index]


def test_a_later_look_and_a_changed_view_are_entries_of_their_own(
    market: Services, settings: Settings
) -> None:
    clock = Clock()
    sessions = Sessions(market.database, market.directory, market.gate.granted, clock)
    before = sessions.open(token(settings, "analyst"))
    clock.now = clock.now.replace(hour=clock.now.hour + 1)
    sessions.open(token(settings, "analyst"))
    revoke(market, "demo-enterprise", "tax_summary")
    after = sessions.open(token(settings, "analyst"))
    assert before.etag != after.etag
    assert len(logged(market)) == 3


def test_refused_tokens_are_counted_in_one_entry(market: Services, settings: Settings) -> None:
    clock = Clock()
    sessions = Sessions(market.database, market.directory, market.gate.granted, clock)
    for _ in range(QUIET_SECONDS * 2):
        with pytest.raises(MarketplaceError) as caught:
            sessions.open("nobody's token")
        assert caught.value.code == "AUTHENTICATION"
    counts = [e["facts"]["refused"] for e in logged(market)]  # type: ignore[index]
    assert counts[0] == 1
    assert len(counts) <= 3


def test_a_revoked_token_opens_nothing(market: Services, settings: Settings) -> None:
    held = token(settings, "analyst")
    market.sessions.open(held)
    path = settings.home / "identity.json"
    data = json.loads(path.read_text())
    data["users"] = [u for u in data["users"] if u["name"] != "analyst"]
    path.write_text(json.dumps(data))
    with pytest.raises(MarketplaceError):
        market.sessions.open(held)


def test_a_users_name_or_hash_is_not_a_token(market: Services, settings: Settings) -> None:
    data = json.loads((settings.home / "identity.json").read_text())
    for user in data["users"]:
        for guess in (user["name"], user["token_sha256"]):
            with pytest.raises(MarketplaceError):
                market.sessions.open(guess)
