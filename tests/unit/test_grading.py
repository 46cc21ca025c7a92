"""Grades, what changes them, whose data it is, and what law keeps closed."""

import copy
import dataclasses
import datetime as dt
import json
from pathlib import Path

import pytest
import yaml

from marketplace.grading import negative_list
from marketplace.grading.authority import AuthorityLevel, gap
from marketplace.grading.model import (
    Degree,
    Direction,
    Impact,
    ImpactObject,
    Lane,
    Level,
    change_of,
    grade_of,
    lanes_of,
    needs_consent,
    table_level,
)
from marketplace.grading.negative_list import Scope
from marketplace.grading.policy import (
    load_bodies,
    load_grading,
    load_negative_list,
    parse_grading,
)

ROOT = Path(__file__).resolve().parents[2]
POLICIES = ROOT / "policies"
GOLDEN = json.loads((ROOT / "tests" / "golden" / "grading.json").read_text())
POLICY = load_grading(POLICIES / "grading.yaml")
LIST = load_negative_list(POLICIES / "negative_list.yaml")
BODIES = load_bodies(POLICIES / "bodies.yaml")
TODAY = dt.date(2026, 11, 23)


@pytest.mark.parametrize(("impacts", "level"), GOLDEN["impacts"])
def test_the_matrix_gives_the_level_worked_by_hand(impacts, level):
    found = grade_of(POLICY.matrix, [Impact(ImpactObject(o), Degree(d)) for o, d in impacts])

    assert found == (level and Level(level))


@pytest.mark.parametrize(
    ("event", "before", "facts", "earlier", "after", "direction"), GOLDEN["changes"]
)
def test_an_event_changes_a_grade_as_worked_by_hand(
    event, before, facts, earlier, after, direction
):
    change = change_of(POLICY.rules[event], Level(before), facts, earlier and Level(earlier))

    assert (change.after, change.direction) == (Level(after), Direction(direction))
    assert change.needs_person == (direction == "downgrade")


def test_one_ungraded_field_leaves_the_table_ungraded_and_closed():
    assert table_level([Level.G1, Level.G3]) is Level.G3
    assert table_level([Level.G1, None]) is None
    assert table_level([]) is None
    assert lanes_of(POLICY, None) == frozenset()
    assert needs_consent(POLICY, None, Lane.DP)


@pytest.mark.parametrize("level", [Level.IMPORTANT, Level.CORE])
def test_important_and_core_data_have_no_lane(level):
    assert lanes_of(POLICY, level) == frozenset()


def test_a_stricter_grade_never_opens_a_lane_except_with_consent():
    for lower, higher in zip(Level, list(Level)[1:], strict=False):
        opened = lanes_of(POLICY, higher) - lanes_of(POLICY, lower)
        assert all(needs_consent(POLICY, higher, lane) for lane in opened)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("matrix", "economy", "serious"), "G4", "never looser"),
        (("matrix", "national_security", "general"), "G4", "never looser"),
        (("matrix", "individual", "serious"), "G1", "a worse degree"),
        (("matrix", "individual"), {"none": "G1"}, "is missing"),
        (("not_admitted",), ["CORE"], "no lab may hold"),
        (("regrading", "k_anonymous"), {"steps": -1, "basis": "x"}, "without any condition"),
        (("regrading", "k_anonymous"), {"steps": -1, "to": "G1", "basis": "x"}, "either steps"),
        (("regrading", "many_people", "basis"), "", "no basis"),
        (("regrading", "many_people", "unless"), "x", "unknown entries"),
        (("lanes", "G3"), ["download_everything"], "download_everything"),
    ],
)
def test_a_grading_file_that_says_too_little_or_is_too_loose_is_refused(path, value, says):
    document = copy.deepcopy(yaml.safe_load((POLICIES / "grading.yaml").read_text()))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value

    with pytest.raises(ValueError, match=says):
        parse_grading(document)


def blocked(code="301001/000001", field="legal_rep_id_token", **changed):
    asked = {"scope": Scope.OPERATE, "audience": "demo-enterprise", "today": TODAY, **changed}
    return negative_list.blocks(LIST.entries, code, field, **asked)


