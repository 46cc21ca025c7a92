"""Browsers at the portal for tests, and a lab in which every list holds something."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from marketplace.access.model import AccessRequest, Terms, Verdict
from marketplace.app import assemble, build
from marketplace.audit import store as log
from marketplace.audit.entry import Event
from marketplace.catalogue.model import Resource
from marketplace.catalogue.synthetic import generate
from marketplace.contracts.model import Stage
from marketplace.contracts.model import Terms as Agreed
from marketplace.demand.model import Step, Wanted
from marketplace.identity.model import SEEDED, Person
from marketplace.services import Services
from marketplace.settings import Settings
from tests.support.catalogue import BUREAU, TAX, item, resource
from tests.support.marketplace import Clock, ask, made, make_home, token
from tests.support.serving import serving

PEOPLE = {name: Person(name, organisation, roles, "en") for name, organisation, roles in SEEDED}
HOSTILE = "<img src=x onerror=alert(1)>"
"""A text that must stay a text."""
VALUE = "91370302MAYY000180"
"""Stands in an answer of these tests, and so on no page.

Unlike the codes whose erasure is searched for in all files of a database server that tests share.
"""
YEAR = 365 * 86_400


@contextmanager
def visit(url: str, settings: Settings, user: str, language: str = "en") -> Iterator[httpx.Client]:
    """Return the browser of a user who has signed in and reads a language."""
    with httpx.Client(base_url=url, headers={"accept-language": language}) as client:
        done = client.post("/sign-in", data={"token": token(settings, user)})
        assert done.status_code == 303
        page = client.get("/")
        if f'<html lang="{language}' not in page.text:
            client.post("/language", data={"csrf": csrf(page)})
        yield client


def csrf(page: httpx.Response) -> str:
    """Return the secret in the forms of a page."""
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


def send(client: httpx.Client, path: str, **fields: str) -> httpx.Response:
    """Send a form as a page of the own browser does."""
    secret = csrf(client.get("/"))
    return client.post(path, data={"csrf": secret, **fields})


def forged(client: httpx.Client, path: str, **fields: str) -> list[int]:
    """Return what becomes of forms without a secret, with a wrong one, and from another site."""
    secret = csrf(client.get("/"))
    strange = {"sec-fetch-site": "cross-site"}
    return [
        client.post(path, data=fields).status_code,
        client.post(path, data={**fields, "csrf": "guess"}).status_code,
        client.post(path, data={**fields, "csrf": secret}, headers=strange).status_code,
    ]


def sound(page: httpx.Response) -> str:
    """Return the text of a page after checking what holds for every page."""
    assert page.status_code == 200, page.text
    text = page.text
    assert text.count("<h1>") == 1
    assert HOSTILE not in text
    assert VALUE not in text
    assert re.findall(r"<script(?![^>]* src=)|\son\w+=\"|\sstyle=|javascript:", text) == []
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids)), "ids are unique"
    for name in re.findall(r'<(?:input|select|textarea)[^>]* id="([^"]+)"', text):
        assert f'for="{name}"' in text, f"{name} has a label"
    return text


def terms(table: str = "social_insurance", **changed: object) -> Terms:
    """Return what a request asks for."""
    whole = Terms(table, ("market-research",), ("dp",), (), 500_000, 1_000_000, 30, "Employment.")
    return replace(whole, **changed)  # type: ignore[arg-type]


def requested(market: Services, **changed: object) -> AccessRequest:
    """Return a request of the analyst's that waits for its provider."""
    return market.access.requests.submit(PEOPLE["analyst"], terms(**changed))  # type: ignore[arg-type]


def reviewed(market: Services, **changed: object) -> AccessRequest:
    """Return a request that its provider has agreed to."""
    found = requested(market, **changed)
    judge = PEOPLE["hr-provider"]
    return market.access.requests.review(judge, found.id, Verdict.AGREE, found.sha256, HOSTILE)


def published(market: Services, **changed: object) -> str:
    """Return the id of a resource that the tax department has published."""
    fields = (item("uscc", "none"), item("paid", "serious"))
    one: Resource = resource(**{"items": fields, **changed})
    page = market.catalogue.create(TAX, one)
    id_, digest = page.version.resource, page.version.digest
    market.catalogue.submit(TAX, id_, 1, digest)
    market.catalogue.review(BUREAU, id_, 1, digest, approve=True)
    market.catalogue.publish(TAX, id_, 1, digest)
    return id_


