"""The log as static files below `/log/`: what any web server could serve from the home's folder.

Checkpoint, keys and hashes are public; bundles hold entries, which auditors read by role, and that
they looked is an entry (soundness F.29). Source: C2SP tlog-tiles.
"""

import re

from fastapi import APIRouter, Request, Response

from marketplace.audit.verifier import Directory, Problem, read_tile, tile_path
from marketplace.errors import MarketplaceError
from marketplace.http import Here, caller_of

router = APIRouter(prefix="/log", include_in_schema=False)

TILE = re.compile(
    r"(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?",
    re.ASCII,
)
FOREVER = {"cache-control": "public, max-age=31536000, immutable"}
BRIEFLY = {"cache-control": "no-store"}


@router.get("/checkpoint")
def checkpoint(here: Here) -> Response:
    """Return the newest signed checkpoint."""
    return Response(here.log.head.note, media_type="text/plain; charset=utf-8", headers=BRIEFLY)


@router.get("/checkpoint.witnessed")
def witnessed(here: Here) -> Response:
    """Return the newest checkpoint that witnesses signed too."""
    if here.log.witnessed is None:
        raise _no_such_file()
    note = here.log.witnessed.note
    return Response(note, media_type="text/plain; charset=utf-8", headers=BRIEFLY)


@router.get("/vkey")
def vkey(here: Here) -> Response:
    """Return the keys that sign the log, one a line."""
    return _file(here, "vkey")


@router.get("/subjects.pem")
def subjects(here: Here) -> Response:
    """Return the public key under which subjects are enrolled."""
    return _file(here, "subjects.pem")


@router.get("/tile/{path:path}")
def tile(path: str, request: Request, here: Here) -> Response:
    """Return a tile of hashes to anyone, a bundle of entries to auditors."""
    match = TILE.fullmatch(path)
    if match is None:
        raise _no_such_file()
    place, index = match[1], int(match[2].replace("x", "").replace("/", ""))
    width = int(match[3] or 256)
    if tile_path(place, index, width) != f"tile/{path}":
        raise _no_such_file()
    headers = FOREVER
    if place == "entries":
        here.readings.entries(caller_of(here, request.headers.get("authorization", "")))
        headers = {"cache-control": "private, no-store"}
    # Answers for what a checkpoint covers only: files beyond it are being written.
    count = here.log.head.checkpoint.size >> (0 if place == "entries" else 8 * int(place))
    if not 0 < width <= min(256, count - index * 256):
        raise _no_such_file()
    try:
        _, data = read_tile(Directory(here.log.folder), place, index, width)
    except Problem as problem:
        raise _no_such_file() from problem
    return Response(data, media_type="application/octet-stream", headers=headers)


def _file(here: Here, name: str) -> Response:
    data = (here.log.folder / name).read_bytes()
    return Response(data, media_type="text/plain; charset=utf-8", headers=BRIEFLY)


def _no_such_file() -> MarketplaceError:
    return MarketplaceError(
        "NOT_FOUND", "The log has no such file at this size.", "当前大小的日志没有该文件。"
    )
