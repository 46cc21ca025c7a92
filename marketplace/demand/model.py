"""A demand as the sum of its steps, and the figures that leaders report, computed from states.

`demand_satisfaction_rate` (共享需求满足率) is demands met, granted and data delivered, over valid
demands: all but those withdrawn, those that the negative list forbids, and repetitions.
"""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

from marketplace.demand.calendar import Calendar, Due
from marketplace.errors import MarketplaceError


class State(StrEnum):
    """Where a demand stands."""

    SUBMITTED = "submitted"
    """The bureau has to find who can meet it."""
    DISPATCHED = "dispatched"
    """A provider has to answer."""
    BLOCKED = "blocked"
    """The provider named what stands in the way; the bureau can send it on again."""
    MATCHED = "matched"
    """A table meets it: access is to be granted and the data delivered."""
    DELIVERED = "delivered"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class Step(StrEnum):
    """What can be done about a demand."""

    SUBMIT = "submit"
    DISPATCH = "dispatch"
    REJECT = "reject"
    MATCH = "match"
    BLOCK = "block"
    DELIVER = "deliver"
    DISPUTE = "dispute"
    WITHDRAW = "withdraw"


class Barrier(StrEnum):
    """Why a provider cannot meet a demand now."""

    NO_SUCH_DATA = "no-such-data"
    NOT_COLLECTED = "not-collected"
    NO_LEGAL_BASIS = "no-legal-basis"
    NATIONALLY_RUN = "nationally-run"
    QUALITY = "quality"
    TECHNICAL = "technical"
    COST = "cost"


class Rejection(StrEnum):
    """Why the bureau takes a demand off the board."""

    NEGATIVE_LIST = "negative-list"
    REPETITION = "repetition"
    UNCLEAR = "unclear"
    """It stays a valid demand that was not met."""


ORDER: Mapping[Step, tuple[frozenset[State], State]] = {
    Step.DISPATCH: (frozenset({State.SUBMITTED, State.BLOCKED}), State.DISPATCHED),
    Step.REJECT: (frozenset({State.SUBMITTED, State.BLOCKED}), State.REJECTED),
    Step.MATCH: (frozenset({State.DISPATCHED}), State.MATCHED),
    Step.BLOCK: (frozenset({State.DISPATCHED, State.MATCHED}), State.BLOCKED),
    Step.DELIVER: (frozenset({State.MATCHED}), State.DELIVERED),
    Step.DISPUTE: (frozenset({State.DELIVERED}), State.MATCHED),
    Step.WITHDRAW: (
        frozenset({State.SUBMITTED, State.DISPATCHED, State.BLOCKED, State.MATCHED}),
        State.WITHDRAWN,
    ),
}
"""From which states a step leads, and to which."""

CLOSED = frozenset({State.DELIVERED, State.REJECTED, State.WITHDRAWN})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for."""

    title: str
    need: str
    purpose: str
    """A code."""
    lane: str
    """A code."""
    table: str = ""
    """A known table, or empty: also data that does not exist yet may be demanded."""
    provider: str = ""
    """An organisation that may have it, if the demander knows one."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One step as it was taken."""

    step: Step
    organisation: str
    user: str
    time: datetime
    provider: str = ""
    table: str = ""
    barrier: str = ""
    rejection: str = ""
    repeats: str = ""
    """The id of the demand that this one repeats."""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Days:
    """Working days that each stage may take, by policy."""

    dispatch: int
    answer: int
    deliver: int

    def of(self, state: State) -> int | None:
        """Return those of a state; None where nothing is due."""
        return {
            State.SUBMITTED: self.dispatch,
            State.BLOCKED: self.dispatch,
            State.DISPATCHED: self.answer,
            State.MATCHED: self.deliver,
        }.get(state)


@dataclass(frozen=True, slots=True)
class Demand:
    """A demand with everything that happened to it, oldest first."""

    id: str
    tenant: str
    user: str
    wanted: Wanted
    steps: tuple[Taken, ...]
    state: State = field(default=State.SUBMITTED)

    @property
    def latest(self) -> Taken:
        """The step that led to the present state."""
        return self.steps[-1]

    @property
    def provider(self) -> str:
        """The organisation that it was last sent to, empty before."""
        return next((s.provider for s in reversed(self.steps) if s.provider), "")

    @property
    def table(self) -> str:
        """The table that meets it, empty before a match."""
        return next((s.table for s in reversed(self.steps) if s.step is Step.MATCH), "")

    @property
    def is_valid(self) -> bool:
        """Whether it counts: not withdrawn, not forbidden, not a repetition."""
        if self.state is State.REJECTED:
            return self.latest.rejection == Rejection.UNCLEAR
        return self.state is not State.WITHDRAWN

    def due(self, calendar: Calendar, days: Days) -> Due | None:
        """Return when the present stage has to end; None if nothing is due."""
        allowed = days.of(self.state)
        return None if allowed is None else calendar.due(self.latest.time, allowed)


def begin(demand_id: str, tenant: str, user: str, wanted: Wanted, time: datetime) -> Demand:
    """Return a new demand."""
    submitted = Taken(Step.SUBMIT, tenant, user, time)
    return Demand(demand_id, tenant, user, wanted, (submitted,))


