"""What the catalogue refuses, as people read it."""

from marketplace.catalogue.model import Resource
from marketplace.catalogue.states import Act, Actor, ActRefusedError, State, Version
from marketplace.catalogue.states import step as moved
from marketplace.errors import MarketplaceError
from marketplace.grading.model import Level, strictest


def may_see(actor: Actor, version: Version) -> bool:
    """Return whether an actor may see a version: anybody a published one, its provider any."""
    public = (State.PUBLISHED, State.SUPERSEDED)
    return version.state in public or actor.organisation == version.provider


def not_below(level: Level | None, before: Level | None) -> Level | None:
    """Return a level, or the one before where that was stricter; ungraded stays so."""
    return None if level is None else strictest(v for v in (level, before) if v)


def same_code(before: Resource, resource: Resource) -> None:
    """Refuse another code."""
    if before.code != resource.code:
        raise MarketplaceError("BAD_REQUEST", "A resource keeps its code.", "资源代码不可更改。")


def wrong_state(version: Version) -> MarketplaceError:
    """Return the refusal of an act that a state does not allow."""
    return MarketplaceError(
        "WRONG_STATE",
        f"Version {version.number} is {version.state}. Finish or edit it instead.",
        f"第 {version.number} 版处于“{version.state}”状态，请先完成或修改该版本。",
    )


def not_found() -> MarketplaceError:
    """Return the refusal of what is not there, or not for the caller."""
    return MarketplaceError(
        "NOT_FOUND", "There is no such resource or version.", "没有该资源或版本。"
    )


_KINDS = {"state": "WRONG_STATE", "party": "FORBIDDEN", "digest": "CONTENT_CHANGED"}


def step(version: Version, act: Act, actor: Actor, digest: str) -> Version:
    """Return the version after an act, or refuse it as people read it."""
    try:
        return moved(version, act, actor, digest)
    except ActRefusedError as error:
        raise MarketplaceError(_KINDS[error.kind], error.en, error.zh) from error
