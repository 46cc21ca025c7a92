"""Facts that policies consult, and decisions with all that is needed to make them again."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

RANKS: Mapping[str, int] = {"G1": 1, "G2": 2, "G3": 3, "G4": 4, "IMPORTANT": 5, "CORE": 6}
"""Grades of general data (GB/T 43697-2024), then what the lab does not admit; 0 is ungraded."""

TWO_ORGANISATIONS_FROM = 3
"""From this rank on, two organisations approve access."""


class ResourceFacts(Protocol):
    """What grading, the negative list and the catalogue say of a resource."""

    @property
    def provider(self) -> str:
        """Return the organisation that provides it."""

    @property
    def grade(self) -> str:
        """Return the highest grade among fields that a lane can name; empty if ungraded."""

    @property
    def share_type(self) -> str:
        """Return `unconditional`, `conditional` or `none` (between government bodies)."""

    @property
    def open_type(self) -> str:
        """Return `unconditional`, `conditional` or `none` (to society)."""

    @property
    def operate_lanes(self) -> tuple[str, ...]:
        """Return the lanes in which it is operated; empty means none."""

    @property
    def negative(self) -> tuple[str, ...]:
        """Return the scopes (`share`, `open`, `operate`) of negative-list entries in force."""

    @property
    def authority_level(self) -> str:
        """Return who runs its provider: `city`, `province` or `national`."""

    @property
    def return_flow(self) -> bool:
        """Whether a basis is recorded on which a body above the city returned the data to it."""

    @property
    def gap(self) -> tuple[str, str]:
        """Return what the city lacks to approve it alone, in English and Chinese; else empty."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the fields that a lane can name."""

    @property
    def limits(self) -> "tuple[Limit, ...]":
        """Return what the negative list keeps closed today, field by field."""


@dataclass(frozen=True, slots=True)
class Limit:
    """An entry of the negative list that is in force."""

    field: str
    """Empty: the whole resource."""
    scopes: tuple[str, ...]
    excepted: tuple[str, ...] = ()
    """Organisations that may have it all the same."""

    def closes(self, organisation: str, named: Collection[str]) -> bool:
        """Whether it is closed to an organisation that names these fields."""
        return organisation not in self.excepted and (not self.field or self.field in named)


@dataclass(frozen=True, slots=True)
class TableFacts:
    """Facts as plain values."""

    provider: str
    grade: str
    operate_lanes: tuple[str, ...]
    share_type: str = "conditional"
    open_type: str = "none"
    negative: tuple[str, ...] = ()
    authority_level: str = "city"
    return_flow: bool = False
    gap: tuple[str, str] = ("", "")
    fields: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    department: str = ""
    """Whose table it is, as its contract says."""
    dropped: frozenset[str] = frozenset()
    """Fields that ingest drops or replaces by a token: in no lane."""


def rank(facts: ResourceFacts) -> int:
    """Return the grade as a number; 0 for a grade that is missing or unknown."""
    return RANKS.get(facts.grade, 0)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that one decision depends on, apart from the policies."""

    action: str
    principal: str
    person: Mapping[str, Any]
    """Attributes of the principal."""
    kind: str
    """Entity type of the resource: Table, Tenant or Lab."""
    resource: str
    attributes: Mapping[str, Any]
    context: Mapping[str, Any]
    words: Mapping[str, str]
    """What stands for the braces of a sentence; no policy consults it."""

    def text(self) -> str:
        """Return canonical JSON, which is stored and whose digest the log binds."""
        return json.dumps(
            {
                "action": self.action,
                "principal": self.principal,
                "person": dict(self.person),
                "kind": self.kind,
                "resource": self.resource,
                "attributes": dict(self.attributes),
                "context": dict(self.context),
                "words": dict(self.words),
            },
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=True,
        )

    @classmethod
    def of(cls, text: str) -> "Inputs":
        """Return stored inputs."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Sentence:
    """What a person is told, in one language."""

    what: str
    nearest: str
    """The nearest thing that is allowed."""

    def filled(self, words: Mapping[str, str]) -> "Sentence":
        """Return the sentence with its braces filled; an unknown word stays as it is."""
        known = _Known(words)
        return Sentence(self.what.format_map(known), self.nearest.format_map(known))

    def __str__(self) -> str:
        return f"{self.what} {self.nearest}".strip()


class _Known(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, by which policy, on which inputs."""

    inputs: Inputs
    allowed: bool
    code: str
    """Stable code of a denial; empty when allowed."""
    policy: str
    """The determining policy: the permit, or the first policy that forbids."""
    version: str
    """Digest of the policies in force."""
    en: Sentence
    zh: Sentence


def digest(decisions: "tuple[Decision, ...]") -> str:
    """Return the hex digest that the log binds for decisions made together."""
    together = "\n".join(f"{d.version} {d.policy} {d.allowed} {d.inputs.text()}" for d in decisions)
    return hashlib.sha256(together.encode()).hexdigest()
