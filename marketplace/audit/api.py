"""The log over HTTP as JSON: heads and proofs hold hashes only, so anyone may ask (soundness F.29).

The log itself, as files, is at `/log/` (`files`).
"""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from pydantic import Field

from marketplace.audit import tree, verifier
from marketplace.audit.openings import MOST, Basis, Ground
from marketplace.errors import MarketplaceError
from marketplace.http import Caller, Here, StrictBody

router = APIRouter(prefix="/log", tags=["log"])


@router.get("/checkpoint")
def checkpoint(here: Here) -> dict[str, Any]:
    """Return the size and root of the published log, and the note that signs them."""
    head = here.log.head
    return {
        "size": head.checkpoint.size,
        "root": head.checkpoint.root.hex(),
        "note": head.note,
    }


@router.get("/proofs/{index}")
def inclusion(index: int, here: Here) -> dict[str, Any]:
    """Return the audit path of one entry, without the entry."""
    head = here.log.head.checkpoint
    fetch = here.log.fetch(head.size)
    try:
        path = tree.inclusion_proof(index, head.size, fetch)
    except ValueError as error:
        raise _no_such(error) from error
    return {
        "index": index,
        "leaf_hash": fetch(0, index).hex(),
        "size": head.size,
        "root": head.root.hex(),
        "proof": [p.hex() for p in path],
    }


@router.get("/consistency/{old_size}")
def consistency(old_size: int, here: Here) -> dict[str, Any]:
    """Return the proof that the log of `old_size` entries is a prefix of today's."""
    head = here.log.head.checkpoint
    try:
        path = tree.consistency_proof(old_size, head.size, here.log.fetch(head.size))
    except ValueError as error:
        raise _no_such(error) from error
    return {
        "old_size": old_size,
        "size": head.size,
        "root": head.root.hex(),
        "proof": [p.hex() for p in path],
    }


class PythonFile(PlainTextResponse):
    """A program to read, keep and run."""

    media_type = "text/x-python"


@router.get("/verifier", response_class=PythonFile)
def one_file_verifier() -> PythonFile:
    """Return the verifier, one Python file: read it, keep it, run it without us."""
    headers = {"content-disposition": 'attachment; filename="verify_log.py"'}
    text = Path(verifier.__file__).read_text(encoding="utf-8")
    return PythonFile(text, headers=headers)


class GroundBody(StrictBody):
    """Why it may be done: a kind, which is public, and a reference, which the log commits to."""

    basis: Basis = Field(strict=False)
    reference: Annotated[str, Field(min_length=1, max_length=500)]


class OpeningBody(GroundBody):
    """What to open: some entries, or all of one subject; with the administrator's own key."""

    key: Annotated[str, Field(min_length=1, max_length=200, repr=False)]
    entries: Annotated[list[Annotated[int, Field(ge=0, lt=2**53)]], Field(max_length=MOST)] = Field(
        default_factory=list
    )
    subject: Annotated[str, Field(max_length=200)] = ""


class ErasureBody(GroundBody):
    """Whose texts to drop."""

    subject: Annotated[str, Field(min_length=1, max_length=200)]


@router.post("/openings")
def open_texts(body: OpeningBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Open sealed texts; the opening is an entry before anything is shown."""
    ground = Ground(body.basis, body.reference)
    if body.subject:
        return here.openings.open_subject(caller, ground, body.key, body.subject)
    return {"entries": here.openings.open_entries(caller, ground, body.key, body.entries)}


@router.post("/erasures")
def erase(body: ErasureBody, here: Here, caller: Caller) -> dict[str, int]:
    """Drop salts, texts and key of one subject; the tree stays as it is."""
    erased = here.openings.erase(caller, Ground(body.basis, body.reference), body.subject)
    return {"entries": erased}


@router.post("/purges")
def purge(body: GroundBody, here: Here, caller: Caller) -> dict[str, int]:
    """Drop salts and texts whose time is over."""
    return {"entries": here.openings.purge(caller, Ground(body.basis, body.reference))}


def _no_such(error: ValueError) -> MarketplaceError:
    return MarketplaceError("NOT_FOUND", f"{error}.", "日志中没有该条目或该大小的树。")
