"""No history of steps, by whomever, leads to a grant that was not reviewed and approved."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from marketplace import db
from marketplace.access import grant_store, model, store
from marketplace.access.model import AccessRequest, Actor, State, Terms, Verdict
from marketplace.errors import MarketplaceError
from marketplace.identity.model import SEEDED, Person
from marketplace.services import Services
from tests.support.marketplace import make_home, parts

PEOPLE = {name: Person(name, org, roles, "en") for name, org, roles in SEEDED}
TABLES = ("social_insurance", "tax_summary", "bid_record", "customs_credit", "loan_performance")
TWO = {"social_insurance", "tax_summary", "customs_credit", "loan_performance"}
"""Graded G3 in the sample contracts."""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with parts(make_home(tmp_path_factory.mktemp("market") / "home")) as services:
        requests = services.access.requests
        requests._limits = {**requests._limits, "open_per_organisation": 10**6}
        yield services


def terms(table: str, days: int) -> Terms:
    return Terms(table, ("market-research",), ("dp",), (), 500_000, 1_000_000, days, "why")


user = st.sampled_from(sorted(PEOPLE))
step = st.one_of(
    st.tuples(st.just("submit"), user, st.sampled_from(TABLES)),
    st.tuples(st.just("edit"), user, st.integers(1, 400)),
    st.tuples(
        st.sampled_from(["review", "approve"]),
        user,
        st.sampled_from(list(Verdict)),
        st.sampled_from(["now", "now", "before", "other"]),
    ),
    st.tuples(st.just("withdraw"), user),
    st.tuples(st.just("stand-in"), user, user),
)
likely = st.sampled_from(
    [
        ("submit", "analyst", "social_insurance"),
        ("submit", "bank-risk", "bid_record"),
        ("review", "hr-provider", Verdict.AGREE, "now"),
        ("review", "bureau-reviewer", Verdict.AGREE, "now"),
        ("approve", "bureau-approver", Verdict.AGREE, "now"),
        ("approve", "operator", Verdict.AGREE, "now"),
        ("approve", "bureau-approver", Verdict.AGREE, "before"),
        ("edit", "analyst", 31),
    ]
)
"""Steps that lead somewhere, so that histories come close to grants."""


def play(market: Services, steps: list[Any]) -> None:
    requests, inbox = market.access.requests, market.access.inbox
    newest: AccessRequest | None = None
    digests = ["0" * 64]
    for name, who, *rest in steps:
        person = PEOPLE[who]
        try:
            if name == "submit":
                newest = requests.submit(person, terms(rest[0], 30))
            elif name == "stand-in":
                inbox.name_stand_in(person, rest[0], 5)
            elif newest is None:
                continue
            elif name == "edit":
                newest = requests.edit(person, newest.id, terms(newest.terms.table, rest[0]))
            elif name == "withdraw":
                requests.withdraw(person, newest.id)
            else:
                sha = {"now": newest.sha256, "before": digests[-1], "other": "f" * 64}[rest[1]]
                judge = requests.review if name == "review" else requests.approve
                text_read = requests_now(market, newest.id)
                judge(person, newest.id, rest[0], sha, "")
                assert sha == text_read, "a word about another text was taken"
        except MarketplaceError:
            continue
        if newest is not None and newest.sha256 not in digests:
            digests.append(newest.sha256) if name != "edit" else digests.insert(-1, newest.sha256)


def requests_now(market: Services, name: str) -> str:
    with market.database.reading() as connection:
        kept = store.get(connection, name)
    assert kept is not None
    return kept.request.sha256


def check_grants(market: Services) -> int:
    """Read every grant's story from history and log alone, by rules written down here anew."""
    with market.database.reading() as connection:
        held = list(map(grant_store._held, connection.execute(select(grant_store.grants))))
        kept = {k.request.sha256: k for k in store.in_states(connection)}
        made = [h.grant for h in held if h is not None and h.grant.basis != "seeded"]
        log = [json.loads(bytes(r.bytes)) for r in connection.execute(select(db.entries))]
        for grant in made:
            request = kept[grant.basis].request
            assert request.state is State.GRANTED
            assert (grant.tenant, grant.table) == (request.tenant, request.terms.table)
            assert grant.ends - grant.starts == request.terms.days * 86_400
            steps = store.history(connection, request.id)
            of_text = [s for s in steps if s.sha256 == grant.basis and s.verdict == "agree"]
            reviews = [s for s in of_text if s.step == "review"]
            approvals = [s for s in of_text if s.step == "approve"]
            assert len(reviews) == 1
            assert steps.index(reviews[0]) < steps.index(approvals[0])
            assert len({s.actor.organisation for s in approvals}) == len(approvals)
            assert len(approvals) == (2 if grant.table in TWO else 1)
            people = [p for s in (*reviews, *approvals) for p in s.actor.persons]
            assert len(people) == len(set(people))
            assert request.user not in people
            assert request.tenant not in {s.actor.organisation for s in (*reviews, *approvals)}
            assert all({"approver", "operator"} & roles(s.actor) for s in approvals)
            assert any("approver" in roles(s.actor) for s in approvals)
            assert {"provider", "reviewer"} & roles(reviews[0].actor)
            entries = [e["facts"] for e in log if e["facts"].get("grant") == grant.id]
            assert [e["grant_sha256"] for e in entries] == [grant.sha256]
    assert not {g.table for g in made} & {"customs_credit"}, "no return-flow basis is recorded"
    return len(made)


