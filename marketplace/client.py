"""The marketplace over HTTP, typed: the only module of this side that the sandbox may import."""

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx

MOST_VERSIONS = 1_000
"""Of one report."""

DENIAL_MEMBERS = ("policy", "resource", "nearest", "nearest_zh")


class MarketplaceProblem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """A refusal or failure, with its code and both sentences."""

    def __init__(
        self,
        code: str,
        en: str,
        zh: str,
        status: int = 503,
        more: Mapping[str, str] | None = None,
    ) -> None:
        """Keep what a person is told, and the HTTP status (503 when there was no answer).

        `more`: of a denial by policy the members policy, resource, nearest and nearest_zh.
        """
        self.code, self.en, self.zh, self.status = code, en, zh, status
        self.more: Mapping[str, str] = more or {}
        super().__init__(en)


@dataclass(frozen=True, slots=True)
class Grant:
    """What an organisation may ask of one table."""

    purposes: tuple[str, ...]
    epsilon_default: float
    epsilon_max: float


@dataclass(frozen=True, slots=True)
class SessionView:
    """Who holds a token, and what may be asked."""

    user: str
    tenant: str
    roles: tuple[str, ...]
    language: str
    tables: Mapping[str, Grant]
    etag: str = ""
    """Changes when anything of the above does."""


@dataclass(frozen=True, slots=True)
class WantedItem:
    """One release to reserve."""

    digest: str
    domain: str
    cohorts: tuple[int, ...]
    micro_rho: int
    delta_1e12: int
    mechanism: str = ""
    """Names and versions of its mechanisms; a stored answer of another version is not taken."""


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version of a table that is current in the lake; digests are SHA-256, hexadecimal."""

    table: str
    version: str
    contract_digest: str
    manifest_digest: str


@dataclass(frozen=True, slots=True)
class HeldItem:
    """One release of a reservation; `release_id` is set when its bytes are stored already."""

    digest: str
    release_id: str | None
    charged_micro_rho: int


@dataclass(frozen=True, slots=True)
class Held:
    """A reservation."""

    reservation_id: str
    fencing_token: str
    state: str
    items: tuple[HeldItem, ...]


@dataclass(frozen=True, slots=True)
class MadeItem:
    """A computed release."""

    digest: str
    answer: bytes
    mechanism: str
    """JSON without floats: the parameters of every draw, a list of objects."""


@dataclass(frozen=True, slots=True)
class BudgetLeft:
    """A tenant's remaining budget of one domain."""

    micro_rho: int
    """The least over the cohorts charged so far."""
    epsilon: str
    """The epsilon of one question that would spend all of it."""
    delta_1e12: int = 0
    spent_epsilon: str = "0"
    """The largest loss of a cohort so far, as epsilon at the domain's delta."""
    cohorts: Mapping[int, int] = field(default_factory=dict)
    """micro-rho left of each cohort charged so far; any other has the whole allotment."""


@dataclass(frozen=True, slots=True)
class Committed:
    """Committed releases: digest to release id, the receipt, and what is left by domain."""

    releases: Mapping[str, str]
    receipt: Mapping[str, str | int]
    left: Mapping[str, BudgetLeft] = field(default_factory=dict)
    proofs: Mapping[str, str] = field(default_factory=dict)
    """Release id to its `tlog-proof`."""
    answers: Mapping[str, bytes] = field(default_factory=dict)
    """Release id to its bytes, read back after the commit, of small answers."""


