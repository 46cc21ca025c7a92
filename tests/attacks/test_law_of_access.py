"""What no approval can give: data of others, data that law closes, data that nobody graded.

Each case is tried under the sample policies, and again under policies that somebody emptied of the
very rule: the law is not the bureau's to edit.
"""

import copy
import datetime as dt
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from marketplace.access.model import AccessRequest, State, Terms, Verdict
from marketplace.audit import store as log
from marketplace.catalogue.states import Actor
from marketplace.errors import MarketplaceError
from marketplace.grading.model import Degree, Impact, ImpactObject, Lane
from marketplace.services import Services
from marketplace.settings import CEDAR, POLICIES, Settings
from tests.support.catalogue import item, resource
from tests.support.marketplace import ask, make_home, parts

TABLE, CODE = "tax_summary", "302001/000001"
RULES = {
    "AUTHORITY_LEVEL": ("return-flow",),
    "NEGATIVE_LIST": ("request-negative-list",),
    "GRADE_PATH": ("request-grade", "request-ungraded", "request-lane"),
}
"""The sample policies that refuse first, by the code of the refusal."""
BODIES = yaml.safe_load((POLICIES / "bodies.yaml").read_text(encoding="utf-8"))
LIST = yaml.safe_load((POLICIES / "negative_list.yaml").read_text(encoding="utf-8"))
TAX = Actor("tax-provider", "tax-department")
BUREAU = Actor("bureau-approver", "bureau")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_home(tmp_path / "home")


def put(settings: Settings, name: str, document: Any) -> None:
    text = yaml.safe_dump(document, allow_unicode=True)
    (settings.home / name).write_text(text, encoding="utf-8")


def bodies(settings: Settings, **flow: Any) -> None:
    """Give the tax department another basis for its return flow; without one, none at all."""
    changed = copy.deepcopy(BODIES)
    tax = next(b for b in changed["bodies"] if b["id"] == "tax-department")
    tax["return_flows"] = [{**tax["return_flows"][0], **flow}] if flow else []
    put(settings, "bodies.yaml", changed)


def closed(settings: Settings, **changed: Any) -> None:
    """Close a resource, or a field, of the tax department by law."""
    entry = {**LIST["entries"][1], "scope": ["operate"], "resource_code": CODE, **changed}
    put(settings, "negative_list.yaml", {**LIST, "entries": [entry]})


def without(settings: Settings, *rules: str) -> None:
    """Put policies in force from which somebody took some rules."""
    (settings.home / "cedar").mkdir()
    for file in CEDAR.iterdir():
        text = file.read_text(encoding="utf-8")
        for rule in rules:
            text = re.sub(rf'@id\("{rule}"\).*?;\n', "", text, flags=re.DOTALL)
        (settings.home / "cedar" / file.name).write_text(text, encoding="utf-8")


@contextmanager
def market(settings: Settings, edited: tuple[str, ...]) -> Iterator[Services]:
    if edited:
        without(settings, *edited)
    with parts(settings) as services:
        yield services


def reviewed(
    services: Services, *fields: str, table: str = TABLE, lanes: tuple[str, ...] = ("dp",)
) -> AccessRequest:
    """Return a request that its provider agreed to."""
    people = {p.user: p for p in services.directory.people()}
    terms = Terms(
        table, ("market-research",), lanes, fields, 500_000, 1_000_000, 30, "to see what law says"
    )
    request = services.access.requests.submit(people["analyst"], terms)
    return services.access.requests.review(
        people["tax-provider"], request.id, Verdict.AGREE, request.sha256, ""
    )


def approve(services: Services, request: AccessRequest, user: str = "bureau-approver") -> State:
    person = next(p for p in services.directory.people() if p.user == user)
    found = services.access.requests.approve(
        person, request.id, Verdict.AGREE, request.sha256, "we like it"
    )
    return found.state


def refused(services: Services, request: AccessRequest) -> MarketplaceError:
    before = len(services.access.grants.visible(services.directory.people()[0]))
    with pytest.raises(MarketplaceError) as caught:
        approve(services, request)
    assert caught.value.en
    assert caught.value.zh
    people = {p.user: p for p in services.directory.people()}
    kept, _ = services.access.inbox.request(people["analyst"], request.id)
    assert (kept.request.state, kept.request.approvals) == (State.APPROVAL, ())
    assert len(services.access.grants.visible(services.directory.people()[0])) == before
    return caught.value