def submitted(market: Services, **changed: object) -> str:
    """Return the id of a resource that waits for examination."""
    one = resource(**{"code": "302009/000002", **changed})
    page = market.catalogue.create(TAX, one)
    market.catalogue.submit(TAX, page.version.resource, 1, page.version.digest)
    return page.version.resource


def demanded(market: Services, title: str = "企业用电数据", **changed: str) -> str:
    """Return the id of a demand of the analyst's."""
    wanted = Wanted(title, "Lending to small firms.", "market-research", "dp", **changed)
    return market.demands.submit(PEOPLE["analyst"], wanted)[0].demand.id


def agreed(market: Services, starts: int = 0) -> str:
    """Return the id of a contract that waits for signatures."""
    parties = ("demo-enterprise", "bureau")
    agreement = Agreed(
        *("demo-enterprise", parties, ("market-research",), {"*": ("*",)}, ("dp",)),
        *(1_000, 50, starts, starts + YEAR),
    )
    return market.contracts.draft(PEOPLE["operator"], agreement).id


def answered(market: Services) -> None:
    """Let the analyst have an answer that holds `VALUE`."""
    held = market.releases.reserve(ask("one"))
    one = made(ask("one").items[0], VALUE.encode())
    market.releases.record(held.id, held.fencing_token, (one,), {"tax_summary": "v1"})


def filled(market: Services, resources: int = 60) -> dict[str, str]:
    """Put something into every list; return the ids of one of each."""
    market.catalogue.load(generate(market.publishing.classes, resources, 1))
    answered(market)
    first = requested(market, reason=HOSTILE)
    second = reviewed(market, days=60)
    id_ = published(market, title_zh=f"车船税 {HOSTILE}", title_en=f"Vessel tax {HOSTILE}")
    market.publishing.regradings.report(
        PEOPLE["tax-provider"], id_, "paid", "k_anonymous", {"k": 12, "l": 3}, HOSTILE
    )
    waiting = submitted(market, title_en=f"Second {HOSTILE}")
    demand = demanded(market, f"用电 {HOSTILE}")
    other = demanded(market, "公积金缴存")
    bureau = PEOPLE["bureau-reviewer"]
    market.demands.take(bureau, demand, Step.DISPATCH, provider="tax-department")
    contract = agreed(market)
    for stage in (Stage.CONTACTED, Stage.QUALIFIED):
        market.contracts.advance(PEOPLE["operator"], "demo-credit-agency", stage)
    stop = market.access.grants.stop(PEOPLE["security-admin"], "tenant", "demo-firm", HOSTILE)
    return {
        "request": first.id,
        "reviewed": second.id,
        "resource": id_,
        "submitted": waiting,
        "demand": demand,
        "other": other,
        "contract": contract,
        "stop": stop.id,
    }


@dataclass(frozen=True, slots=True)
class Lab:
    """A served marketplace, its parts, and what opens it."""

    url: str
    settings: Settings
    market: Services
    clock: Clock

    @contextmanager
    def visit(self, user: str, language: str = "en") -> Iterator[httpx.Client]:
        """Return the browser of a user."""
        with visit(self.url, self.settings, user, language) as client:
            yield client

    def entries(self) -> int:
        """Return how many entries the log has."""
        with self.market.database.reading() as connection:
            return log.size(connection)

    def events(self, event: Event) -> int:
        """Return how many entries are of one kind."""
        with self.market.database.reading() as connection:
            read = log.entries_from(connection, 0, log.size(connection))
        return sum(json.loads(data)["event"] == event.value for data in read)


@contextmanager
def opened(home: Path) -> Iterator[Lab]:
    """Return a lab over a new home; its pages and services share one clock."""
    settings, clock = make_home(home), Clock(home)
    market = assemble(settings, clock=clock)
    try:
        with serving(build(market, clock)) as url:
            yield Lab(url, settings, market, clock)
    finally:
        market.database.close()
