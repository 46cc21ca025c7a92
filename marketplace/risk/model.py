"""What happened, as rules see it; what a rule found; and how people handle that."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from marketplace.errors import MarketplaceError

MOST_NAMED = 300
"""Characters of names that stand in clear side by side."""


class Severity(StrEnum):
    """How soon somebody should look."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Action(StrEnum):
    """What a hit leads to. The lab carries out nothing by itself beyond what was refused anyway."""

    ALERT = "alert"
    """The security administrators are told."""
    REVIEW = "review"
    """The bureau's reviewers are told as well."""
    REFUSED = "refused"
    """What it is about was refused by a policy or the ledger before the rule saw it."""
    STOP = "stop"
    """A stop of the organisation is proposed; a person with the right to stop decides."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one release cost in one cohort."""

    domain: str
    cohort: int
    micro_rho: int


@dataclass(frozen=True, slots=True)
class Observation:
    """One entry of the log as rules see it: no question, no name, no row."""

    index: int
    """Of the entry."""
    time: datetime
    event: str
    tenant: str
    actor: str = ""
    """The person's opaque id; empty if unknown or erased."""
    roles: tuple[str, ...] = ()
    code: str = ""
    """Of a denial."""
    question: str = ""
    """Digest of the plan."""
    stored: bool = False
    """Whether everything that it asked was stored already, so that nothing was charged."""
    tables: tuple[str, ...] = ()
    sensitive: tuple[str, ...] = ()
    """Those of the tables with grade G3 and up."""
    unknown: tuple[str, ...] = ()
    """Marks of things that were asked for and are not there: equal names have equal marks."""
    charges: tuple[Charge, ...] = ()

    @property
    def join(self) -> str:
        """Name the sensitive tables that one question puts together; empty for fewer than two."""
        return together(self.sensitive) if len(self.sensitive) > 1 else ""


def together(names: Sequence[str]) -> str:
    """Return one name for several, short enough to be kept.

    >>> together(["b", "a"]), len(together([str(n) for n in range(1000)]))
    ('a+b', 76)
    """
    text = "+".join(sorted(names))
    if len(text) <= MOST_NAMED:
        return text
    return f"{len(names):>4} tables {hashlib.sha256(text.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Past:
    """What rules may look back on when they judge one observation, which is not part of it."""

    recent: Sequence[Observation] = ()
    """Of the same organisation within the last day, oldest first."""
    repeats: Sequence[int] = ()
    """Entries of the last day in which the organisation asked the same question."""
    paid: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """(domain, cohort) to what the organisation paid within the last day, in micro-rho."""
    hours: Mapping[datetime, int] = field(default_factory=dict)
    """Questions of the same person in each clock hour (UTC) of the last month."""
    last_seen: datetime | None = None
    """When the person was seen before."""
    join_is_known: bool = False
    """Whether the organisation put these sensitive tables together before."""
    left: Mapping[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    """(domain, cohort) to what the organisation has left now, and its allotment, in micro-rho."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule's finding."""

    rule: str
    severity: Severity
    action: Action
    score: int
    """0 to 100: the rule's base in proportion to how far its threshold was passed."""
    tenant: str
    actor: str
    about: str
    """What repeats of the same finding share."""
    evidence: tuple[int, ...]
    """Indexes of entries, the judged one last."""
    figures: Mapping[str, int | str]
    """What was measured, and against which threshold."""


class State(StrEnum):
    """Where an event stands."""

    OPEN = "open"
    ASSIGNED = "assigned"
    CLOSED = "closed"


class Step(StrEnum):
    """What people do about an event."""

    ASSIGN = "assign"
    COMMENT = "comment"
    STOP = "stop"
    CLOSE = "close"


class Disposal(StrEnum):
    """How an event ended."""

    CONFIRMED = "confirmed"
    FALSE_ALARM = "false-alarm"
    TOLERATED = "tolerated"
    PASSED_ON = "passed-on"


@dataclass(frozen=True, slots=True)
class Taken:
    """One step as it was taken."""

    step: Step
    user: str
    organisation: str
    time: datetime
    handler: str = ""
    disposal: str = ""
    comment: str = ""
    stop: str = ""
    """Id of the stop that was pulled."""


@dataclass(frozen=True, slots=True)
class RiskEvent:
    """A hit with everything that people did about it, oldest first."""

    id: str
    hit: Hit
    happened: datetime
    """When the judged entry was made."""
    raised: datetime
    entry_index: int
    """Of the entry that says that it was raised."""
    state: State = State.OPEN
    steps: tuple[Taken, ...] = ()

    @property
    def handler(self) -> str:
        """Who has to deal with it, empty before."""
        return next((s.handler for s in reversed(self.steps) if s.step is Step.ASSIGN), "")

    @property
    def disposal(self) -> str:
        """How it ended, empty before."""
        return self.steps[-1].disposal if self.state is State.CLOSED else ""

    @property
    def closed_at(self) -> datetime | None:
        """When it ended."""
        return self.steps[-1].time if self.state is State.CLOSED else None


def take(event: RiskEvent, taken: Taken) -> RiskEvent:
    """Return the event after one more step; WRONG_STATE once it is closed."""
    if event.state is State.CLOSED:
        raise MarketplaceError(
            "WRONG_STATE",
            "This risk event is closed. What happens again is an event of its own.",
            "该风险事件已关闭；再次发生时将另立事件。",
        )
    for step, given, what in (
        (Step.ASSIGN, taken.handler, "handler"),
        (Step.CLOSE, taken.disposal, "disposal"),
        (Step.STOP, taken.stop, "stop"),
    ):
        if (taken.step is step) != bool(given):
            raise _stated(what, step)
    if taken.step in (Step.COMMENT, Step.CLOSE) and not taken.comment.strip():
        raise _stated("comment", taken.step)
    state = {Step.ASSIGN: State.ASSIGNED, Step.CLOSE: State.CLOSED}.get(taken.step, event.state)
    return replace(event, state=state, steps=(*event.steps, taken))


def _stated(what: str, step: Step) -> MarketplaceError:
    return MarketplaceError(
        "BAD_REQUEST",
        f"`{what}` does not fit the step {step.value}: a comment or a closing says why, an "
        "assignment names its handler, a closing its disposal, and nothing else does.",
        f"`{what}` 与操作 {step.value} 不符：备注与关闭须说明理由，指派须写明处理人，"
        "关闭须写明处置结果，其余操作不填。",
    )
