"""Policies in force and decisions over HTTP."""

from typing import Any

from fastapi import APIRouter

from marketplace.http import Caller, Here
from marketplace.paging import Paged

router = APIRouter(prefix="/policy", tags=["policy"])


@router.get("")
def policies(here: Here, _caller: Caller) -> dict[str, Any]:
    """Return the policies in force: name, effect, code and sentences of each."""
    return {
        "version": here.decisions.version,
        "policies": [
            {
                "name": r.name,
                "effect": r.effect,
                "code": r.code,
                "en": str(r.en),
                "zh": str(r.zh),
            }
            for r in here.decisions.rules
        ],
    }


@router.get("/decisions")
def decisions(here: Here, caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return the newest decisions with their inputs: one's own, or all to overseers."""
    return [
        {
            "entry_index": k.entry_index,
            "time": k.time,
            "action": k.inputs.action,
            "principal": k.inputs.principal,
            "resource": k.inputs.resource,
            "allowed": k.allowed,
            "code": k.code,
            "policy": k.policy,
            "version": k.version,
            "context": dict(k.inputs.context),
        }
        for k in pages.page(here.decisions.latest(caller, pages.window))
    ]
