"""Digital contracts over their whole life, the funnel, mail, and the replay of a draft."""

import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from marketplace.access.mail import Mailer
from marketplace.contracts import model
from marketplace.contracts.model import Contract, Stage, State, Terms
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person
from marketplace.policy import store as decisions
from marketplace.policy.book import PolicyBook
from marketplace.policy.replay import replay
from marketplace.services import Services
from marketplace.settings import CEDAR, MailSettings, Settings
from tests.support.databases import environment
from tests.support.marketplace import COST, Clock, ask, item, make_home, parts
from tests.support.processes import free_port

FIRM, BANK = "demo-enterprise", "demo-bank"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_home(tmp_path / "home")


@pytest.fixture
def market(settings: Settings) -> Iterator[Services]:
    with parts(settings) as services:
        yield services


def person(market: Services, user: str) -> Person:
    return next(p for p in market.directory.people() if p.user == user)


def code_of(call: object, *arguments: object) -> str:
    with pytest.raises(MarketplaceError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.code


def leave_seeded(market: Services, tenant: str) -> Contract:
    """End the contract that the tenant's first start gave it."""
    seeded = next(
        c for c in market.contracts.visible(person(market, "operator")) if c.terms.tenant == tenant
    )
    return market.contracts.leave(person(market, "operator"), seeded.id)


def terms(**other: object) -> Terms:
    now = int(datetime.fromisoformat("2026-11-01T00:00:00+00:00").timestamp())
    said: dict[str, object] = {
        "tenant": FIRM,
        "parties": (FIRM, "operator"),
        "purposes": ("market-research",),
        "resources": {"tax_summary": ("*",)},
        "lanes": ("dp",),
        "micro_rho": 3 * COST,
        "calls": 2,
        "starts": now - 1,
        "ends": now + 86_400,
    }
    return Terms(**{**said, **other})  # type: ignore[arg-type]


def signed(market: Services, wanted: Terms) -> Contract:
    made = market.contracts.draft(person(market, "operator"), wanted)
    market.contracts.sign(person(market, "operator"), made.id, made.sha256)
    return market.contracts.sign(person(market, "analyst"), made.id, made.sha256)


def test_an_exit_ends_access_at_once_and_waits_for_the_certificate(market: Services) -> None:
    market.releases.reserve(ask("before"))
    ended = leave_seeded(market, FIRM)
    assert code_of(market.releases.reserve, ask("after")) == "CONTRACT_REFUSED"
    assert market.gate.granted(market.database, FIRM) == {}
    market.releases.reserve(ask("other", tenant=BANK))
    operator = person(market, "operator")
    analyst = person(market, "analyst")
    assert code_of(market.contracts.certify, analyst, ended.id, "a" * 64) == "ROLE_REFUSED"
    assert market.contracts.certify(operator, ended.id, "a" * 64).state is State.DESTROYED
    assert code_of(market.contracts.certify, operator, ended.id, "a" * 64) == "WRONG_STATE"


def test_a_contract_is_in_force_when_every_party_signed_the_same_text(market: Services) -> None:
    leave_seeded(market, FIRM)
    operator, analyst = person(market, "operator"), person(market, "analyst")
    bank = person(market, "bank-risk")
    draft = market.contracts.draft(operator, terms())
    assert code_of(market.contracts.draft, analyst, terms()) == "ROLE_REFUSED"
    assert code_of(market.contracts.sign, operator, draft.id, "0" * 64) == "TEXT_CHANGED"
    assert code_of(market.contracts.sign, bank, draft.id, draft.sha256) == "NOT_FOUND"
    assert market.contracts.sign(operator, draft.id, draft.sha256).state is State.DRAFT
    assert code_of(market.contracts.sign, operator, draft.id, draft.sha256) == "ALREADY_DECIDED"
    assert code_of(market.releases.reserve, ask("early")) == "CONTRACT_REFUSED"
    assert market.contracts.sign(analyst, draft.id, draft.sha256).state is State.ACTIVE
    market.releases.reserve(ask("now"))


def test_count_and_budget_of_a_contract_bind_and_a_refund_gives_them_back(
    market: Services,
) -> None:
    leave_seeded(market, FIRM)
    signed(market, terms())
    market.releases.reserve(ask("one"))
    market.releases.reserve(ask("one"))
    two = market.releases.reserve(ask("two"))
    assert code_of(market.releases.reserve, ask("three")) == "CONTRACT_USED_UP"
    market.releases.reserve(ask("two"))
    again = market.releases.reserve(ask("two"))
    assert again.id == two.id
    assert code_of(market.releases.nothing_read, two.id, again.fencing_token, "x")
    held = next(c for c in market.contracts.visible(person(market, "analyst")) if c.calls_used)
    assert (held.calls_used, held.micro_rho_used) == (2, 2 * COST)


def test_a_refund_gives_the_contract_its_question_back(market: Services) -> None:
    leave_seeded(market, FIRM)
    signed(market, terms(calls=1))
    held = market.releases.reserve(ask("one"))
    assert code_of(market.releases.reserve, ask("two")) == "CONTRACT_USED_UP"
    market.releases.nothing_read(held.id, held.fencing_token, "cancelled")
    market.releases.reserve(ask("two"))


def test_a_contracts_budget_is_less_than_an_answers_price(market: Services) -> None:
    leave_seeded(market, FIRM)
    signed(market, terms(micro_rho=COST, calls=9))
    market.releases.reserve(ask("one"))
    assert code_of(market.releases.reserve, ask("two", item("two"))) == "CONTRACT_USED_UP"


def test_the_fields_that_a_contract_names_are_all_that_it_opens(market: Services) -> None:
    leave_seeded(market, FIRM)
    signed(market, terms(resources={"tax_summary": ("declared_revenue",)}, calls=9))
    within, beyond = {"tax_summary": ("declared_revenue",)}, {"tax_summary": ("tax_paid",)}
    assert code_of(market.releases.reserve, replace(ask("a"), fields=beyond)) == "FIELD_REFUSED"
    assert code_of(market.releases.reserve, ask("no word of fields")) == "FIELD_REFUSED"
    market.releases.reserve(replace(ask("b"), fields=within))
    leave_seeded(market, FIRM)
    signed(market, terms(resources={"*": ("declared_revenue",)}, calls=9))
    assert code_of(market.releases.reserve, replace(ask("c"), fields=beyond)) == "FIELD_REFUSED"


def test_a_tenant_takes_every_stage_in_order(market: Services) -> None:
    reviewer, stages = person(market, "bureau-reviewer"), list(Stage)
    analyst = person(market, "analyst")
    assert code_of(market.contracts.advance, analyst, "newcomer", stages[0]) == "ROLE_REFUSED"
    assert code_of(market.contracts.advance, reviewer, "newcomer", stages[1]) == "WRONG_STATE"
    for stage in stages:
        standing = market.contracts.advance(reviewer, "newcomer", stage)
        assert standing.stage is stage
        assert all(seconds > 0 for seconds in standing.seconds.values())
    assert code_of(market.contracts.advance, reviewer, "newcomer", stages[-1]) == "WRONG_STATE"
    assert {s.tenant for s in market.contracts.funnel(reviewer)} == {"newcomer", FIRM, BANK}
    assert {s.tenant for s in market.contracts.funnel(analyst)} == {FIRM}


def test_terms_under_which_nothing_could_happen_are_refused() -> None:
    for other in (
        {"parties": (FIRM,)},
        {"parties": ("operator", BANK)},
        {"purposes": ()},
        {"resources": {}},
        {"calls": 0},
        {"micro_rho": 0},
        {"ends": 5},
    ):
        with pytest.raises(ValueError, match=r"contract|positive|tenant"):
            terms(**other)
    kept = Contract("c", terms(), State.DRAFT)
    assert model.from_text(kept.text()) == ("c", terms())


def test_notices_leave_by_mail_once_and_wait_while_the_server_is_away(
    market: Services, settings: Settings
) -> None:
    path = settings.home / "identity.json"
    data = json.loads(path.read_text())
    for user in data["users"]:
        if user["name"] != "security-admin":
            user["email"] = f"{user['name']}@lab.test"
    path.write_text(json.dumps(data))
    market.access.grants.stop(person(market, "operator"), "lab", "", "a drill")
    port = free_port()
    mail = MailSettings("127.0.0.1", port, "lab@lab.test", starttls=False)
    mailer = Mailer(market.database, mail, market.directory.address, Clock())
    assert mailer.deliver() == 0

    received = []

    class Keep(Message):
        def handle_message(self, message: object) -> None:
            received.append(message)

    server = Controller(Keep(), hostname="127.0.0.1", port=port)
    server.start()
    try:
        assert mailer.deliver() == 1
        assert mailer.deliver() == 0
    finally:
        server.stop()
    assert [m["To"] for m in received] == ["bureau-approver@lab.test"]
    assert "紧急停止" in received[0].get_payload(decode=True).decode()
    assert market.access.inbox.notices(person(market, "security-admin"))


def with_addresses(settings: Settings, **addresses: str) -> None:
    path = settings.home / "identity.json"
    data = json.loads(path.read_text())
    for user in data["users"]:
        if user["name"] in addresses:
            user["email"] = addresses[user["name"]]
    path.write_text(json.dumps(data))


@pytest.mark.parametrize("bad", ["nobody@refused.test", "no address\n", "\u5f20@lab.test"])
def test_an_address_that_takes_no_mail_holds_nobody_elses_up(
    market: Services, settings: Settings, bad: str
) -> None:
    people = {"bureau-approver": bad, "security-admin": "security-admin@lab.test"}
    with_addresses(settings, **people)
    market.access.grants.stop(person(market, "operator"), "lab", "", "a drill")
    received = []

    class Keep(Message):
        async def handle_RCPT(  # noqa: N802  # the library's name
            self, _server: object, _session: object, envelope: Any, address: str, _options: object
        ) -> str:
            if address.endswith("refused.test"):
                return "550 no such user"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        def handle_message(self, message: object) -> None:
            received.append(message)

    port = free_port()
    mail = MailSettings("127.0.0.1", port, "lab@lab.test", starttls=False)
    mailer = Mailer(market.database, mail, market.directory.address, Clock())
    server = Controller(Keep(), hostname="127.0.0.1", port=port, enable_SMTPUTF8=False)
    server.start()
    try:
        assert mailer.deliver() == 1
        assert mailer.deliver() == 0
    finally:
        server.stop()
    assert [m["To"] for m in received] == ["security-admin@lab.test"]


def test_a_mail_server_that_nobody_vouches_for_gets_neither_password_nor_mail(
    market: Services, settings: Settings, tmp_path: Path
) -> None:
    """Whoever answers between lab and server shows a certificate of its own making."""
    with_addresses(settings, **{"security-admin": "security-admin@lab.test"})
    market.access.grants.stop(person(market, "operator"), "lab", "", "a drill")
    received = []

    class Keep(Message):
        def handle_message(self, message: object) -> None:
            received.append(message)

    port = free_port()
    mail = MailSettings("127.0.0.1", port, "lab@lab.test")
    mailer = Mailer(market.database, mail, market.directory.address, Clock())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*own_certificate(tmp_path))
    server = Controller(Keep(), hostname="127.0.0.1", port=port, tls_context=tls)
    server.start()
    try:
        assert mailer.deliver() == 0
    finally:
        server.stop()
    assert received == []


