"""Reports over HTTP: which there are, and one of them as signed JSON, CSV or PDF."""

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from marketplace.http import Caller, Here
from marketplace.reports.kinds import NOT_AVAILABLE
from marketplace.reports.service import FILTERS, File, Form, Wanted

router = APIRouter(prefix="/reports", tags=["reports"])

MEDIA = {
    Form.JSON: "application/json",
    Form.CSV: "text/csv; charset=utf-8",
    Form.PDF: "application/pdf",
}
Filter = Annotated[str, Field(max_length=64, pattern=r"^[\w.:-]*$")]


class ReportQuery(BaseModel):
    """What a report is about, and how it is written."""

    model_config = ConfigDict(extra="forbid")

    form: Form = Form.JSON
    language: Literal["", "zh", "en"] = ""
    first: date | None = None
    last: date | None = None
    table: Filter = ""
    cohort: Filter = ""
    organisation: Filter = ""
    request: Filter = ""
    grant: Filter = ""


@router.get("")
def reports(here: Here, caller: Caller) -> dict[str, Any]:
    """Return the reports that the caller may read, and why some cannot be made."""
    return {
        "reports": [
            {
                "name": kind.name,
                "title": {"en": kind.title.en, "zh": kind.title.zh},
                "needs": list(kind.needs),
                "takes": list(kind.takes),
                "columns": [c.key for c in kind.columns],
            }
            for kind in here.reports.readable(caller)
        ],
        "not_available": {n: {"en": t.en, "zh": t.zh} for n, t in NOT_AVAILABLE.items()},
    }


@router.get("/{name}")
def report(
    name: Annotated[str, Field(max_length=40)],
    asked: Annotated[ReportQuery, Query()],
    here: Here,
    caller: Caller,
) -> Response:
    """Return a report of some days in China (this month up to today); the reading is an entry."""
    filters = {filter_name: getattr(asked, filter_name) for filter_name in FILTERS}
    language = asked.language or caller.language
    wanted = Wanted(name, asked.form, language, asked.first, asked.last, filters)
    return download(here.reports.make(caller, wanted), asked.form)


def download(made: File, form: Form) -> Response:
    """Return a report as a file whose name says what it is and whose header how to check it."""
    report = made.report
    name = f"{report.kind.name}_{report.period.first}_{report.period.last}.{form.value}"
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "x-content-sha256": made.sha256,
    }
    return Response(made.data, media_type=MEDIA[form], headers=headers)
