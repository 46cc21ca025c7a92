"""An access request: its text, who judged which text, and the only ways from one state to another.

A vote names the digest of the text that was read. An edit makes another text and takes all votes
back, so what is granted is what everybody read, and an approval cannot be used for anything else
(attack H9). Nobody judges an own request; no person and, among approvals, no organisation judges it
twice, a stand-in counting as both persons.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from enum import StrEnum

from marketplace.contracts.model import text_changed, wrong_state
from marketplace.errors import MarketplaceError
from marketplace.identity.model import UNNAMED
from marketplace.policy.model import TWO_ORGANISATIONS_FROM


class State(StrEnum):
    """Where a request stands."""

    REVIEW = "review"
    """Waits for the provider."""
    APPROVAL = "approval"
    """Waits for the bureau."""
    RETURNED = "returned"
    """Waits for its author to edit it."""
    GRANTED = "granted"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"


ERASED = "erased"
"""Stands for the words of an author who was erased."""

OPEN = frozenset({State.REVIEW, State.APPROVAL, State.RETURNED})


class Verdict(StrEnum):
    """What a reviewer or approver says."""

    AGREE = "agree"
    RETURN = "return"
    DECLINE = "decline"


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked for."""

    table: str
    purposes: tuple[str, ...]
    lanes: tuple[str, ...]
    fields: tuple[str, ...]
    """Empty: all that the lane can name."""
    epsilon_default_micro: int
    epsilon_max_micro: int
    days: int
    reason: str

    def __post_init__(self) -> None:
        """Refuse what no question could use."""
        if not self.purposes or not self.lanes:
            raise ValueError("a request names at least one purpose and one lane")
        if not 0 < self.epsilon_default_micro <= self.epsilon_max_micro:
            raise ValueError("epsilon is positive, and the default at most the maximum")
        if self.days < 1:
            raise ValueError("a request asks for at least one day")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and for whom."""

    user: str
    organisation: str
    for_user: str = ""
    """Set for a stand-in: whose place is taken."""

    @property
    def persons(self) -> frozenset[str]:
        """Return everybody whose word this is."""
        return frozenset({self.user, self.for_user} - {""})


@dataclass(frozen=True, slots=True)
class Vote:
    """One judgement of one text."""

    stage: State
    actor: Actor
    sha256: str


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A request with the votes on its present text."""

    id: str
    tenant: str
    user: str
    terms: Terms
    rank: int
    """Rank of the table's grade when it was written; a higher one now counts instead."""
    salt: str = ""
    """Random and as secret as the reason: without both, the digest in the log tells nothing."""
    revision: int = 1
    state: State = State.REVIEW
    votes: tuple[Vote, ...] = ()
    renews: str = ""
    """The grant that it would follow."""

    def text(self) -> str:
        """Return the canonical JSON that is judged; id and revision make each text unique."""
        body = {
            "id": self.id,
            "revision": self.revision,
            "tenant": self.tenant,
            "user": self.user,
            "rank": self.rank,
            "renews": self.renews,
            "salt": self.salt,
            "terms": {name: getattr(self.terms, name) for name in self.terms.__slots__},
        }
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @property
    def sha256(self) -> str:
        """Return the hex digest of the text."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    @property
    def approvals(self) -> tuple[Vote, ...]:
        """Return the approvals of the present text."""
        return tuple(v for v in self.votes if v.stage is State.APPROVAL)


def needed(rank: int) -> int:
    """Return how many organisations approve a table of this rank."""
    return 2 if rank >= TWO_ORGANISATIONS_FROM else 1


def edit(
    request: AccessRequest, user: str, terms: Terms, rank: int, salt: str = ""
) -> AccessRequest:
    """Return the request with another text, before all reviewers again."""
    _require_author(request, user)
    _require(request, *OPEN)
    if terms.table != request.terms.table:
        raise MarketplaceError(
            "BAD_REQUEST",
            "A request stays with its table. Withdraw it and make another one.",
            "申请不能更换数据表，请撤回后重新申请。",
        )
    return replace(
        request,
        terms=terms,
        rank=rank,
        salt=salt,
        revision=request.revision + 1,
        state=State.REVIEW,
        votes=(),
    )


def review(request: AccessRequest, actor: Actor, verdict: Verdict, sha256: str) -> AccessRequest:
    """Return the request after the provider's word."""
    _require(request, State.REVIEW)
    _judge(request, actor, sha256)
    vote = Vote(State.REVIEW, actor, sha256)
    onward = {
        Verdict.AGREE: State.APPROVAL,
        Verdict.RETURN: State.RETURNED,
        Verdict.DECLINE: State.DECLINED,
    }
    return replace(request, state=onward[verdict], votes=(*request.votes, vote))


def approve(
    request: AccessRequest, actor: Actor, verdict: Verdict, sha256: str, rank: int
) -> AccessRequest:
    """Return the request after one approval; `rank` is the table's at this moment."""
    _require(request, State.APPROVAL)
    _judge(request, actor, sha256)
    if actor.organisation in {v.actor.organisation for v in request.approvals}:
        raise MarketplaceError(
            "SAME_ORGANISATION",
            "Your organisation has approved this already; the second approval is another's.",
            "贵机构已批准此申请，第二个批准须由其他机构作出。",
        )
    if verdict is not Verdict.AGREE:
        state = State.RETURNED if verdict is Verdict.RETURN else State.DECLINED
        return replace(request, state=state)
    votes = (*request.votes, Vote(State.APPROVAL, actor, sha256))
    after = replace(request, votes=votes)
    complete = len(after.approvals) >= needed(max(rank, request.rank))
    return replace(after, state=State.GRANTED) if complete else after


def withdraw(request: AccessRequest, user: str) -> AccessRequest:
    """Return the request as taken back by its author."""
    _require_author(request, user)
    _require(request, *OPEN)
    return replace(request, state=State.WITHDRAWN)


def lapse(request: AccessRequest) -> AccessRequest:
    """Return the request as nobody decided it in time."""
    _require(request, *OPEN)
    return replace(request, state=State.LAPSED)


def _require(request: AccessRequest, *states: State) -> None:
    if request.state not in states:
        raise wrong_state(request.state)


def _require_author(request: AccessRequest, user: str) -> None:
    if request.user != user:
        raise MarketplaceError(
            "FORBIDDEN", "Only its author changes a request.", "仅申请人本人可修改申请。"
        )


def _judge(request: AccessRequest, actor: Actor, sha256: str) -> None:
    if actor.organisation == request.tenant or request.user in actor.persons:
        raise MarketplaceError(
            "OWN_REQUEST",
            "Nobody judges a request of the own organisation. Leave it to another one.",
            "不得审批本人或本机构的申请，请由其他机构办理。",
        )
    named = {request.user}.union(*(v.actor.persons for v in request.votes))
    if any(name.startswith(UNNAMED) for name in named):
        raise MarketplaceError(
            "WRONG_STATE",
            "Its author, or somebody who judged this, was erased. It needs a new request.",
            "申请人或已作出意见者的个人信息已被清除，请重新申请。",
        )
    if sha256 != request.sha256:
        raise text_changed()
    if any(actor.persons & v.actor.persons for v in request.votes):
        raise MarketplaceError(
            "SAME_PERSON",
            "You have judged this request already, yourself or through a stand-in.",
            "您本人或您的代理人已对此申请作出意见。",
        )