class MarketplaceClient:
    """Calls of the gateway, with its service token, over one kept connection pool."""

    def __init__(self, base_url: str, service_token: str, *, timeout_seconds: float = 30.0) -> None:
        """Connect lazily to `base_url`."""
        self._http = httpx.Client(
            base_url=base_url,
            headers={"authorization": f"Bearer {service_token}"},
            timeout=timeout_seconds,
        )

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def session(self, token: str) -> SessionView:
        """Return who holds `token`; problem AUTHENTICATION if nobody does."""
        data = self._call("POST", "/api/v1/sessions", {"token": token})
        tables = {
            n: Grant(tuple(g["purposes"]), g["epsilon_default"], g["epsilon_max"])
            for n, g in data["tables"].items()
        }
        return SessionView(
            data["user"],
            data["tenant"],
            tuple(data["roles"]),
            data["language"],
            tables,
            data["etag"],
        )

    def report_versions(self, seen: Sequence[StoredVersion]) -> None:
        """Let the log know which versions are current; the same again changes nothing.

        Problem VERSION_CONTRADICTED if one was reported with other digests before.
        """
        for start in range(0, len(seen), MOST_VERSIONS):
            some = [asdict(v) for v in seen[start : start + MOST_VERSIONS]]
            self._call("POST", "/api/v1/lake/versions", {"versions": some})

    def reserve(  # noqa: PLR0913 - the fields of one request
        self,
        *,
        operation_id: str,
        user: str,
        tenant: str,
        purpose: str,
        epsilon: str,
        tables: Mapping[str, str],
        plan_digest: str,
        items: Sequence[WantedItem],
        fields: Mapping[str, Collection[str]] | None = None,
    ) -> Held:
        """Spend the budget of an answer that uses these fields; unsaid, it may use any."""
        data = self._call(
            "POST",
            "/api/v1/reservations",
            {
                "operation_id": operation_id,
                "user": user,
                "tenant": tenant,
                "purpose": purpose,
                "epsilon": epsilon,
                "tables": _tables(tables, fields or {}),
                "plan_digest": plan_digest,
                "items": [
                    {
                        "digest": i.digest,
                        "domain": i.domain,
                        "cohorts": list(i.cohorts),
                        "micro_rho": i.micro_rho,
                        "delta_1e12": i.delta_1e12,
                        "mechanism": i.mechanism,
                    }
                    for i in items
                ],
            },
        )
        held = tuple(
            HeldItem(i["digest"], i["release_id"], i["charged_micro_rho"]) for i in data["items"]
        )
        return Held(data["reservation_id"], data["fencing_token"], data["state"], held)

    def record(self, held: Held, made: Sequence[MadeItem], tables: Mapping[str, str]) -> Committed:
        """Commit the computed releases of a reservation."""
        data = self._call(
            "PUT",
            f"/api/v1/releases/{held.reservation_id}",
            {
                "fencing_token": held.fencing_token,
                "items": [
                    {
                        "digest": m.digest,
                        "answer_b64": base64.b64encode(m.answer).decode(),
                        "mechanism": m.mechanism,
                    }
                    for m in made
                ],
                "tables": _tables(tables, {}),
            },
        )
        return _committed(data)

    def recorded(self, reservation_id: str) -> Committed:
        """Return the committed releases of a reservation."""
        data = self._call("GET", f"/api/v1/reservations/{reservation_id}/releases")
        return _committed(data)

    def nothing_read(self, held: Held, attestation: str = "nothing was read") -> None:
        """Refund an open reservation for which nothing was read.

        Problem REFUND_REFUSED if another process held the reservation before: it may have read.
        """
        body = {**_fence(held), "attestation": attestation}
        self._call("POST", f"/api/v1/reservations/{held.reservation_id}/nothing-read", body)

    def failed(self, held: Held) -> None:
        """Close a reservation whose computation failed."""
        self._call("POST", f"/api/v1/reservations/{held.reservation_id}/failed", _fence(held))

    def answer(self, tenant: str, release_id: str) -> bytes:
        """Return the committed bytes of a release."""
        return self._send("GET", f"/api/v1/tenants/{tenant}/releases/{release_id}/answer").content

    def budget(self, tenant: str, domain: str) -> BudgetLeft:
        """Return a tenant's remaining budget."""
        path = f"/api/v1/tenants/{tenant}/budget"
        return _left(self._send("GET", path, params={"domain": domain}).json())

    def queries(self, token: str) -> tuple[Mapping[str, Any], ...]:
        """Return the questions of a token's holder, newest first."""
        return tuple(self._send("GET", "/api/v1/queries", headers=_bearer(token)).json())

    def receipt(self, token: str, receipt_id: str) -> Mapping[str, Any]:
        """Return a receipt with its proofs, by its id or a release's, to the token's holder."""
        path = f"/api/v1/receipts/{receipt_id}"
        found: dict[str, Any] = self._send("GET", path, headers=_bearer(token)).json()
        return found

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self._send(method, path, json=body).json()
        return found

    def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:  # noqa: ANN401  # httpx's own
        answer = self._answered(method, path, **parts)
        if answer.is_success:
            return answer
        try:
            problem = answer.json()
            told = problem["code"], problem["detail"], problem["detail_zh"]
            more = {n: str(problem[n]) for n in DENIAL_MEMBERS if n in problem}
        except (ValueError, KeyError, TypeError) as error:
            raise MarketplaceProblem(
                "SERVICE_UNAVAILABLE",
                f"The marketplace answered with status {answer.status_code}. Nothing was released.",
                f"交易平台返回状态 {answer.status_code}，未发布任何结果。",
                answer.status_code,
            ) from error
        raise MarketplaceProblem(*told, answer.status_code, more)

    def _answered(self, method: str, path: str, **parts: Any) -> httpx.Response:  # noqa: ANN401  # httpx's own
        """Return the answer; a connection that broke is tried once more.

        Every call here may be repeated: an operation is charged once, a record is written once.
        """
        try:
            try:
                return self._http.request(method, path, **parts)
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                return self._http.request(method, path, **parts)
        except httpx.HTTPError as error:
            raise MarketplaceProblem(
                "SERVICE_UNAVAILABLE",
                "The marketplace does not answer. Nothing was released; try again in a moment.",
                "交易平台没有响应，未发布任何结果，请稍后重试。",
            ) from error


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _committed(data: Mapping[str, Any]) -> Committed:
    left = {b["domain"]: _left(b) for b in data["budget"]}
    answers = {r: base64.b64decode(text) for r, text in data["answers_b64"].items()}
    return Committed(data["releases"], data["receipt"], left, data["proofs"], answers)


def _left(data: Mapping[str, Any]) -> BudgetLeft:
    return BudgetLeft(
        micro_rho=data["micro_rho"],
        epsilon=data["epsilon"],
        delta_1e12=data["delta_1e12"],
        spent_epsilon=data["spent_epsilon"],
        cohorts={int(c): b["micro_rho"] for c, b in data["cohorts"].items()},
    )


def _tables(
    tables: Mapping[str, str], fields: Mapping[str, Collection[str]]
) -> list[dict[str, object]]:
    return [
        {"name": n, "version": v, **({"fields": sorted(fields[n])} if n in fields else {})}
        for n, v in sorted(tables.items())
    ]


def _fence(held: Held) -> dict[str, str]:
    return {"fencing_token": held.fencing_token}
