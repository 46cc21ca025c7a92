"""The negative list over HTTP: what is closed, on which basis, and what ends soon."""

from typing import Any

from fastapi import APIRouter

from marketplace.grading.negative_list import Entry, alerts
from marketplace.http import Caller, Here
from marketplace.paging import Paged

router = APIRouter(prefix="/negative-list", tags=["grading"])


@router.get("")
def listed(here: Here, _caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return every entry with where it stands today."""
    today = here.catalogue.today()
    entries = here.catalogue.policies.negative_list.entries
    return [{**_told(entry), "standing": entry.standing(today)} for entry in pages.cut(entries)]


@router.get("/alerts")
def ending(here: Here, _caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return what has lapsed or lapses soon."""
    found = alerts(here.catalogue.policies.negative_list, here.catalogue.today())
    return [
        {
            "entry_id": a.entry.entry_id,
            "item_name": a.entry.item_name,
            "valid_until": a.entry.valid_until.isoformat(),
            "days_left": max(a.days, 0),
            "lapsed": a.lapsed,
        }
        for a in pages.cut(found)
    ]


def _told(entry: Entry) -> dict[str, Any]:
    basis = entry.legal_basis
    return {
        "entry_id": entry.entry_id,
        "item_name": entry.item_name,
        "resource_code": entry.resource_code,
        "field": entry.field,
        "department": entry.dept_name,
        "legal_basis": {"kind": basis.kind, "title": basis.title, "article": basis.article},
        "document_no": basis.doc_no,
        "scope": sorted(entry.scope),
        "audience_excepted": sorted(entry.audience_excepted),
        "approving_body": entry.approving_body,
        "approval_no": entry.approval_no,
        "valid_from": entry.valid_from.isoformat(),
        "valid_until": entry.valid_until.isoformat(),
        "alternative_zh": entry.alternative_zh,
        "alternative_en": entry.alternative_en,
    }
