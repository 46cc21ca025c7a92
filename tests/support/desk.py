"""People of the access workflow over HTTP, each with a token of one's own."""

from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.marketplace import Running, token

HTTP = httpx.Client(timeout=30)
"""Shared: a client of its own for each call costs more than the call."""

WANTED = {
    "table": "social_insurance",
    "purposes": ["market-research"],
    "epsilon_default": "0.5",
    "epsilon_max": "1",
    "days": 30,
    "reason": "Employment by district.",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """One person at one marketplace."""

    server: Running
    user: str

    def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {token(self.server.settings, self.user)}"}
        url = f"{self.server.url}/api/v1{path}"
        return HTTP.request(method, url, json=body, headers=headers)

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None) -> Any:
        answer = self.call("POST", path, body)
        assert answer.is_success, answer.text
        return answer.json()

    def refused(self, method: str, path: str, body: Any = None) -> str:
        """Return the code of a refusal."""
        answer = self.call(method, path, body)
        assert not answer.is_success, answer.text
        problem = answer.json()
        assert problem["detail"], problem
        assert problem["detail_zh"], problem
        return str(problem["code"])

    def judge(self, request: dict[str, Any], step: str, verdict: str = "agree") -> Any:
        """Review or approve the text that `request` shows."""
        body = {"verdict": verdict, "text_sha256": request["text_sha256"], "comment": "read"}
        return self.post(f"/access/requests/{request['id']}/{step}", body)
