"""A digital contract as a value: its text is hashed, signed by every party, and executed as signed.

Vocabulary: TC609, 可信数据空间 技术架构 (2025): parties, product, usage policy, term, count, hash.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from marketplace.errors import MarketplaceError

ANY = "*"
"""All tables that are granted, or all fields of a table."""


class State(StrEnum):
    """Where a contract stands."""

    DRAFT = "draft"
    ACTIVE = "active"
    EXITED = "exited"
    """Access has ended; the destruction of what was derived is to be certified."""
    DESTROYED = "destroyed"


class Stage(StrEnum):
    """Where a tenant stands on its way into the lab, in this order."""

    CONTACTED = "contacted"
    QUALIFIED = "qualified"
    CONTRACTED = "contracted"
    SETTLED = "settled"
    ACTIVE = "active"


STAGES = tuple(Stage)


@dataclass(frozen=True, slots=True)
class Terms:
    """What is agreed."""

    tenant: str
    parties: tuple[str, ...]
    """Organisations that sign; the tenant is one of them."""
    purposes: tuple[str, ...]
    resources: Mapping[str, tuple[str, ...]]
    """Table to its fields, either may be `ANY`."""
    lanes: tuple[str, ...]
    micro_rho: int
    """Budget of all answers together."""
    calls: int
    """Questions in all."""
    starts: int
    ends: int
    """Seconds since 1970; `ends` is the first second outside."""

    def __post_init__(self) -> None:
        """Refuse terms under which nothing could happen, or that a party could not read."""
        if self.tenant not in self.parties or len(set(self.parties)) < max(2, len(self.parties)):
            raise ValueError("a contract has the tenant and at least one other party, each once")
        if not (self.purposes and self.resources and self.lanes):
            raise ValueError("a contract names purposes, resources and lanes")
        if self.micro_rho < 1 or self.calls < 1 or self.starts >= self.ends:
            raise ValueError("budget and count are positive, and the term ends after it starts")

    def covers(self, table: str) -> bool:
        """Whether a table is among the resources."""
        return table in self.resources or ANY in self.resources

    def fields(self, table: str) -> tuple[str, ...]:
        """Return the only fields of a table that are agreed on; empty if all are."""
        named = self.resources.get(table, self.resources.get(ANY, ()))
        return () if ANY in named else named


@dataclass(frozen=True, slots=True)
class Signature:
    """A party's word for one text."""

    organisation: str
    user: str
    sha256: str
    time: str


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract with its signatures and what it was used for so far."""

    id: str
    terms: Terms
    state: State
    signatures: tuple[Signature, ...] = ()
    calls_used: int = 0
    micro_rho_used: int = 0
    certificate: str = ""
    """SHA-256 of the destruction certificate."""

    def text(self) -> str:
        """Return the canonical JSON that parties sign: the id in it makes each text unique."""
        t = self.terms
        body = {
            "id": self.id,
            "tenant": t.tenant,
            "parties": list(t.parties),
            "purposes": list(t.purposes),
            "resources": {k: list(v) for k, v in t.resources.items()},
            "lanes": list(t.lanes),
            "micro_rho": t.micro_rho,
            "calls": t.calls,
            "starts": t.starts,
            "ends": t.ends,
        }
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @property
    def sha256(self) -> str:
        """Return the hex digest of the text."""
        return hashlib.sha256(self.text().encode()).hexdigest()


def from_text(text: str) -> tuple[str, Terms]:
    """Return a contract's id and terms from its text."""
    data = json.loads(text)
    terms = Terms(
        data["tenant"],
        tuple(data["parties"]),
        tuple(data["purposes"]),
        {k: tuple(v) for k, v in data["resources"].items()},
        tuple(data["lanes"]),
        data["micro_rho"],
        data["calls"],
        data["starts"],
        data["ends"],
    )
    return data["id"], terms


def sign(contract: Contract, organisation: str, user: str, sha256: str, time: str) -> Contract:
    """Return the contract with one more signature; in force when every party has signed."""
    if contract.state is not State.DRAFT:
        raise wrong_state(contract.state)
    if organisation not in contract.terms.parties:
        raise MarketplaceError(
            "FORBIDDEN",
            "Your organisation is not a party of this contract.",
            "贵机构不是该合约的当事方。",
        )
    if sha256 != contract.sha256:
        raise text_changed()
    if organisation in {s.organisation for s in contract.signatures}:
        raise MarketplaceError(
            "ALREADY_DECIDED",
            "Your organisation has signed this contract.",
            "贵机构已签署该合约。",
        )
    signed = (*contract.signatures, Signature(organisation, user, sha256, time))
    complete = {s.organisation for s in signed} == set(contract.terms.parties)
    return replace(contract, signatures=signed, state=State.ACTIVE if complete else State.DRAFT)


def leave(contract: Contract) -> Contract:
    """Return the contract after its exit: access ends at once."""
    if contract.state is not State.ACTIVE:
        raise wrong_state(contract.state)
    return replace(contract, state=State.EXITED)


def destroy(contract: Contract, certificate: str) -> Contract:
    """Return an exited contract with the digest of its destruction certificate."""
    if contract.state is not State.EXITED:
        raise wrong_state(contract.state)
    return replace(contract, state=State.DESTROYED, certificate=certificate)


def advance(before: Stage | None, to: Stage) -> None:
    """Raise unless `to` is the next stage: none is skipped, none is gone back to."""
    wanted = STAGES[0] if before is None else following(before)
    if to is not wanted:
        here = "nowhere yet" if before is None else before.value
        onward = "none" if wanted is None else wanted.value
        raise MarketplaceError(
            "WRONG_STATE",
            f"This tenant is at stage {here}; the next stage is {onward}.",
            f"该租户当前阶段为 {here}，下一阶段为 {onward}。",
        )


def following(before: Stage) -> Stage | None:
    """Return the stage after one; None after the last."""
    place = STAGES.index(before) + 1
    return STAGES[place] if place < len(STAGES) else None


def wrong_state(state: StrEnum) -> MarketplaceError:
    """Refuse a step that does not follow from the state."""
    return MarketplaceError(
        "WRONG_STATE",
        f"This step does not follow from the state {state.value}. Look at it again.",
        f"当前状态为 {state.value}，不能进行此操作，请重新查看。",
    )


def text_changed() -> MarketplaceError:
    """Refuse a decision about another text than the present one (attack H9)."""
    return MarketplaceError(
        "TEXT_CHANGED",
        "The text has changed since you read it. Read it again, and decide on the present one.",
        "文本在您阅读后已更改，请重新阅读并就当前文本作出决定。",
    )
