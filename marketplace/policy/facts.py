"""Facts of tables as their contracts and `access.yaml` state them.

What the law says of a table, and what its provider published since, is added by `catalogue.facts`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml
from sqlalchemy import Connection

from marketplace.policy.model import RANKS, ResourceFacts, TableFacts

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader of libyaml where it is built in: contracts are long, and a start reads all."""


class FactsSource(Protocol):
    """Resource to its facts; None if it is not offered."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return all tables."""

    def __call__(self, resource: str, connection: Connection | None = None) -> ResourceFacts | None:
        """Return the facts of a table; within a transaction, as of its state."""


class ContractFacts:
    """Reads every contract of some folders once; a table in none of them is not offered."""

    def __init__(self, folders: tuple[Path, ...], policy: Mapping[str, Any]) -> None:
        """`policy` is the parsed `access.yaml`; a later folder replaces an earlier one's table."""
        for department, body in policy["providers"].items():
            if set(body) != {"organisation"}:
                raise ValueError(
                    f"access.yaml: {department} states {', '.join(sorted(body))}; it states its "
                    "organisation, and bodies.yaml says who runs it"
                )
        self._types: Mapping[str, Any] = policy["types"]
        self._known: dict[str, TableFacts] = {}
        self._files: dict[str, Path] = {}
        for folder in folders:
            for path in sorted(folder.glob("*.yaml")):
                for name, facts in _read(path, policy):
                    self._known[name], self._files[name] = facts, path

    def __call__(
        self,
        resource: str,
        connection: Connection | None = None,  # noqa: ARG002  # files say all of it
    ) -> TableFacts | None:
        """Return the facts of a table, if it is offered."""
        return self._known.get(resource)

    def contract(self, table: str) -> Path | None:
        """Return the file of the contract that states a table, if it is offered."""
        return self._files.get(table)

    def lanes(self, grade: str) -> tuple[str, ...]:
        """Return the lanes in which a grade is operated; none for no grade."""
        return tuple(self._types.get(grade, {}).get("lanes", ()))

    @property
    def names(self) -> tuple[str, ...]:
        """Return all tables."""
        return tuple(sorted(self._known))


def _read(path: Path, policy: Mapping[str, Any]) -> list[tuple[str, TableFacts]]:
    contract = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)  # noqa: S506  # a safe one, either way
    department = str(contract.get("tenant", ""))
    return [(t["name"], _facts(t, department, policy)) for t in contract.get("schema", ())]


def _facts(table: Mapping[str, Any], department: str, policy: Mapping[str, Any]) -> TableFacts:
    special = policy.get("tables", {}).get(table["name"], {})
    body = policy["providers"].get(department, {})
    grade = special.get("grade", _lane_grade(table))
    types = policy["types"].get(grade, {})
    return TableFacts(
        provider=body.get("organisation", policy["bureau"]),
        grade=grade,
        operate_lanes=tuple(special.get("lanes", types.get("lanes", ()))),
        share_type=types.get("share", "none"),
        open_type=types.get("open", "none"),
        negative=tuple(special.get("negative", ())),
        fields=tuple(p["name"] for p in table.get("properties", ()) if not _is_dropped(p)),
        dropped=frozenset(p["name"] for p in table.get("properties", ()) if _is_dropped(p)),
        department=department,
    )


def _lane_grade(table: Mapping[str, Any]) -> str:
    """Return the highest grade of fields that ingest keeps; empty if one of them has none.

    A field that ingest drops or replaces by a token is in no lane, so it does not count.
    """
    grades = [
        str(p.get("classification", "")) for p in table.get("properties", ()) if not _is_dropped(p)
    ]
    if not grades or any(g not in RANKS for g in grades):
        return ""
    return max(grades, key=lambda g: RANKS[g])


def _is_dropped(field: Mapping[str, Any]) -> bool:
    return any(c["property"] == "disposition" for c in field.get("customProperties", ()))
