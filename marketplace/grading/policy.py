"""Reads the files that decide about grades: the grading policy, the negative list, the bodies.

A file that says less than it must, or is looser than the standard, is refused as a whole.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from marketplace.grading.authority import AuthorityLevel, Bodies, Body, ReturnFlow
from marketplace.grading.model import (
    STANDARD,
    Degree,
    GradingPolicy,
    ImpactObject,
    Lane,
    Level,
    Matrix,
    Rule,
)
from marketplace.grading.negative_list import BasisKind, Entry, LegalBasis, NegativeList, Scope

_RULE_KEYS = frozenset({"steps", "to", "restore", "floor", "holds", "at_least", "basis"})


@dataclass(frozen=True, slots=True)
class Policies:
    """What the bureau's files say."""

    grading: GradingPolicy
    negative_list: NegativeList
    bodies: Bodies


def load_grading(path: Path) -> GradingPolicy:
    """Read `grading.yaml`; ValueError says what is missing or looser than the standard."""
    return parse_grading(_mapping(_read(path), path.name))


def load_negative_list(path: Path) -> NegativeList:
    """Read `negative_list.yaml`; ValueError says which entry cannot stand."""
    document = _mapping(_read(path), path.name)
    entries = tuple(_entry(_mapping(e, path.name)) for e in document.get("entries") or [])
    return NegativeList(entries, _whole(document.get("alert_days"), "alert_days"))


def load_bodies(path: Path) -> dict[str, Body]:
    """Read `bodies.yaml`; ValueError says which body cannot stand."""
    document = _mapping(_read(path), path.name)
    bodies = [_body(_mapping(b, path.name)) for b in document.get("bodies") or []]
    found = {body.id: body for body in bodies}
    if len(found) != len(bodies):
        raise ValueError(f"{path.name}: two bodies have the same id")
    named = [body.department for body in bodies if body.department]
    if len(set(named)) != len(named):
        raise ValueError(f"{path.name}: two bodies have the same department")
    return found


def parse_grading(document: Mapping[str, Any]) -> GradingPolicy:
    """Return the policy of a parsed document."""
    matrix: Matrix = {
        harmed: {degree: _cell(document, harmed, degree) for degree in Degree}
        for harmed in ImpactObject
    }
    for harmed, cells in matrix.items():
        levels = [cells[degree].rank for degree in Degree]
        if levels != sorted(levels):
            raise ValueError(f"matrix.{harmed}: a worse degree has a lower level")
        for degree, least in STANDARD.get(harmed, {}).items():
            if cells[degree].rank < least.rank:
                raise ValueError(
                    f"matrix.{harmed}.{degree} is {cells[degree]}; GB/T 43697-2024 says {least}. "
                    "A policy may be stricter than the standard, never looser."
                )
    not_admitted = frozenset(Level(v) for v in document.get("not_admitted") or [])
    if missing := {Level.IMPORTANT, Level.CORE} - not_admitted:
        raise ValueError(f"not_admitted must name {sorted(missing)}: no lab may hold them")
    return GradingPolicy(
        matrix=matrix,
        lanes=_lanes(document, "lanes"),
        needs_consent=_lanes(document, "needs_consent"),
        not_admitted=not_admitted,
        review_months=_whole(document.get("review_months"), "review_months"),
        rules={
            name: _rule(str(name), _mapping(rule, f"regrading.{name}"))
            for name, rule in _mapping(document.get("regrading"), "regrading").items()
        },
    )


def _cell(document: Mapping[str, Any], harmed: ImpactObject, degree: Degree) -> Level:
    row = _mapping(_mapping(document.get("matrix"), "matrix").get(harmed.value), harmed)
    if degree.value not in row:
        raise ValueError(f"matrix.{harmed}.{degree} is missing; every cell needs a level")
    return Level(row[degree.value])


def _lanes(document: Mapping[str, Any], name: str) -> dict[Level, frozenset[Lane]]:
    listed = _mapping(document.get(name), name)
    return {Level(k): frozenset(Lane(v) for v in lanes) for k, lanes in listed.items()}