@pytest.mark.parametrize("edited", [False, True], ids=["sample policies", "without the rule"])
@pytest.mark.parametrize(
    "flow",
    [
        {},
        {"issued_by_level": "province"},
        {"issued_by_level": "city"},
        {"resources": ["302002/000001"]},
        {"scope": ["share", "open"]},
        {"valid_until": dt.date(2026, 10, 31)},
    ],
    ids=["none", "of a province", "of the city", "of another resource", "to share", "ended"],
)
def test_a_city_alone_approves_no_data_of_a_nationally_run_body(
    settings: Settings, flow: dict[str, Any], *, edited: bool
) -> None:
    bodies(settings, **flow)
    with market(settings, RULES["AUTHORITY_LEVEL"] if edited else ()) as services:
        found = refused(services, reviewed(services))
    assert found.code == "AUTHORITY_LEVEL"
    assert "run at national level" in found.en
    assert "垂直管理" in found.zh


def test_with_its_return_flow_basis_the_same_request_is_approved(settings: Settings) -> None:
    with market(settings, ()) as services:
        request = reviewed(services)
        assert approve(services, request) is State.APPROVAL
        assert approve(services, request, "operator") is State.GRANTED


@pytest.mark.parametrize("edited", [False, True], ids=["sample policies", "without the rule"])
def test_data_of_a_body_that_nobody_registered_is_nobodys_to_approve(
    settings: Settings, *, edited: bool
) -> None:
    left = [b for b in BODIES["bodies"] if b["id"] != "tax-department"]
    put(settings, "bodies.yaml", {"bodies": left})
    with market(settings, RULES["AUTHORITY_LEVEL"] if edited else ()) as services:
        found = refused(services, reviewed(services))
    assert (found.code, "register" in found.en) == ("AUTHORITY_LEVEL", True)


@pytest.mark.parametrize("edited", [False, True], ids=["sample policies", "without the rule"])
@pytest.mark.parametrize(
    ("entry", "fields", "stopped"),
    [
        ({"field": ""}, (), True),
        ({"field": ""}, ("vat_paid",), True),
        ({"field": "vat_paid"}, (), True),
        ({"field": "vat_paid"}, ("uscc", "vat_paid"), True),
        ({"field": "vat_paid"}, ("uscc", "tax_period"), False),
        ({"field": "", "audience_excepted": ["demo-enterprise"]}, (), False),
        ({"field": "", "audience_excepted": ["demo-bank"]}, (), True),
        ({"field": "", "scope": ["open"]}, (), False),
        ({"field": "", "resource_code": "302002/000001"}, (), False),
        ({"field": "", "valid_until": dt.date(2026, 10, 31)}, (), False),
    ],
    ids=str,
)
def test_what_law_closes_is_not_approved(
    settings: Settings,
    entry: dict[str, Any],
    fields: tuple[str, ...],
    *,
    stopped: bool,
    edited: bool,
) -> None:
    rules = ("request-negative-list",) if edited else ()
    with market(settings, ()) as services:
        request = reviewed(services, *fields)
    closed(settings, **entry)  # after the provider agreed: what counts is the day of the approval
    with market(settings, rules) as services:
        if not stopped:
            assert approve(services, request) is State.APPROVAL
            return
        found = refused(services, request)
    assert found.code == "NEGATIVE_LIST"


def test_an_entry_closes_what_was_granted_before_and_opens_it_when_it_ends(
    settings: Settings,
) -> None:
    with market(settings, ()) as services:
        services.releases.reserve(ask("before"))
    closed(settings, field="")
    with market(settings, ()) as services:
        with pytest.raises(MarketplaceError) as caught:
            services.releases.reserve(ask("during"))
        assert caught.value.code == "NEGATIVE_LIST"
    (settings.home / "negative_list.yaml").unlink()
    with market(settings, ()) as services:
        services.releases.reserve(ask("after"))


