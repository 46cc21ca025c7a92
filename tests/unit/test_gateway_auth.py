"""Who is calling is told by the one token of the request, and by nothing that the client claims."""

import pytest

from privacy.errors import Refusal
from sandbox.gateway.auth import (
    FRESH_SECONDS,
    REFUSED_SECONDS,
    Authenticator,
    bearer_token,
)
from tests.support.gateway import TOKEN, People, Person

GOOD = [("authorization", f"Bearer {TOKEN}")]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_token_decides_who_is_calling() -> None:
    caller = Authenticator(People(), Clock()).caller(GOOD)
    assert (caller.account.user, caller.token) == ("analyst", TOKEN)


@pytest.mark.parametrize("key", ["authorization", "Authorization", "AUTHORIZATION"])
def test_the_headers_name_is_read_without_regard_to_case(key: str) -> None:
    assert bearer_token([("user-agent", "x"), (key, f"bearer {TOKEN}")]) == TOKEN


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "")],
        [("authorization", TOKEN)],
        [("authorization", f"Basic {TOKEN}")],
        [("authorization", "Bearer ")],
        [("authorization", f"Bearer {TOKEN} x")],
        [("authorization", f"Bearer {TOKEN}\r\nx: y")],
        [("authorization", "Bearer " + "x" * 5_000)],
        [("authorization", f"Bearer {TOKEN}".encode())],
        [*GOOD, *GOOD],
        [*GOOD, ("Authorization", "Bearer other-token")],
    ],
)
def test_anything_but_one_bearer_token_is_refused(metadata: list[tuple[str, str]]) -> None:
    with pytest.raises(Refusal) as refusal:
        Authenticator(People(), Clock()).caller(metadata)
    assert refusal.value.code == "AUTHENTICATION"


def test_an_unknown_token_is_refused_without_repeating_it() -> None:
    with pytest.raises(Refusal) as refusal:
        Authenticator(People(), Clock()).caller([("authorization", "Bearer unknown-token")])
    assert "unknown-token" not in refusal.value.en + refusal.value.zh


def test_a_revoked_token_stops_working_within_seconds() -> None:
    people, clock = People(), Clock()
    authenticator = Authenticator(people, clock)
    authenticator.caller(GOOD)
    people.holders.clear()
    clock.now = FRESH_SECONDS - 0.01
    authenticator.caller(GOOD)
    clock.now = FRESH_SECONDS
    with pytest.raises(Refusal):
        authenticator.caller(GOOD)


def test_a_token_is_not_looked_up_for_every_request() -> None:
    people = People()
    authenticator = Authenticator(people, Clock())
    for _ in range(100):
        authenticator.caller(GOOD)
    assert people.lookups == 1


def test_a_new_token_works_soon_after_it_was_refused() -> None:
    people, clock = People({}), Clock()
    authenticator = Authenticator(people, clock)
    for _ in range(3):
        with pytest.raises(Refusal):
            authenticator.caller(GOOD)
    assert people.lookups == 1
    people.holders[TOKEN] = Person("analyst")
    clock.now = REFUSED_SECONDS
    assert authenticator.caller(GOOD).account.user == "analyst"


def test_a_marketplace_that_does_not_answer_is_named_and_not_remembered() -> None:
    class Down(People):
        def session(self, token: str) -> Person:
            self.lookups += 1
            raise Refusal("SERVICE_UNAVAILABLE", "The marketplace is away.", "交易平台无响应。")

    down = Down()
    authenticator = Authenticator(down, Clock())
    for _ in range(2):
        with pytest.raises(Refusal) as refusal:
            authenticator.caller(GOOD)
        assert refusal.value.code == "SERVICE_UNAVAILABLE"
    assert down.lookups == 2


def test_a_token_is_not_shown_when_a_caller_is_printed() -> None:
    assert TOKEN not in repr(Authenticator(People(), Clock()).caller(GOOD))
