"""Sessions over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from marketplace.http import GATEWAY_ONLY, Here, StrictBody

router = APIRouter(prefix="/sessions", tags=["sessions"], dependencies=[GATEWAY_ONLY])


class TokenBody(StrictBody):
    """A user's bearer token, passed on by the gateway."""

    token: Annotated[str, Field(min_length=8, max_length=4096)]


@router.post("")
def open_session(body: TokenBody, here: Here) -> dict[str, Any]:
    """Return who holds a token, and what that organisation may ask."""
    session = here.sessions.open(body.token)
    return {
        "user": session.person.user,
        "tenant": session.person.tenant,
        "roles": list(session.person.roles),
        "language": session.person.language,
        "etag": session.etag,
        "tables": {
            name: {
                "purposes": list(g.purposes),
                "epsilon_default": g.epsilon_default,
                "epsilon_max": g.epsilon_max,
            }
            for name, g in session.grants.items()
        },
    }