def roles(actor: Actor) -> set[str]:
    return {r for p in actor.persons for r in PEOPLE[p].roles}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=st.lists(st.one_of(step, likely, likely), min_size=4, max_size=14))
def test_every_grant_was_reviewed_and_approved_by_others(
    market: Services, steps: list[Any]
) -> None:
    play(market, steps)
    check_grants(market)


def test_the_short_way_is_in_reach_of_these_histories(market: Services) -> None:
    before = check_grants(market)
    ways = [
        [
            ("submit", "analyst", "social_insurance"),
            ("review", "hr-provider", Verdict.AGREE, "now"),
            ("approve", "bureau-approver", Verdict.AGREE, "now"),
            ("approve", "operator", Verdict.AGREE, "now"),
        ],
        [
            ("submit", "analyst", "bid_record"),
            ("review", "bureau-reviewer", Verdict.AGREE, "now"),
            ("approve", "bureau-approver", Verdict.AGREE, "now"),
        ],
    ]
    for way in ways:
        play(market, way)
    assert check_grants(market) == before + len(ways)


votes = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d", "e"]), st.sampled_from(["o1", "o2", "o3"])),
    min_size=2,
    max_size=8,
)


@settings(max_examples=400)
@given(votes=votes, rank=st.integers(0, 4))
def test_the_machine_alone_grants_nothing_without_independent_words(
    votes: list[tuple[str, str]], rank: int
) -> None:
    """The pure model, without policies in front of it."""
    request = AccessRequest("r", "o1", "a", terms("t", 3), rank)
    for person, organisation in votes:
        actor = Actor(person, organisation)
        for judge in (
            lambda r, by=actor: model.review(r, by, Verdict.AGREE, r.sha256),
            lambda r, by=actor: model.approve(r, by, Verdict.AGREE, r.sha256, 0),
        ):
            try:
                request = judge(request)
            except MarketplaceError:
                continue
            break
    if request.state is State.GRANTED:
        first, *approvals = request.votes
        assert first.stage is State.REVIEW
        assert len({v.actor.user for v in request.votes}) == len(request.votes)
        assert len({v.actor.organisation for v in approvals}) == (2 if rank >= 3 else 1)
        assert "a" not in {v.actor.user for v in request.votes}
        assert "o1" not in {v.actor.organisation for v in request.votes}


def test_a_request_that_nobody_decides_lapses(market: Services) -> None:
    desk = market.access.requests._desk
    request = market.access.requests.submit(PEOPLE["bank-risk"], terms("bid_record", 3))
    desk.clock.now = max(desk.clock.now, datetime(2026, 11, 1, tzinfo=UTC)) + timedelta(days=90)
    assert market.access.requests.lapse() >= 1
    assert market.access.requests.lapse() == 0
    with pytest.raises(MarketplaceError) as caught:
        market.access.requests.withdraw(PEOPLE["bank-risk"], request.id)
    assert caught.value.code == "WRONG_STATE"
