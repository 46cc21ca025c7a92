"""Errors of the marketplace, and the one table that turns them into HTTP problems (RFC 9457)."""

from collections.abc import Mapping

from marketplace.policy.model import Decision


class MarketplaceError(Exception):
    """A request that is refused: a stable code, and one sentence in two languages."""

    def __init__(self, code: str, en: str, zh: str) -> None:
        """Keep what callers and people need."""
        self.code, self.en, self.zh = code, en, zh
        super().__init__(en)


class AccessDeniedError(MarketplaceError):
    """A denial by policy, with the decision behind it."""

    def __init__(self, denial: Decision, made: tuple[Decision, ...] = ()) -> None:
        """Keep the denial, and all `made` with it (for the record)."""
        self.denial, self.made = denial, made or (denial,)
        super().__init__(denial.code, str(denial.en), str(denial.zh))


STATUS: Mapping[str, int] = {
    "AUTHENTICATION": 401,
    "FORBIDDEN": 403,
    "GRANT_REVOKED": 403,
    "PURPOSE_REFUSED": 403,
    "ACCESS_STOPPED": 403,
    "AUTHORITY_LEVEL": 403,
    "CONSENT_MISSING": 403,
    "CONTRACT_REFUSED": 403,
    "CONTRACT_USED_UP": 403,
    "FIELD_REFUSED": 403,
    "GRADE_PATH": 403,
    "GRANT_EXPIRED": 403,
    "NEGATIVE_LIST": 403,
    "OWN_REQUEST": 403,
    "POLICY_FAILED": 403,
    "ROLE_REFUSED": 403,
    "SAME_ORGANISATION": 403,
    "SAME_PERSON": 403,
    "TYPE_REFUSED": 403,
    "UNKNOWN_TABLE": 404,
    "METHOD_NOT_ALLOWED": 405,
    "NOT_FOUND": 404,
    "ANSWER_DIFFERS": 409,
    "BUDGET_EXHAUSTED": 409,
    "BUDGET_FIXED": 409,
    "OPERATION_MISMATCH": 409,
    "REFUND_REFUSED": 409,
    "RESERVATION_CLOSED": 409,
    "VERSION_CHANGED": 409,
    "VERSION_CONTRADICTED": 409,
    "VERSION_UNREPORTED": 409,
    "ALREADY_DECIDED": 409,
    "ALREADY_DEMANDED": 409,
    "NOT_GRANTED": 409,
    "TEXT_CHANGED": 409,
    "WRONG_STATE": 409,
    "CODE_TAKEN": 409,
    "CONTENT_CHANGED": 409,
    "GRADE_UNCHANGED": 409,
    "NO_CONTRACT": 409,
    "FILE_REFUSED": 422,
    "FILE_TOO_LARGE": 413,
    "BODY_TOO_LARGE": 413,
    "PRECONDITION_FAILED": 412,
    "KEY_REUSED": 422,
    "OUTCOME_UNKNOWN": 409,
    "INTERNAL": 500,
    "SERVICE_UNAVAILABLE": 503,
    "LAKE_UNAVAILABLE": 503,
    "FONT_MISSING": 503,
    "GRADE_NOT_ADMITTED": 422,
    "BAD_REQUEST": 422,
    "EPSILON_TOO_LARGE": 422,
    "LOG_DAMAGED": 503,
    "LOG_UNAVAILABLE": 503,
    "TOO_MANY_REQUESTS": 429,
}
"""HTTP status by code; a code that is missing here is a server error."""