def take(demand: Demand, taken: Taken) -> Demand:
    """Return the demand after one more step; WRONG_STATE if the step does not follow."""
    sources, target = ORDER.get(taken.step, (frozenset(), demand.state))
    if demand.state not in sources:
        raise MarketplaceError(
            "WRONG_STATE",
            f"This demand is {demand.state.value}; the step {taken.step.value} does not follow "
            "from that. Look at it again.",
            f"该需求的状态为 {demand.state.value}，不能执行 {taken.step.value}，请重新查看。",
        )
    for step, given, what in (
        (Step.DISPATCH, taken.provider, "provider"),
        (Step.MATCH, taken.table, "table"),
        (Step.BLOCK, taken.barrier, "barrier"),
        (Step.REJECT, taken.rejection, "rejection"),
    ):
        if (taken.step is step) != bool(given):
            raise MarketplaceError(
                "BAD_REQUEST",
                f"`{what}` is stated when a demand is to {step.value}, and only then.",
                f"`{what}` 仅在执行 {step.value} 时填写，且必须填写。",
            )
    if (taken.rejection == Rejection.REPETITION) != bool(taken.repeats):
        raise MarketplaceError(
            "BAD_REQUEST",
            "`repeats` names the other demand when this one is rejected as a repetition.",
            "因重复而驳回时，须在 `repeats` 中指明另一需求。",
        )
    return replace(demand, state=target, steps=(*demand.steps, taken))


def replay(demand: Demand, steps: Sequence[Taken]) -> Demand:
    """Return the demand after all of these steps."""
    for taken in steps:
        demand = take(demand, taken)
    return demand


@dataclass(frozen=True, slots=True)
class Satisfaction:
    """The rate with what it is made of; every number is the length of a list of ids."""

    met: tuple[str, ...]
    unmet: tuple[str, ...]
    withdrawn: tuple[str, ...]
    forbidden: tuple[str, ...]
    repetitions: tuple[str, ...]
    overdue: tuple[str, ...]
    """Of the unmet: those whose present stage should have ended."""
    answered_in_time: tuple[str, ...]
    answered: tuple[str, ...]
    """Demands that a provider answered, by a match or a barrier, at least once."""

    @property
    def valid(self) -> int:
        """The denominator."""
        return len(self.met) + len(self.unmet)

    @property
    def rate(self) -> str | None:
        """The rate in percent with two places, halves up; None without a valid demand."""
        return _percent(len(self.met), self.valid)

    @property
    def timeliness(self) -> str | None:
        """First answers within their working days over first answers, in percent."""
        return _percent(len(self.answered_in_time), len(self.answered))


def satisfaction(
    demands: Iterable[Demand], calendar: Calendar, days: Days, now: datetime
) -> Satisfaction:
    """Return what became of all these demands."""
    every = sorted(demands, key=lambda d: (d.steps[0].time, d.id))

    def ids(test: Callable[[Demand], bool]) -> tuple[str, ...]:
        return tuple(d.id for d in every if test(d))

    def late(demand: Demand) -> bool:
        due = demand.due(calendar, days)
        return due is not None and due.at <= now

    def rejected(why: Rejection) -> tuple[str, ...]:
        return ids(lambda d: d.state is State.REJECTED and d.latest.rejection == why)

    return Satisfaction(
        met=ids(lambda d: d.state is State.DELIVERED),
        unmet=ids(lambda d: d.is_valid and d.state is not State.DELIVERED),
        withdrawn=ids(lambda d: d.state is State.WITHDRAWN),
        forbidden=rejected(Rejection.NEGATIVE_LIST),
        repetitions=rejected(Rejection.REPETITION),
        overdue=ids(lambda d: d.is_valid and late(d)),
        answered_in_time=ids(lambda d: _answer(d, calendar, days) is True),
        answered=ids(lambda d: _answer(d, calendar, days) is not None),
    )


def _answer(demand: Demand, calendar: Calendar, days: Days) -> bool | None:
    """Return whether a provider's first answer came in time; None if there is none."""
    sent: datetime | None = None
    for taken in demand.steps:
        if taken.step is Step.DISPATCH and sent is None:
            sent = taken.time
        if taken.step in (Step.MATCH, Step.BLOCK) and sent is not None:
            return taken.time < calendar.due(sent, days.answer).at
    return None


def _percent(part: int, whole: int) -> str | None:
    if not whole:
        return None
    exact = Decimal(100 * part) / Decimal(whole)
    return str(exact.quantize(Decimal("0.01"), ROUND_HALF_UP))


def likeness(a: str, b: str) -> float:
    """Return how alike two titles are, 0 to 1: shared pairs of neighbouring characters (Jaccard).

    >>> likeness("企业用电数据", "企业用电数据（按月）") > 0.5 > likeness("企业用电数据", "公积金")
    True
    """
    x, y = _pairs(a), _pairs(b)
    return len(x & y) / len(x | y) if x | y else 1.0


def plain(title: str) -> str:
    """Return a title without what does not distinguish it: width, case, spaces, punctuation."""
    wide = unicodedata.normalize("NFKC", title).casefold()
    return "".join(c for c in wide if unicodedata.category(c)[0] in "LN")


def _pairs(title: str) -> frozenset[str]:
    text = f" {plain(title)} "
    return frozenset(text[i : i + 2] for i in range(len(text) - 1)) if text.strip() else frozenset()
