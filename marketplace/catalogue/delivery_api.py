"""A provider's file over HTTP: read in pieces into a private file, then handed to the lake."""

import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool

from marketplace.catalogue.api import Number, ResourceId, actor_of, provider
from marketplace.catalogue.lake import Encoding, Form
from marketplace.errors import MarketplaceError
from marketplace.http import Caller, Here

router = APIRouter(prefix="/catalogue", tags=["catalogue"])

MAX_FILE_BYTES = 64 * 2**20
"""More is delivered by `lab ingest` on the lab's own machine."""

_FILE = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.put("/resources/{id_}/versions/{number}/file", openapi_extra=_FILE)
async def deliver(  # one delivery
    id_: ResourceId,
    number: Number,
    form: Annotated[Form, Query()],
    request: Request,
    here: Here,
    caller: Caller,
    encoding: Annotated[Encoding, Query()] = Encoding.UTF_8,
) -> dict[str, Any]:
    """Deliver the rows of a draft's table as one file; return the ingest report."""
    deliveries, actor = here.publishing.deliveries, provider(caller)
    # Whoever may not deliver is refused before anything is read.
    file = await run_in_threadpool(deliveries.spool, actor, id_, number, form)
    try:
        await _read(request, file)
        found = await run_in_threadpool(
            partial(deliveries.deliver, actor, id_, number, file, encoding)
        )
    finally:
        file.unlink(missing_ok=True)
    return asdict(found)


@router.get("/resources/{id_}/versions/{number}/file")
def report(id_: ResourceId, number: Number, here: Here, caller: Caller) -> dict[str, Any]:
    """Return the ingest report of what was delivered, to its provider."""
    return asdict(here.publishing.deliveries.report(actor_of(caller), id_, number))


async def _read(request: Request, file: Path) -> None:
    """Write the body into a file that only the lab's account reads; refuse more than the limit."""
    size = 0
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        async for piece in request.stream():
            size += len(piece)
            if size > MAX_FILE_BYTES:
                raise MarketplaceError(
                    "FILE_TOO_LARGE",
                    f"A file over HTTP has at most {MAX_FILE_BYTES // 2**20} MiB, so nothing was "
                    "kept. Deliver it in Parquet, or have the operator run `lab ingest`.",
                    f"网上交付的文件不得超过 {MAX_FILE_BYTES // 2**20} MiB，未保存任何内容。"
                    "请改用 Parquet，或由运营方使用 lab ingest 导入。",
                )
            await run_in_threadpool(output.write, piece)
    if size == 0:
        raise MarketplaceError("FILE_REFUSED", "The file is empty.", "文件为空。")