def own_certificate(folder: Path) -> tuple[Path, Path]:
    """Return a certificate for 127.0.0.1 that only its own key signed, and the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )
    certificate, secret = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, secret


def test_holders_are_told_once_that_a_grant_ends(market: Services) -> None:
    clock = market.access.requests._desk.clock
    assert market.access.grants.warn() == 0
    clock.now += timedelta(days=360)
    assert (market.access.grants.warn(), market.access.grants.warn()) == (2, 0)
    told = market.access.inbox.notices(person(market, "analyst"))
    assert [n.event for n in told] == ["grant:ending"]


def test_a_draft_lists_just_the_decisions_that_it_would_flip(
    market: Services, settings: Settings, tmp_path: Path
) -> None:
    market.releases.reserve(ask("one", purpose="market-research"))
    code_of(market.releases.reserve, ask("two", purpose="curiosity"))
    code_of(market.releases.reserve, ask("three", epsilon="2"))
    assert replay(market.database, PolicyBook.load(CEDAR), "1970").flips == ()

    with market.database.reading() as connection:
        for kept in decisions.since(connection, "1970"):
            then = decisions.book_of(connection, kept.version)
            assert then is not None
            assert then.decide(kept.inputs).policy == kept.policy

    draft = tmp_path / "draft"
    shutil.copytree(CEDAR, draft)
    ask_file = draft / "10-ask.cedar"
    text = ask_file.read_text()
    head = "context.epsilonMicro > context.grant.epsilonMaxMicro"
    assert head in text
    looser = text.replace(head, "context.epsilonMicro > 5000000")
    looser = looser.replace("resource.gradeRank > 4 }", 'context.purpose == "market-research" }')
    ask_file.write_text(looser)
    command = [sys.executable, "-m", "marketplace.policy", "replay", "--draft", str(draft)]
    around = {**os.environ, **environment(settings.home)}
    done = subprocess.run(
        [*command, "--home", str(settings.home), "--since", "2026-11-01"],
        capture_output=True,
        text=True,
        check=False,
        env=around,
    )
    assert done.returncode == 3, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].endswith("3 decisions since 2026-11-01T00:00:00.000+00:00, 1 would flip")
    assert "allow (granted-questions) -> GRADE_PATH (important-data-stays-out)" in lines[0]
    later = subprocess.run(
        [*command, "--home", str(settings.home), "--since", "2027-01-01"],
        capture_output=True,
        text=True,
        check=False,
        env=around,
    )
    assert (later.returncode, later.stdout[:2]) == (0, "0 ")
