"""Reports of the gateway about the lake, over HTTP."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from marketplace.http import GATEWAY_ONLY, Here, StrictBody
from marketplace.ingests.store import Stored

router = APIRouter(tags=["lake"])

Name = Annotated[str, Field(min_length=1, max_length=64)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class VersionBody(StrictBody):
    """A version of a table that is current in the lake."""

    table: Name
    version: Annotated[str, Field(min_length=1, max_length=80)]
    contract_digest: Digest
    manifest_digest: Digest


class VersionsBody(StrictBody):
    """What the gateway found."""

    versions: Annotated[list[VersionBody], Field(min_length=1, max_length=1_000)]


@router.post("/lake/versions", dependencies=[GATEWAY_ONLY])
def report(body: VersionsBody, here: Here) -> dict[str, int]:
    """Log versions that were not reported before; the same again changes nothing."""
    seen = [Stored(v.table, v.version, v.contract_digest, v.manifest_digest) for v in body.versions]
    return {"logged": here.ingests.report(seen)}
