"""Errors of the marketplace, and the one table that turns them into HTTP problems (RFC 9457)."""

from collections.abc import Mapping


class MarketplaceError(Exception):
    """A request that is refused: a stable code, and one sentence in two languages."""

    def __init__(self, code: str, en: str, zh: str) -> None:
        """Keep what callers and people need."""
        self.code, self.en, self.zh = code, en, zh
        super().__init__(en)


STATUS: Mapping[str, int] = {
    "AUTHENTICATION": 401,
    "FORBIDDEN": 403,
    "GRANT_REVOKED": 403,
    "PURPOSE_REFUSED": 403,
    "UNKNOWN_TABLE": 404,
    "NOT_FOUND": 404,
    "ANSWER_DIFFERS": 409,
    "BUDGET_EXHAUSTED": 409,
    "OPERATION_MISMATCH": 409,
    "REFUND_REFUSED": 409,
    "RESERVATION_CLOSED": 409,
    "VERSION_CHANGED": 409,
    "BAD_REQUEST": 422,
    "EPSILON_TOO_LARGE": 422,
    "LOG_DAMAGED": 503,
    "LOG_UNAVAILABLE": 503,
}
"""HTTP status by code; a code that is missing here is a server error."""