def test_an_entry_closes_its_field_and_the_whole_that_contains_it_on_its_channels():
    assert blocked().entry_id == "NL-SAMPLE-001"
    assert blocked(field="").entry_id == "NL-SAMPLE-001"
    assert blocked(field="ent_name") is None
    assert blocked(code="302001/000001", field="tax_arrears_amt") is None
    assert blocked("302001/000001", "tax_arrears_amt", scope=Scope.OPEN) is not None


@pytest.mark.parametrize(
    ("day", "closed", "told"),
    [
        ("2026-10-14", False, False),
        ("2026-10-15", True, False),
        ("2027-08-14", True, False),
        ("2027-08-15", True, True),
        ("2027-10-14", True, True),
        ("2027-10-15", False, True),
    ],
)
def test_an_entry_holds_to_its_last_day_and_its_end_is_never_silent(day, closed, told):
    today = dt.date.fromisoformat(day)
    ending = {a.entry.entry_id: a for a in negative_list.alerts(LIST, today)}

    assert (blocked(today=today) is not None) == closed
    assert ("NL-SAMPLE-001" in ending) == told
    if told:
        assert ending["NL-SAMPLE-001"].lapsed == (not closed)
        assert (ending["NL-SAMPLE-001"].days < 1) == (not closed)


def test_an_excepted_organisation_is_not_blocked():
    entry = dataclasses.replace(LIST.entries[0], audience_excepted=frozenset({"court"}))

    assert (
        negative_list.blocks([entry], entry.resource_code, "", Scope.SHARE, "court", TODAY) is None
    )
    assert negative_list.blocks([entry], entry.resource_code, "", Scope.SHARE, "ip-office", TODAY)


@pytest.mark.parametrize(
    "change",
    [
        {"approving_body": "示例市场监管部门"},
        {"approval_no": ""},
        {"scope": frozenset()},
        {"valid_until": dt.date(2026, 10, 1)},
        {"approved_at": dt.date(2026, 12, 1)},
    ],
)
def test_an_entry_without_the_bureaus_approval_or_validity_cannot_exist(change):
    with pytest.raises(ValueError, match="negative list NL-SAMPLE-001"):
        dataclasses.replace(LIST.entries[0], **change)


def test_a_departments_own_rule_is_no_legal_basis(tmp_path):
    text = (POLICIES / "negative_list.yaml").read_text().replace("kind: law", "kind: dept-rule", 1)
    (tmp_path / "n.yaml").write_text(text)

    with pytest.raises(ValueError, match="dept-rule"):
        load_negative_list(tmp_path / "n.yaml")


@pytest.mark.parametrize("body", ["customs", "grid-company"])
def test_the_city_alone_cannot_approve_data_of_a_nationally_run_body(body):
    found = gap(BODIES[body], "302001/000001", Scope.OPERATE, TODAY)

    assert found is not None
    assert found.needed is AuthorityLevel.NATIONAL
    assert found.en
    assert found.zh


def test_a_return_flow_opens_only_its_channels_resources_and_days():
    tax, code = BODIES["tax-department"], "302001/000001"

    assert gap(tax, code, Scope.OPERATE, TODAY) is None
    assert gap(tax, code, Scope.OPEN, TODAY) is not None
    assert gap(tax, code, Scope.OPERATE, dt.date(2028, 12, 31)) is None
    assert gap(tax, code, Scope.OPERATE, dt.date(2029, 1, 1)) is not None
    lower = dataclasses.replace(tax.return_flows[0], issued_by_level=AuthorityLevel.PROVINCE)
    assert gap(dataclasses.replace(tax, return_flows=(lower,)), code, Scope.OPERATE, TODAY)
    other = dataclasses.replace(tax.return_flows[0], resources=frozenset({"302001/000002"}))
    assert gap(dataclasses.replace(tax, return_flows=(other,)), code, Scope.OPERATE, TODAY)


def test_an_unknown_body_is_a_gap_and_a_city_body_is_none():
    assert gap(None, "1", Scope.SHARE, TODAY) is not None
    assert gap(BODIES["hr-department"], "1", Scope.OPERATE, TODAY) is None
