"""What services of the catalogue hand to each other: a version as shown, and what was said."""

from collections.abc import Mapping
from dataclasses import dataclass

from marketplace.catalogue.model import Resource
from marketplace.catalogue.states import Version
from marketplace.grading.model import Lane, Level
from marketplace.grading.negative_list import Entry
from marketplace.policy.model import Decision

Grades = dict[str, Level | None]


@dataclass(frozen=True, slots=True)
class Page:
    """All that may be shown of one version."""

    version: Version
    resource: Resource
    grades: Grades
    level: Level | None
    """Of the table: its strictest field's; None is closed."""
    lanes: frozenset[Lane]
    """Offered by the provider and left open by the grade."""
    field_lanes: Mapping[str, frozenset[Lane]]
    """The same for each field alone."""
    closed: tuple[Entry, ...]
    """Entries of the negative list that keep a part of it from the market today."""


@dataclass(frozen=True, slots=True)
class Said:
    """What goes with an act: a comment, and the decisions that permitted it."""

    comment: str = ""
    made: tuple[Decision, ...] = ()


SILENT = Said()