def described(services: Services, *items: Any, lanes: tuple[Lane, ...] = (Lane.DP,)) -> str:
    """Publish what the provider says of its table; return the resource's id."""
    said = resource(code="302001/900001", table_name=TABLE, items=items, lanes=lanes)
    page = services.catalogue.create(TAX, said)
    id_, digest = page.version.resource, page.version.digest
    services.catalogue.submit(TAX, id_, 1, digest)
    services.catalogue.review(BUREAU, id_, 1, digest, approve=True)
    services.catalogue.publish(TAX, id_, 1, digest)
    return id_


@pytest.mark.parametrize("edited", [False, True], ids=["sample policies", "without the rule"])
def test_a_table_with_a_field_that_nobody_graded_is_closed(
    settings: Settings, *, edited: bool
) -> None:
    with market(settings, RULES["GRADE_PATH"] if edited else ()) as services:
        request = reviewed(services)
        described(services, item("uscc", "none"), item("new_field", None))
        found = refused(services, request)
        assert found.code == "GRADE_PATH"
        with pytest.raises(MarketplaceError) as caught:
            services.releases.reserve(ask("asked"))
        assert caught.value.code == "GRADE_PATH"


def test_a_field_that_no_contract_names_is_ungraded(settings: Settings) -> None:
    with market(settings, ()) as services:
        assert refused(services, reviewed(services, "uscc", "wages")).code == "GRADE_PATH"


def test_what_a_provider_publishes_makes_its_table_stricter_and_never_looser(
    settings: Settings,
) -> None:
    extreme = Impact(ImpactObject.ORGANISATION, Degree.EXTREME)
    lower = item("vat_paid", "none")
    higher = replace(lower, impacts=(extreme,))
    with market(settings, ()) as services:
        facts = services.gate.facts
        with services.database.reading() as connection:
            assert facts(TABLE, connection).grade == "G3"  # type: ignore[union-attr]
        id_ = described(services, lower)
        with services.database.reading() as connection:
            assert facts(TABLE, connection).grade == "G3"  # type: ignore[union-attr]
        services.releases.reserve(ask("as before"))
        page = services.catalogue.revise(
            TAX, id_, resource(code="302001/900001", table_name=TABLE, items=(higher,))
        )
        services.catalogue.submit(TAX, id_, 2, page.version.digest)
        services.catalogue.review(BUREAU, id_, 2, page.version.digest, approve=True)
        services.catalogue.publish(TAX, id_, 2, page.version.digest)
        with services.database.reading() as connection:
            assert facts(TABLE, connection).grade == "G4"  # type: ignore[union-attr]
        with pytest.raises(MarketplaceError) as caught:
            services.releases.reserve(ask("after"))
        assert caught.value.code == "GRADE_PATH"


def test_an_approval_is_judged_in_every_lane_of_its_request(settings: Settings) -> None:
    """Else a lane named second would be granted after its provider had closed it."""
    with market(settings, ()) as services:
        request = reviewed(services, lanes=("dp", "compute_only_he"))
        described(services, item("vat_paid", "none"))
        assert refused(services, request).code == "TYPE_REFUSED"


def test_nobody_describes_the_table_of_another_organisation(settings: Settings) -> None:
    """Else anybody could close, or seem to grade, what is not theirs."""
    hr = Actor("hr-provider", "hr-department")
    with market(settings, ()) as services, pytest.raises(MarketplaceError) as caught:
        services.catalogue.create(hr, resource(provider="hr-department", table_name=TABLE))
    assert caught.value.code == "FORBIDDEN"


def test_every_refusal_by_law_is_an_entry(settings: Settings) -> None:
    bodies(settings)
    with market(settings, ()) as services:
        request = reviewed(services)
        before = services.log.head.checkpoint.size
        refused(services, request)
        head = services.log.head.checkpoint.size
        assert head == before + 1
        told = [json.loads(e) for e in entries(services, before)]
    assert [(e["event"], e["facts"]["code"]) for e in told] == [("access:deny", "AUTHORITY_LEVEL")]


def entries(services: Services, start: int) -> list[bytes]:
    with services.database.reading() as connection:
        return log.entries_from(connection, start, 10)
