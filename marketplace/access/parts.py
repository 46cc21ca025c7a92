"""The services of this package, as `app` puts them together."""

from dataclasses import dataclass

from marketplace.access.grants import Grants
from marketplace.access.inbox import Inbox
from marketplace.access.overview import Overview
from marketplace.access.requests import Requests


@dataclass(frozen=True, slots=True)
class Access:
    """What the HTTP layer calls."""

    requests: Requests
    grants: Grants
    inbox: Inbox
    overview: Overview
