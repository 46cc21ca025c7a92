"""Roles, routes and objects: what every caller may do with every operation is written down (H1).

The document lists the operations, so a new route has no place in the table until somebody decides
whom it is for. `LAB_WRITE_GOLDEN=1` writes the table anew; a reviewer reads what changed in it.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from marketplace.identity.model import SEEDED
from tests.support.every_route import (
    ABSENT,
    BODIES,
    CALLERS,
    GATEWAY,
    NOBODY,
    OPEN,
    STRANGER,
    absent,
    bearer,
    objects,
    operations,
    verdict,
)
from tests.support.portal import Lab, opened

PEOPLE = tuple(name for name, _, _ in SEEDED)
OF_THE_GATEWAY = ("/sessions", "/reservations", "/releases/{reservation_id}", "/tenants/", "/lake/")
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "roles.json"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with opened(tmp_path / "home") as found:
        yield found


def test_every_cell_of_roles_routes_and_objects_is_as_written(lab: Lab) -> None:
    present = objects(lab)
    table: dict[str, dict[str, str]] = {}
    with httpx.Client(base_url=lab.url) as client:
        for operation in operations(client):
            given = {"": present}
            if operation.names_an_object:
                given = {" of nothing": absent(present), "": present}
            for kind, ids in given.items():
                table[operation.label + kind] = {
                    caller: verdict(operation.send(client, ids, bearer(lab, caller)))
                    for caller in CALLERS
                }
    if os.environ.get("LAB_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    assert table == json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert len(table) * len(CALLERS) > 1_900


def test_the_table_keeps_the_rules_that_hold_for_all_routes() -> None:
    table = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for label, row in table.items():
        if label.removesuffix(" of nothing").split(" ")[1] in OPEN:
            assert set(row.values()) == {"open"}, label
            continue
        assert row[NOBODY] == "AUTHENTICATION", label
        people = {row[caller] for caller in PEOPLE}
        if label.split(" ")[1].startswith(OF_THE_GATEWAY):
            assert people == {row[STRANGER]} == {"FORBIDDEN"}, label
        else:
            assert row[STRANGER] == row[GATEWAY] == "AUTHENTICATION", label
            assert "AUTHENTICATION" not in people, label


# The lab's objects that a caller may see, whatever it may do with them; () is nobody else.
OVERSEERS = ("regulator", "bureau-reviewer", "bureau-approver", "operator", "audit-admin")
BUREAU = tuple(name for name, organisation, _ in SEEDED if organisation == "bureau")
VISIBLE = {
    "/access/requests/": (*OVERSEERS, "analyst", "hr-provider"),
    "/access/grants/": (*OVERSEERS, "analyst", "tax-provider"),
    "/access/stops/": (*OVERSEERS, "security-admin", "firm-owner"),
    "/budget/proposals/": ("regulator", "bureau-reviewer", "bureau-approver", "audit-admin"),
    "/catalogue/": PEOPLE,  # published
    "/contracts/": (*OVERSEERS, *BUREAU, "analyst"),
    "/demands/": PEOPLE,  # the board
    "/risk/events/": (*OVERSEERS, "security-admin"),
}


def test_a_refusal_tells_nobody_of_an_object_that_one_may_not_see() -> None:
    table = json.loads(GOLDEN.read_text(encoding="utf-8"))
    told = []
    for label, row in table.items():
        nothing = table.get(f"{label} of nothing")
        if nothing is None:
            continue
        path = label.split(" ")[1]
        sees = next((who for kind, who in VISIBLE.items() if path.startswith(kind)), ())
        told += [
            (label, caller, code)
            for caller, code in row.items()
            if code != "open" and code != nothing[caller] and caller not in sees
        ]
    assert told == []


def test_who_may_not_see_an_object_cannot_tell_it_from_none(lab: Lab) -> None:
    present = objects(lab)
    nothing = absent(present)
    compared = 0
    with httpx.Client(base_url=lab.url) as client:
        for operation in operations(client):
            if operation.method != "GET" or not operation.names_an_object:
                continue
            if operation.path.endswith("/file"):  # of a resource that everybody sees
                continue
            for caller in CALLERS:
                headers = bearer(lab, caller)
                there = operation.send(client, present, headers)
                if there.status_code not in (403, 404):
                    continue
                missing = operation.send(client, nothing, headers)
                names = [(v, nothing[k]) for k, v in present.items() if v not in ("0", "1")]
                text = there.text
                for value, other in names:
                    text = text.replace(value, other)
                assert (missing.status_code, missing.text) == (there.status_code, text), (
                    operation.label,
                    caller,
                )
                compared += 1
    assert compared > 50
    assert ABSENT


def test_every_body_of_the_table_belongs_to_a_route(lab: Lab) -> None:
    with httpx.Client(base_url=lab.url) as client:
        known = {o.path for o in operations(client)}
        document = client.get("/api/openapi.json").json()
    assert set(BODIES) <= known
    wanted = {
        path.removeprefix("/api/v1")
        for path, methods in document["paths"].items()
        for found in methods.values()
        if found.get("requestBody", {}).get("required") and not path.endswith("/file")
    }
    assert wanted == set(BODIES)
