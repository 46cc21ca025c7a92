"""The only ways in which a version of a resource moves, from draft to published.

Deny by default: what is not in the table of moves does not happen. A review binds the digest of
what was reviewed, and comes from another person of another organisation (attack H9).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from marketplace.identity.model import UNNAMED
from marketplace.stamp import stamp


class State(StrEnum):
    """Where a version stands."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    RETURNED = "returned"
    APPROVED = "approved"
    PUBLISHED = "published"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"


class Check(StrEnum):
    """Where the delivered file of a version stands."""

    NONE = "none"
    CHECKING = "checking"
    PASSED = "passed"
    FAILED = "failed"


class Act(StrEnum):
    """What moves a version."""

    EDIT = "edit"
    UPLOAD = "upload"
    PASS = "pass"  # noqa: S105  # a verb
    FAIL = "fail"
    SUBMIT = "submit"
    APPROVE = "approve"
    RETURN = "return"
    PUBLISH = "publish"
    SUPERSEDE = "supersede"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a person of an organisation."""

    user: str
    organisation: str


LAB = Actor("", "")
"""The lab itself."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a resource, and how far it has come."""

    resource: str
    number: int
    provider: str
    digest: str
    """Of the whole content; a review binds it."""
    state: State = State.DRAFT
    check: Check = Check.NONE
    author: str = ""
    """Who wrote or submitted it last."""
    approved_digest: str = ""
    reviewer: Actor = LAB

    @property
    def stamp(self) -> str:
        """Return what names the content and state that an edit replaces."""
        return stamp(self.resource, self.number, self.digest, self.state.value)


class ActRefusedError(Exception):
    """A version cannot move this way: kind and sentence."""

    def __init__(self, kind: str, en: str, zh: str) -> None:
        """Keep the kind (`state`, `party` or `digest`) and both sentences."""
        self.kind, self.en, self.zh = kind, en, zh
        super().__init__(en)


OPEN = frozenset({State.DRAFT, State.RETURNED})
"""States in which a provider changes the content."""
_FROM: Mapping[Act, frozenset[State]] = {
    Act.EDIT: OPEN,
    Act.UPLOAD: OPEN,
    Act.PASS: frozenset({State.DRAFT}),
    Act.FAIL: frozenset({State.DRAFT}),
    Act.SUBMIT: frozenset({State.DRAFT}),
    Act.APPROVE: frozenset({State.SUBMITTED}),
    Act.RETURN: frozenset({State.SUBMITTED}),
    Act.PUBLISH: frozenset({State.APPROVED}),
    Act.SUPERSEDE: frozenset({State.PUBLISHED}),
    Act.WITHDRAW: frozenset({State.PUBLISHED, State.APPROVED}),
}
_CHANGES_CONTENT = frozenset({Act.EDIT, Act.UPLOAD})
_BY_REVIEW = frozenset({Act.APPROVE, Act.RETURN})
_BY_LAB = frozenset({Act.PASS, Act.FAIL, Act.SUPERSEDE})
_TO: Mapping[Act, State] = {
    Act.RETURN: State.RETURNED,
    Act.PUBLISH: State.PUBLISHED,
    Act.SUPERSEDE: State.SUPERSEDED,
    Act.WITHDRAW: State.WITHDRAWN,
}


def step(version: Version, act: Act, actor: Actor, digest: str) -> Version:
    """Return the version after an act; raise `ActRefusedError`. Nothing else moves a version.

    `digest` is what the actor saw; for an edit or an upload, what the content becomes.
    """
    _check_party(version, act, actor)
    if act is Act.APPROVE and version.author.startswith(UNNAMED):
        raise ActRefusedError(
            "state",
            "Who wrote this was erased. Return it, so that a colleague submits it anew.",
            "该版本编写人的个人信息已被清除，请退回后由其他人员重新提交。",
        )
    if version.state not in _FROM[act]:
        allowed = ", ".join(sorted(_FROM[act]))
        raise ActRefusedError(
            "state",
            f"This version is {version.state}; {act} is possible while it is {allowed}.",
            f"该版本处于“{version.state}”状态，不能执行“{act}”。",
        )
    if act not in _CHANGES_CONTENT and digest != version.digest:
        raise ActRefusedError(
            "digest",
            "The content has changed since it was shown. Look at it again, then decide.",
            "内容在您查看之后已发生变化，请重新查看后再决定。",
        )
    return _moved(version, act, actor, digest)


def _check_party(version: Version, act: Act, actor: Actor) -> None:
    if act in _BY_LAB:
        allowed = actor == LAB
    elif act in _BY_REVIEW:
        allowed = (
            bool(actor.user)
            and actor.user != version.author
            and actor.organisation != version.provider
        )
    else:
        allowed = bool(actor.user) and actor.organisation == version.provider
    if not allowed:
        raise ActRefusedError(
            "party",
            "A provider writes and publishes its own resources only, and never reviews them.",
            "供数单位只能编写和发布本单位资源，且不得自行审核。",
        )


def _moved(version: Version, act: Act, actor: Actor, digest: str) -> Version:
    match act:
        case Act.EDIT | Act.UPLOAD:
            # After an edit, what was checked belongs to content that is no more.
            check = Check.CHECKING if act is Act.UPLOAD else Check.NONE
            return replace(
                version, state=State.DRAFT, check=check, digest=digest, author=actor.user
            )
        case Act.PASS | Act.FAIL:
            if version.check is not Check.CHECKING:
                raise ActRefusedError(
                    "state", "No delivered file waits for a check.", "无待检文件。"
                )
            return replace(version, check=Check.PASSED if act is Act.PASS else Check.FAILED)
        case Act.SUBMIT:
            if version.check in (Check.CHECKING, Check.FAILED):
                raise ActRefusedError(
                    "state",
                    "The delivered file has not passed its check. Wait for the report, or deliver "
                    "it again.",
                    "交付文件尚未通过检查，请等待报告或重新交付。",
                )
            return replace(version, state=State.SUBMITTED, author=actor.user)
        case Act.APPROVE:
            return replace(version, state=State.APPROVED, approved_digest=digest, reviewer=actor)
        case Act.RETURN:
            return replace(version, state=State.RETURNED, reviewer=actor)
        case _:
            return replace(version, state=_TO[act])
