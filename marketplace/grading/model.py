"""Grades of fields and tables, and what may change them.

Source: GB/T 43697-2024, the grading matrix (object of harm × degree of harm) and its principle that
the stricter level prevails. The split of general data into G1 to G4 and every event that changes a
grade come from a policy file. What has no grade is closed: `None` is not a low grade.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """Grades from the least to the most sensitive."""

    G1 = "G1"
    G2 = "G2"
    G3 = "G3"
    G4 = "G4"
    IMPORTANT = "IMPORTANT"
    CORE = "CORE"

    @property
    def rank(self) -> int:
        """Return the place in the order: 0 for G1."""
        return _RANKS[self.value]

    def moved(self, steps: int) -> "Level":
        """Return the level so many steps up (or down), at most CORE and at least G1."""
        order = list(Level)
        return order[min(max(self.rank + steps, 0), len(order) - 1)]


_RANKS = {level.value: rank for rank, level in enumerate(Level)}


class ImpactObject(StrEnum):
    """Whom or what misuse of the data would harm."""

    NATIONAL_SECURITY = "national_security"
    ECONOMY = "economy"
    SOCIAL_ORDER = "social_order"
    PUBLIC_INTEREST = "public_interest"
    ORGANISATION = "organisation"
    INDIVIDUAL = "individual"


class Degree(StrEnum):
    """How bad the harm would be."""

    NONE = "none"
    GENERAL = "general"
    SERIOUS = "serious"
    EXTREME = "extreme"


class Lane(StrEnum):
    """A way in which data may be used; from open files to results that somebody consented to."""

    DOWNLOAD = "download"
    API = "api"
    SANDBOX_MASKED = "sandbox_masked"
    API_VERIFY = "api_verify"
    DP = "dp"
    HE = "he"
    CONSENTED_RESULT = "consented_result"


@dataclass(frozen=True, slots=True)
class Impact:
    """One finding of an impact analysis."""

    object: ImpactObject
    degree: Degree


Matrix = Mapping[ImpactObject, Mapping[Degree, Level]]

STANDARD: Matrix = {
    ImpactObject.NATIONAL_SECURITY: {
        Degree.GENERAL: Level.IMPORTANT,
        Degree.SERIOUS: Level.CORE,
        Degree.EXTREME: Level.CORE,
    },
    **{
        harmed: {Degree.SERIOUS: Level.IMPORTANT, Degree.EXTREME: Level.CORE}
        for harmed in (
            ImpactObject.ECONOMY,
            ImpactObject.SOCIAL_ORDER,
            ImpactObject.PUBLIC_INTEREST,
        )
    },
}
"""Cells that the standard itself sets above general data: a policy may be stricter, not looser."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one event does to a grade."""

    event: str
    basis: str
    steps: int = 0
    to: Level | None = None
    restore: str = ""
    """Return to the grade from before this event; `to` stands in where none is known."""
    floor: Level = Level.G1
    """No lower than this, however many steps down."""
    holds: tuple[str, ...] = ()
    """Facts that must be stated to be true."""
    at_least: Mapping[str, int] | None = None
    """Facts that must reach a number."""


@dataclass(frozen=True, slots=True)
class GradingPolicy:
    """Everything that the grading policy file decides."""

    matrix: Matrix
    lanes: Mapping[Level, frozenset[Lane]]
    needs_consent: Mapping[Level, frozenset[Lane]]
    not_admitted: frozenset[Level]
    review_months: int
    rules: Mapping[str, Rule]


class Direction(StrEnum):
    """Where a change leads."""

    UP = "upgrade"
    DOWN = "downgrade"
    NONE = "unchanged"


@dataclass(frozen=True, slots=True)
class Change:
    """What an event would do to a grade; only `DOWN` waits for a person."""

    event: str
    before: Level
    after: Level
    unmet: tuple[str, ...] = ()
    """Conditions of the rule that the stated facts do not meet; then nothing changes."""

    @property
    def direction(self) -> Direction:
        """Return where it leads."""
        if self.after.rank == self.before.rank:
            return Direction.NONE
        return Direction.UP if self.after.rank > self.before.rank else Direction.DOWN

    @property
    def needs_person(self) -> bool:
        """Whether a person must decide it."""
        return self.direction is Direction.DOWN


def grade_of(matrix: Matrix, impacts: Iterable[Impact]) -> Level | None:
    """Return the strictest level of all findings; None if there are none: ungraded is closed."""
    return strictest(matrix[impact.object][impact.degree] for impact in impacts)


def strictest(levels: Iterable[Level]) -> Level | None:
    """Return the highest level, or None if there is none at all."""
    return max(levels, key=lambda level: level.rank, default=None)


def table_level(fields: Iterable[Level | None]) -> Level | None:
    """Return the grade of a table: its strictest field's; None if any field has none."""
    known = list(fields)
    graded = [level for level in known if level is not None]
    return strictest(graded) if len(graded) == len(known) else None


def lanes_of(policy: GradingPolicy, level: Level | None) -> frozenset[Lane]:
    """Return the ways of use that a grade leaves open: none for no grade or one not admitted."""
    if level is None or level in policy.not_admitted:
        return frozenset()
    return policy.lanes.get(level, frozenset())


def needs_consent(policy: GradingPolicy, level: Level | None, lane: Lane) -> bool:
    """Whether a lane of this grade is open only with the subject's consent."""
    return level is None or lane in policy.needs_consent.get(level, frozenset())


def change_of(
    rule: Rule, before: Level, facts: Mapping[str, int | bool], earlier: Level | None = None
) -> Change:
    """Return what a rule does to a grade, given stated facts.

    `earlier` is the grade from before the event that the rule restores, if the ledger knows one.
    """
    unmet = tuple(
        [name for name in rule.holds if facts.get(name) is not True]
        + [
            f"{name} >= {least}"
            for name, least in (rule.at_least or {}).items()
            if not _reaches(facts.get(name), least)
        ]
    )
    after = before if unmet else _target(rule, before, earlier)
    return Change(rule.event, before, after, unmet)


def _reaches(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _target(rule: Rule, before: Level, earlier: Level | None) -> Level:
    if rule.restore:
        # What ends a publication never lowers a grade, whatever was recorded before it.
        known = [before, *(level for level in (earlier or rule.to,) if level is not None)]
        return max(known, key=lambda level: level.rank)
    if rule.to is not None:
        return rule.to
    target = before.moved(rule.steps)
    if rule.steps < 0 and target.rank < rule.floor.rank:
        return min(before, rule.floor, key=lambda level: level.rank)
    return target
