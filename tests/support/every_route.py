"""Every operation of the interface with an address and a body that fit it, over a filled lab."""

import json
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from marketplace.budgets.model import Shares
from marketplace.errors import MarketplaceError
from marketplace.identity.model import SEEDED
from marketplace.risk import store as risk_store
from marketplace.window import NEWEST
from privacy.dp.budget import Budget
from tests.support.marketplace import ask, digest, gateway_token, token
from tests.support.portal import PEOPLE, Lab, filled

NOBODY, STRANGER, GATEWAY = "nobody", "stranger", "gateway"
CALLERS = (NOBODY, STRANGER, GATEWAY, *(name for name, _, _ in SEEDED))
ABSENT = "0" * 32
"""An id of nothing."""
GROUND = {"basis": "incident", "reference": "case 1"}
TERMS = {"table": "social_insurance", "purposes": ["market-research"], "reason": "Employment."}
DIGEST = {"digest": digest("seen")}
VERDICT = {"verdict": "agree", "text_sha256": digest("seen")}
RESOURCE = {
    "code": "302009/000009",
    "title_zh": "样例",
    "title_en": "Sample",
    "theme": "tax",
    "update_cycle": "monthly",
    "share_type": "not",
    "open_type": "not",
    "items": [{"name": "x", "title_zh": "x", "title_en": "x", "logical_type": "string"}],
}
TABLES = [{"name": "tax_summary", "version": "v1"}]
VERSION = {
    "table": "tax_summary",
    "version": "v1",
    "contract_digest": digest("contract"),
    "manifest_digest": digest("manifest"),
}
RELEASE = {
    "digest": digest("x"),
    "domain": "enterprise",
    "cohorts": [2025],
    "micro_rho": 1,
    "delta_1e12": 0,
}
BODIES: dict[str, dict[str, Any]] = {
    "/access/grants/{grant_id}/renewals": {"reason": "Longer."},
    "/access/grants/{grant_id}/revocation": {"reason": "No more."},
    "/access/requests": TERMS,
    "/access/requests/{request_id}": TERMS,
    "/access/requests/{request_id}/approvals": VERDICT,
    "/access/requests/{request_id}/reviews": VERDICT,
    "/access/stand-ins": {"stand_in": "bureau-reviewer", "days": 3},
    "/access/stops": {"scope": "tenant", "target": "demo-firm", "reason": "Misuse."},
    "/budget/proposals": {
        "domain": "enterprise",
        "cohort": 2028,
        "cap": {"micro_rho": 10},
        "allotments": {},
        "reason": "More demand.",
    },
    "/budget/proposals/{proposal}/decision": {"text_sha256": digest("seen"), "approve": True},
    "/catalogue/regradings/{name}/decision": {"approve": False},
    "/catalogue/resources": RESOURCE,
    "/catalogue/resources/{id_}/regradings": {
        "field": "paid",
        "event": "many_people",
        "facts": {"people": 1},
        "evidence": "A count.",
    },
    "/catalogue/resources/{id_}/versions": RESOURCE,
    "/catalogue/resources/{id_}/versions/{number}": RESOURCE,
    "/catalogue/resources/{id_}/versions/{number}/examination": {**DIGEST, "approve": True},
    "/catalogue/resources/{id_}/versions/{number}/publish": DIGEST,
    "/catalogue/resources/{id_}/versions/{number}/submit": DIGEST,
    "/catalogue/resources/{id_}/versions/{number}/withdraw": DIGEST,
    "/contracts": {
        "tenant": "demo-enterprise",
        "parties": ["demo-enterprise", "bureau"],
        "purposes": ["market-research"],
        "resources": {"*": ["*"]},
        "lanes": ["dp"],
        "micro_rho": 10,
        "calls": 10,
        "starts": 1_800_000_000,
        "ends": 1_900_000_000,
    },
    "/contracts/{contract_id}/destruction": {"certificate_sha256": digest("certificate")},
    "/contracts/{contract_id}/signatures": {"text_sha256": digest("seen")},
    "/demands": {
        "title": "用水数据",
        "need": "Lending.",
        "purpose": "market-research",
        "lane": "dp",
    },
    "/demands/{demand_id}/{step}": {"provider": "hr-department"},
    "/funnel/{tenant}": {"stage": "contacted"},
    "/lake/versions": {"versions": [VERSION]},
    "/log/erasures": {**GROUND, "subject": "somebody unknown"},
    "/log/openings": {**GROUND, "key": "no key", "entries": [0]},
    "/log/purges": GROUND,
    "/releases/{reservation_id}": {"fencing_token": "x", "items": [], "tables": TABLES},
    "/reservations": {
        "operation_id": "matrix",
        "user": "analyst",
        "tenant": "demo-enterprise",
        "purpose": "market-research",
        "epsilon": "0.5",
        "tables": TABLES,
        "plan_digest": digest("x"),
        "items": [RELEASE],
    },
    "/reservations/{reservation_id}/failed": {"fencing_token": "x"},
    "/reservations/{reservation_id}/nothing-read": {"fencing_token": "x", "attestation": "x"},
    "/risk/events/{event_id}/assignment": {"handler": "bureau-reviewer"},
    "/risk/events/{event_id}/closing": {"comment": "Seen.", "disposal": "confirmed"},
    "/risk/events/{event_id}/comments": {"comment": "Seen."},
    "/risk/events/{event_id}/stop": {"comment": "Stopped."},
    "/sessions": {"token": "x" * 40},
}
"""A body that fits, by path."""
QUERIES = {
    "GET /access/drafts": "?table=tax_summary",
    "GET /budget": "?domain=enterprise",
    "GET /tenants/{tenant}/budget": "?domain=enterprise",
    "PUT /catalogue/resources/{id_}/versions/{number}/file": "?form=csv",
}
OPEN = ("/log/checkpoint", "/log/consistency/{old_size}", "/log/proofs/{index}", "/log/verifier")
"""What anybody may read without a token: the log proves itself to strangers."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the document."""

    method: str
    path: str
    """Without the prefix of the version; parameters in braces."""

    @property
    def label(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def names_an_object(self) -> bool:
        """Say whether an id in the address can be one of nothing."""
        fixed = ("/log/", "/tenants/", "/funnel/", "/reports/")
        return "{" in self.path and not self.path.startswith(fixed)

    def send(
        self, client: httpx.Client, objects: dict[str, str], headers: dict[str, str]
    ) -> httpx.Response:
        """Send the operation to an object with a body that fits."""
        path = self.path.replace("/reports/{name}", "/reports/ledger")
        address = "/api/v1" + path.format(**objects) + QUERIES.get(self.label, "")
        if self.path.endswith("/file") and self.method == "PUT":
            return client.put(address, content=b"x\n1\n", headers=headers)
        body = BODIES.get(self.path) if self.method != "GET" else None
        return client.request(self.method, address, json=body, headers=headers)


def operations(client: httpx.Client) -> list[Operation]:
    """Return all operations: what reads first, and what takes access away last."""
    document = client.get("/api/openapi.json").json()
    found = [
        Operation(method.upper(), path.removeprefix("/api/v1"))
        for path, methods in document["paths"].items()
        for method in methods
    ]
    last = ("/revocation", "/stops", "/erasures", "/purges", "/stop")
    return sorted(found, key=lambda o: (o.method != "GET", o.path.endswith(last), o.path, o.method))


def objects(lab: Lab) -> dict[str, str]:
    """Fill a lab; return one object of each kind, by the name of its parameter."""
    market = lab.market
    made = filled(market)
    with pytest.raises(MarketplaceError):
        market.releases.reserve(ask("refused", purpose="curiosity"))
    market.watch.judge()
    reviewer, analyst = PEOPLE["bureau-reviewer"], PEOPLE["analyst"]
    shares = Shares(Budget(500, 50), {})
    proposal = market.proposals.propose(reviewer, "enterprise", 2027, shares, "More demand.")
    with market.database.reading() as connection:
        event = risk_store.latest(connection, None, NEWEST)[0].id
    with httpx.Client(base_url=lab.url, headers=bearer(lab, "analyst")) as client:
        question = next(q for q in client.get("/api/v1/queries").json() if q["receipt_id"])
        grant = client.get("/api/v1/access/grants").json()[0]["id"]
    with httpx.Client(base_url=lab.url, headers=bearer(lab, "hr-provider")) as client:
        notice = client.get("/api/v1/access/notices").json()[0]["id"]
    changes = market.publishing.regradings.history(PEOPLE["tax-provider"], made["resource"])
    return {
        "request_id": made["request"],
        "grant_id": grant,
        "notice_id": notice,
        "stop_id": made["stop"],
        "proposal": proposal.id,
        "name": changes[0].id,
        "id_": made["resource"],
        "number": "1",
        "contract_id": made["contract"],
        "demand_id": made["demand"],
        "step": "withdraw",
        "tenant": analyst.tenant,
        "event_id": event,
        "index": "0",
        "old_size": "1",
        "release_id": question["release_ids"][0],
        "reservation_id": question["reservation_id"],
        "receipt_id": question["receipt_id"],
        "table": "tax_summary",
    }


def absent(present: dict[str, str]) -> dict[str, str]:
    """Return the same addresses with ids of nothing."""
    kept = ("number", "step", "index", "old_size", "tenant")
    return {
        k: v if k in kept else ("nothing" if k == "table" else ABSENT) for k, v in present.items()
    }


def bearer(lab: Lab, caller: str) -> dict[str, str]:
    """Return the header that a caller sends."""
    match caller:
        case "nobody":
            return {}
        case "stranger":
            return {"authorization": "Bearer a-token-of-nobody"}
        case "gateway":
            return {"authorization": f"Bearer {gateway_token(lab.settings)}"}
    return {"authorization": f"Bearer {token(lab.settings, caller)}"}


def verdict(response: httpx.Response) -> str:
    """Return what a caller learns of its rights: the refusal's code, or `open`."""
    if response.status_code in (401, 403, 404):
        return str(json.loads(response.content)["code"])
    assert response.status_code < 500, response.text
    return "open"
