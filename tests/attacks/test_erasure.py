"""K18 for all that the marketplace keeps: nobody is named in its files, and erasure is for good."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from marketplace import db
from marketplace.access import store as access
from marketplace.access.model import State, Terms, Verdict
from marketplace.audit.openings import Basis, Ground
from marketplace.audit.people import NoKeysError, People, people
from marketplace.audit.verifier import Directory, Trust, verify_log
from marketplace.budgets.replay import replay as recount
from marketplace.catalogue.search import Query
from marketplace.catalogue.states import Actor
from marketplace.contracts.model import Stage
from marketplace.errors import MarketplaceError
from marketplace.identity.model import UNNAMED, Person
from marketplace.policy import store as policy
from marketplace.policy.book import PolicyBook
from marketplace.policy.replay import replay
from marketplace.releases import store as reservations
from marketplace.services import Services
from marketplace.settings import CEDAR, Settings
from marketplace.window import NEWEST
from tests.support import catalogue as cataloguing
from tests.support.databases import ON_POSTGRESQL, contents, database_files, gather_statistics
from tests.support.marketplace import TABLES, ask, item, made, make_home, parts

ADMIN = Person("audit-admin", "bureau", ("audit-admin",), "en")
GROUND = Ground(Basis.SUBJECT_REQUEST, "case 2026-18")
NAME, JUDGE, DEPUTY = "ouyang-zhenhua", "shangguan-mei", "murong-lan"
WRITER = "zhuge-wenyuan"
EVERYONE = (NAME, JUDGE, DEPUTY, WRITER)
"""People whom these tests add: an analyst, two of the bureau, and one of a provider."""
REASON, PURPOSE = "for the cousin of 13812345678", "where uscc = '91370200MA3XXXXX0A'"
COMMENT, STOPPED, NOWHERE = "called her on 13987654321", "rumours about Li Si", "li-si-and-sons"
PROOF = "letter of Sun Ba"
WHY, SAID, SOUGHT = "Wang Wu told me so", "not while Zhao Liu is ill", "qian-qi-and-daughters"
SECRETS = (
    *EVERYONE,
    PROOF,
    WHY,
    SAID,
    SOUGHT,
    REASON,
    PURPOSE,
    COMMENT,
    STOPPED,
    NOWHERE,
    "9137020",
    "1398765",
)
ASKED_AS = "product-development"
TERMS = Terms("bid_record", (ASKED_AS,), ("dp",), ("win_amt",), 500_000, 1_000_000, 30, REASON)


def add_people(settings: Settings) -> None:
    """Add four people to the home, who hold no file of their own."""
    file = settings.home / "identity.json"
    data = json.loads(file.read_text())
    for name, organisation, role in (
        (NAME, "demo-enterprise", "analyst"),
        (JUDGE, "bureau", "approver"),
        (DEPUTY, "bureau", "approver"),
        (WRITER, "tax-department", "provider"),
    ):
        user = {"name": name, "organisation": organisation, "roles": [role], "language": "zh"}
        data["users"].append({**user, "token_sha256": name})
    file.write_text(json.dumps(data))


def remove_people(settings: Settings) -> None:
    file = settings.home / "identity.json"
    data = json.loads(file.read_text())
    kept = [u for u in data["users"] if u["name"] not in EVERYONE]
    file.write_text(json.dumps({**data, "users": kept}))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made_home = make_home(tmp_path / "home")
    add_people(made_home)
    return made_home


@pytest.fixture
def market(settings: Settings) -> Iterator[Services]:
    with parts(settings) as services:
        live(services)
        yield services


def person(market: Services, name: str) -> Person:
    return next(p for p in market.directory.people() if p.user == name)


def live(market: Services) -> None:
    """Let four people use all that keeps anything of anybody."""
    requests, grants, inbox = market.access.requests, market.access.grants, market.access.inbox
    analyst, judge, deputy = (person(market, n) for n in (NAME, JUDGE, DEPUTY))
    market.releases.reserve(ask("asked", user=NAME, purpose="market-research"))
    held = market.releases.reserve(ask("paid", user=NAME))
    market.releases.record(held.id, held.fencing_token, (made(item("paid")),), TABLES)
    with pytest.raises(MarketplaceError):
        market.releases.reserve(ask("refused", user=NAME, purpose=PURPOSE))
    with pytest.raises(MarketplaceError):
        market.contracts.advance(analyst, NOWHERE, Stage.CONTACTED)
    open_one = requests.submit(analyst, TERMS)
    granted = requests.submit(analyst, TERMS)
    reviewer = person(market, "bureau-reviewer")
    for one in (open_one, granted):
        requests.review(reviewer, one.id, Verdict.AGREE, one.sha256, "read")
    requests.approve(judge, granted.id, Verdict.AGREE, granted.sha256, COMMENT)
    inbox.name_stand_in(judge, DEPUTY, 30)
    stop = grants.stop(judge, "tenant", "demo-bank", STOPPED)
    with pytest.raises(MarketplaceError):
        grants.lift(judge, stop.id)
    grants.lift(deputy, stop.id)
    write_and_review(market)
    market.openings.open_entries(ADMIN, GROUND, key(market), [0])
    market.openings.open_subject(ADMIN, GROUND, key(market), NAME)


def write_and_review(market: Services) -> str:
    """Let two people write, return, submit again and publish a resource; return its id."""
    writer, judge = Actor(WRITER, "tax-department"), Actor(JUDGE, "bureau")
    items = (
        cataloguing.item("uscc", "none"),
        replace(cataloguing.item("paid", "serious"), reason=WHY),
    )
    catalogue = market.catalogue
    page = catalogue.create(writer, cataloguing.resource(items=items))
    id_ = page.version.resource
    catalogue.submit(writer, id_, 1, page.version.digest)
    catalogue.review(judge, id_, 1, page.version.digest, approve=False, comment=SAID)
    page = catalogue.edit(writer, id_, 1, page.resource)
    digest = page.version.digest
    catalogue.submit(writer, id_, 1, digest)
    catalogue.review(judge, id_, 1, digest, approve=True, comment=SAID)
    catalogue.publish(writer, id_, 1, digest)
    regradings, facts = market.publishing.regradings, {"k": 10, "l": 2}
    down = regradings.report(person(market, WRITER), id_, "paid", "k_anonymous", facts, PROOF)
    regradings.decide(person(market, JUDGE), down.id, SAID, approve=True)
    catalogue.search(Actor(NAME, "demo-enterprise"), Query(SOUGHT))
    return id_


def key(market: Services) -> str:
    return (market.log.folder.parent / "audit-keys" / "audit-admin.age").read_text()


def holding(home: Path, word: bytes) -> list[str]:
    """Return the files of a home that hold a word, in any of the ways text is kept."""
    escaped = json.dumps(word.decode()).strip('"').encode() if word.isascii() else word
    return [f.name for f in files(home) if any(w in contents(f) for w in {word, escaped})]


def files(home: Path) -> list[Path]:
    """Return all files of a home, and of its database where that lies elsewhere."""
    inside = [f for f in sorted(home.rglob("*")) if f.is_file()]
    return [*inside, *(f for f in database_files(home) if f not in inside)]


def test_no_file_of_a_home_names_anybody_or_holds_anybodys_words(
    market: Services, settings: Settings
) -> None:
    for secret in SECRETS:
        assert set(holding(settings.home, secret.encode())) <= {"identity.json"}, secret


def test_every_text_column_of_every_table_is_free_of_names_and_words(
    market: Services, settings: Settings
) -> None:
    """The same by table, so that a new column with a name says which one it is."""
    with market.database.reading() as connection:
        for table in db.metadata.tables.values():
            for row in connection.execute(select(table)):
                text = " ".join(str(v) for v in row)
                for secret in (*SECRETS, "bureau-reviewer", "bureau-approver"):
                    assert secret not in text, (table.name, secret)


def test_who_is_known_reads_back_what_was_written(market: Services) -> None:
    analyst = person(market, NAME)
    with market.database.reading() as connection:
        newest = policy.latest(connection, "demo-enterprise", NEWEST)
    mine = [k for k in newest if k.inputs.principal == NAME]
    assert PURPOSE in {k.inputs.context.get("purpose") for k in mine}
    assert NOWHERE in {k.inputs.resource for k in mine}
    kept, history = market.access.inbox.request(
        analyst, market.access.inbox.own(analyst)[0].request.id
    )
    assert (kept.request.user, kept.request.terms) == (NAME, TERMS)
    assert {s.actor.user for s in history} <= {NAME, JUDGE, "bureau-reviewer"}
    stop = market.access.grants.stops(person(market, JUDGE))[0]
    assert (stop.by, stop.lifted_by, stop.reason) == (JUDGE, DEPUTY, STOPPED)


def test_after_erasure_nothing_of_a_person_is_left_and_the_log_still_holds(
    market: Services, settings: Settings
) -> None:
    gather_statistics(settings.home)
    before = market.log.head.checkpoint
    with market.database.reading() as connection:
        rows = [bytes(r.sealed) for r in connection.execute(select(people))]
        known = [(r.id, People(connection).name(r.id)) for r in connection.execute(select(people))]
    gone = {i for i, name in known if name in EVERYONE}
    sealed = [row for row, (i, _) in zip(rows, known, strict=True) if i in gone]
    assert len(sealed) == len(EVERYONE)
    assert all(holding_bytes(settings.home, row) for row in sealed), "it is there to be found"
    remove_people(settings)
    for name in EVERYONE:
        market.openings.erase(ADMIN, GROUND, name)
    # Neither name nor key is left, in a freed page or in the write-ahead log either: what is sealed
    # under the key is noise from here on.
    for row in sealed:
        assert holding_bytes(settings.home, row) == []
    for secret in SECRETS:
        assert holding(settings.home, secret.encode()) == [], secret
    # Nor does the audit administrator's key open it in entries about others.
    size = market.log.head.checkpoint.size
    told = json.dumps(market.openings.open_entries(ADMIN, GROUND, key(market), [*range(size)]))
    assert "bureau-reviewer" in told
    for secret in SECRETS:
        assert secret not in told, secret
    verify_log(Directory(market.log.folder), Trust(market.log.key), seen=before)
    assert recount(market.database).findings == ()


def test_the_row_that_was_written_last_is_gone_too(market: Services, settings: Settings) -> None:
    """No later row of its page moves into its place."""
    with market.database.writing() as connection:
        known = People(connection).enrol("zhuge-qiao")
    with market.database.reading() as connection:
        sealed = connection.execute(select(people.c.sealed).where(people.c.id == known))
        row = bytes(sealed.scalar_one())
    assert holding_bytes(settings.home, row)
    market.openings.erase(ADMIN, GROUND, "zhuge-qiao")
    assert holding_bytes(settings.home, row) == []


def holding_bytes(home: Path, data: bytes) -> list[str]:
    return [f.name for f in files(home) if data in contents(f)]


def test_decisions_of_the_erased_are_made_again_alike(market: Services) -> None:
    book = PolicyBook.load(CEDAR)
    before = replay(market.database, book, "1970")
    for name in (NAME, JUDGE, DEPUTY):
        market.openings.erase(ADMIN, GROUND, name)
    after = replay(market.database, book, "1970")
    assert (before.flips, after.flips) == ((), ())
    assert after.decisions == before.decisions > 8
    draft = PolicyBook(book.schema_text, '@id("all") permit (principal, action, resource);')
    assert all(
        f.principal.startswith(UNNAMED) for f in replay(market.database, draft, "1970").flips
    )


def test_decisions_are_made_again_without_any_key(market: Services, settings: Settings) -> None:
    """As `lab policy replay` on a copy of the database alone."""
    database = db.open_database(settings.database_url)
    try:
        found = replay(database, PolicyBook.load(CEDAR), "1970")
        assert (found.flips, found.decisions > 8) == ((), True)
        with database.reading() as connection, pytest.raises(NoKeysError):
            People(connection).find(NAME)
    finally:
        database.close()


def test_a_resource_outlives_who_wrote_it_but_not_the_words(market: Services) -> None:
    provider, stranger = Actor("tax-provider", "tax-department"), Actor(NAME, "demo-enterprise")
    id_ = market.catalogue.search(stranger, Query("车船税")).hits[0].resource
    assert {i.reason for i in market.catalogue.page(stranger, id_).resource.items} == {"", WHY}
    told = market.catalogue.history(provider, id_)
    assert [(a["user"], a["comment"]) for a in told if a["act"] in ("return", "approve")] == [
        *((JUDGE, SAID), (JUDGE, SAID))
    ]
    assert not any("user" in a for a in market.catalogue.history(stranger, id_))
    changes = market.publishing.regradings.history(person(market, "tax-provider"), id_)
    assert [(c.by, c.evidence, c.decided_by, c.comment) for c in changes] == [
        (WRITER, PROOF, JUDGE, SAID)
    ]
    for name in (WRITER, JUDGE):
        market.openings.erase(ADMIN, GROUND, name)
    changes = market.publishing.regradings.history(person(market, "tax-provider"), id_)
    assert [(c.evidence, c.comment) for c in changes] == [("erased", "erased")]
    page = market.catalogue.page(stranger, id_)
    assert {i.reason for i in page.resource.items} == {"erased"}
    assert page.version.author.startswith(UNNAMED)
    told = market.catalogue.history(provider, id_)
    assert {a["comment"] for a in told} == {"", "erased"}
    assert all(a["user"].startswith(UNNAMED) for a in told)
    again = market.catalogue.revise(provider, id_, page.resource.with_reasons({}))
    assert again.version.number == 2


def test_what_somebody_erased_submitted_is_only_returned(market: Services) -> None:
    """Else who wrote it could be erased, come back and approve it from another organisation."""
    writer, judge = Actor(WRITER, "tax-department"), Actor("bureau-approver", "bureau")
    made_page = market.catalogue.create(writer, cataloguing.resource(code="302009/000002"))
    id_, digest = made_page.version.resource, made_page.version.digest
    market.catalogue.submit(writer, id_, 1, digest)
    market.openings.erase(ADMIN, GROUND, WRITER)
    with pytest.raises(MarketplaceError) as caught:
        market.catalogue.review(judge, id_, 1, digest, approve=True)
    assert caught.value.code == "WRONG_STATE"
    back = market.catalogue.review(judge, id_, 1, digest, approve=False)
    assert back.version.state == "returned"


def test_a_request_of_somebody_erased_is_judged_by_nobody_and_lapses(market: Services) -> None:
    analyst, reviewer = person(market, NAME), person(market, "bureau-reviewer")
    request = market.access.requests.submit(analyst, TERMS)
    market.openings.erase(ADMIN, GROUND, NAME)
    with market.database.reading() as connection:
        kept = access.get(connection, request.id)
    assert kept is not None
    assert kept.request.user.startswith(UNNAMED)
    for digest in (request.sha256, kept.request.sha256):
        with pytest.raises(MarketplaceError) as caught:
            market.access.requests.review(reviewer, request.id, Verdict.AGREE, digest, "")
        assert caught.value.code == "WRONG_STATE"
    market.access.requests._limits = {**market.access.requests._limits, "lapse_days": 0}
    assert market.access.requests.lapse() >= 1
    with market.database.reading() as connection:
        after = access.get(connection, request.id)
    assert after is not None
    assert after.request.state is State.LAPSED


def test_a_vote_of_somebody_erased_counts_for_nothing(market: Services) -> None:
    """Else who voted could be erased, come back and vote again."""
    analyst, reviewer = person(market, NAME), person(market, "bureau-reviewer")
    request = market.access.requests.submit(analyst, TERMS)
    market.access.requests.review(reviewer, request.id, Verdict.AGREE, request.sha256, "")
    market.openings.erase(ADMIN, GROUND, "bureau-reviewer")
    with pytest.raises(MarketplaceError) as caught:
        market.access.requests.approve(
            person(market, "bureau-approver"), request.id, Verdict.AGREE, request.sha256, ""
        )
    assert caught.value.code == "WRONG_STATE"


def test_who_was_only_told_something_can_be_erased_too(
    market: Services, settings: Settings
) -> None:
    with market.database.reading() as connection:
        assert People(connection).find("bank-risk") is not None, "told of the stop"
    assert market.openings.erase(ADMIN, GROUND, "bank-risk") == 0
    with market.database.reading() as connection:
        assert People(connection).find("bank-risk") is None
    with pytest.raises(MarketplaceError) as caught:
        market.openings.erase(ADMIN, GROUND, "bank-risk")
    assert caught.value.code == "NOT_FOUND"


def test_pages_that_a_reader_holds_back_are_scrubbed_at_a_later_turn(
    market: Services, settings: Settings
) -> None:
    with market.database.reading() as connection:
        row = connection.execute(
            select(people.c.sealed).where(people.c.id == People(connection).find(NAME))
        ).scalar_one()
        market.openings.erase(ADMIN, GROUND, NAME)
        market.worker.turn()
        assert holding_bytes(settings.home, bytes(row)), "still read by an older transaction"
    market.worker.turn()
    assert holding_bytes(settings.home, bytes(row)) == []
    assert market.database.scrub_again() == 0


@pytest.mark.skipif(ON_POSTGRESQL, reason="no earlier version wrote there")
def test_a_home_of_an_earlier_version_names_nobody_after_its_next_start(
    market: Services, settings: Settings
) -> None:
    with market.database.writing() as connection:
        earlier = "UPDATE reservations SET user = ?, purpose = ? WHERE operation_id = 'asked'"
        connection.exec_driver_sql(earlier, ("huangfu-duan", "an older purpose"))
    with parts(settings) as again, again.database.reading() as connection:
        found = reservations.operation(connection, "demo-enterprise", "asked")
        assert found is not None
        assert (found.user, found.purpose) == ("huangfu-duan", "an older purpose")
        for word in (b"huangfu-duan", b"an older purpose"):
            assert holding_bytes(settings.home, word) == []


def test_a_name_that_looks_like_an_id_is_a_name(market: Services) -> None:
    with market.database.writing() as connection:
        known = People(connection).enrol(NAME)
        assert People(connection).enrol(f"{UNNAMED}{known}") != known