def _rule(name: str, found: Mapping[str, Any]) -> Rule:
    if unknown := sorted(set(found) - _RULE_KEYS):
        raise ValueError(f"regrading.{name} has unknown entries {unknown}")
    steps, to, restore = found.get("steps", 0), found.get("to"), found.get("restore", "")
    if bool(steps) == (to is not None) or (restore and to is None):
        raise ValueError(f"regrading.{name} needs either steps, or to (with restore)")
    if not found.get("basis"):
        raise ValueError(f"regrading.{name} names no basis")
    rule = Rule(
        event=name,
        basis=str(found["basis"]),
        steps=int(steps),
        to=None if to is None else Level(to),
        restore=str(restore),
        floor=Level(found.get("floor", Level.G1)),
        holds=tuple(map(str, found.get("holds") or ())),
        at_least={str(k): _whole(v, k) for k, v in (found.get("at_least") or {}).items()},
    )
    if rule.steps < 0 and not (rule.holds or rule.at_least):
        raise ValueError(f"regrading.{name} lowers a grade without any condition")
    return rule


def _entry(found: Mapping[str, Any]) -> Entry:
    name = found.get("entry_id")
    basis = _mapping(found.get("legal_basis"), f"{name}.legal_basis")
    other = _mapping(found.get("alternative"), f"{name}.alternative")
    try:
        return Entry(
            entry_id=str(found["entry_id"]),
            item_name=str(found["item_name"]),
            resource_code=str(found["resource_code"]),
            field=str(found["field"] or ""),
            dept_uscc=str(found["dept_uscc"]),
            dept_name=str(found["dept_name"]),
            approving_body=str(found["approving_body"]),
            approval_no=str(found["approval_no"] or ""),
            legal_basis=LegalBasis(
                kind=BasisKind(basis["kind"]),
                title=str(basis["title"]),
                doc_no=str(basis["doc_no"]),
                article=str(basis["article"]),
                quote=str(basis["quote"]),
            ),
            scope=frozenset(Scope(s) for s in found["scope"]),
            audience_excepted=frozenset(map(str, found.get("audience_excepted") or ())),
            review_cycle_months=_whole(found["review_cycle_months"], "review_cycle_months"),
            approved_at=_day(found["approved_at"], f"{name}.approved_at"),
            valid_from=_day(found["valid_from"], f"{name}.valid_from"),
            valid_until=_day(found["valid_until"], f"{name}.valid_until"),
            alternative_zh=str(other["zh"]),
            alternative_en=str(other["en"]),
        )
    except KeyError as error:
        raise ValueError(f"negative list {name}: {error.args[0]} is missing") from error


def _body(found: Mapping[str, Any]) -> Body:
    name = found.get("id")
    try:
        return Body(
            id=str(found["id"]),
            name_zh=str(found["name_zh"]),
            name_en=str(found["name_en"]),
            uscc=str(found["uscc"]),
            authority_level=AuthorityLevel(found["authority_level"]),
            department=str(found.get("department") or ""),
            return_flows=tuple(_flow(_mapping(f, f"{name}.return_flows")) for f in _flows(found)),
        )
    except KeyError as error:
        raise ValueError(f"body {name}: {error.args[0]} is missing") from error


def _flows(found: Mapping[str, Any]) -> Iterable[object]:
    return found.get("return_flows") or ()


def _flow(found: Mapping[str, Any]) -> ReturnFlow:
    return ReturnFlow(
        document=str(found["document"]),
        doc_no=str(found["doc_no"]),
        issued_by=str(found["issued_by"]),
        issued_by_level=AuthorityLevel(found["issued_by_level"]),
        resources=frozenset(map(str, found["resources"])),
        scope=frozenset(Scope(s) for s in found["scope"]),
        valid_from=_day(found["valid_from"], "valid_from"),
        valid_until=_day(found["valid_until"], "valid_until"),
    )


def _read(path: Path) -> object:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a mapping")  # noqa: TRY004  # a broken file, not a bug
    return value


def _whole(value: object, name: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1")
    return value


def _day(value: object, name: str) -> date:
    # A YAML time stamp is a date too for Python: only a plain day is meant.
    if type(value) is not date:
        raise ValueError(f"{name} must be a day, written 2026-11-01")
    return value
