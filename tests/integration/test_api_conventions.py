"""Pages, entity tags, idempotency keys and problems: what all routes of the API share."""

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from marketplace.access.store import requests
from marketplace.audit.entry import Event
from marketplace.idempotency import middleware, store
from marketplace.idempotency.key import Answer, Key
from tests.support.every_route import BODIES, bearer
from tests.support.portal import PEOPLE, Lab, demanded, opened, requested

ASK = BODIES["/access/requests"]
KEYED = "/api/v1/access/requests"
UNPAGED = {
    "/api/v1/budget/questions",  # the last twenty
    "/api/v1/catalogue/classes",  # sixty by policy
}
"""Lists that are short by their nature."""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with opened(tmp_path / "home") as found:
        yield found


@pytest.fixture
def client(lab: Lab) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=lab.url, headers=bearer(lab, "analyst")) as found:
        yield found


def written(lab: Lab) -> int:
    with lab.market.database.reading() as connection:
        return connection.execute(select(func.count()).select_from(requests)).scalar_one()


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["detail"]
    assert body["detail_zh"]
    return answer.status_code, body["code"]


def test_pages_follow_each_other_by_their_links_and_hold_every_row_once(
    lab: Lab, client: httpx.Client
) -> None:
    made = [demanded(lab.market, f"Data of kind {n}") for n in range(7)]
    seen: list[str] = []
    path = "/api/v1/demands?size=3&state=submitted"
    pages = 0
    while path:
        answer = client.get(path)
        seen += [d["id"] for d in answer.json()]
        pages += 1
        if pages > 1:
            assert answer.links["prev"]["url"]
            assert "page=1" in answer.links["first"]["url"]
        path = answer.links.get("next", {}).get("url", "")
        assert not path or "state=submitted" in path
    assert pages == 3
    assert seen == list(reversed(made))
    assert client.get("/api/v1/demands?page=4&size=3").json() == []
    for wrong in ("page=0", "size=0", "size=501", "page=x", "page=10001"):
        assert code(client.get(f"/api/v1/demands?{wrong}")) == (422, "BAD_REQUEST")


@pytest.mark.parametrize(
    ("path", "user"),
    [
        ("/policy/decisions", "analyst"),
        ("/access/notices", "hr-provider"),
        ("/access/requests", "analyst"),
    ],
)
def test_lists_that_grow_are_paged_by_the_database(lab: Lab, path: str, user: str) -> None:
    for _ in range(5):
        requested(lab.market)
    with httpx.Client(base_url=lab.url, headers=bearer(lab, user)) as client:
        whole = [json.dumps(r) for r in client.get(f"/api/v1{path}").json()]
        found: list[str] = []
        for page in (1, 2, 3, 4):
            part = client.get(f"/api/v1{path}?page={page}&size=2").json()
            assert len(part) <= 2
            found += [json.dumps(r) for r in part if json.dumps(r) not in found]
    assert found == whole[:8]


def test_every_list_has_pages(client: httpx.Client) -> None:
    document = client.get("/api/openapi.json").json()
    lists = 0
    for path, methods in document["paths"].items():
        found = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        schema = found.get("application/json", {}).get("schema", {})
        if schema.get("type") != "array" or path in UNPAGED:
            continue
        names = {p["name"] for p in methods["get"]["parameters"]}
        assert {"page", "size", "If-None-Match"} <= names, path
        lists += 1
    assert lists > 15


def test_what_a_caller_has_is_not_sent_again(lab: Lab, client: httpx.Client) -> None:
    first = client.get("/api/v1/demands")
    assert first.headers["cache-control"] == "private, no-cache"
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = client.get("/api/v1/demands", headers={"if-none-match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    demanded(lab.market)
    changed = client.get("/api/v1/demands", headers={"if-none-match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag
    refusal = client.get("/api/v1/risk/events", headers={"if-none-match": "*"})
    assert code(refusal) == (403, "ROLE_REFUSED")


def test_nobody_edits_a_request_that_one_has_not_read(lab: Lab, client: httpx.Client) -> None:
    made = requested(lab.market)
    path = f"{KEYED}/{made.id}"
    tag = client.get(path).headers["etag"]
    mine = {**ASK, "reason": "Mine."}
    assert client.put(path, json=mine, headers={"if-match": f'"x.1", {tag}'}).status_code == 200
    before = lab.events(Event.REQUEST_EDITED)
    late = client.put(path, json={**ASK, "reason": "Late."}, headers={"if-match": tag})
    assert code(late) == (412, "PRECONDITION_FAILED")
    assert client.get(path).json()["terms"]["reason"] == "Mine."
    assert lab.events(Event.REQUEST_EDITED) == before
    for now in ({}, {"if-match": "*"}):
        assert client.put(path, json=mine, headers=now).status_code == 200


def test_of_edits_of_one_reading_one_is_taken(lab: Lab, client: httpx.Client) -> None:
    path = f"{KEYED}/{requested(lab.market).id}"
    tag = client.get(path).headers["etag"]

    def edit(n: int) -> int:
        body = {**ASK, "reason": f"Number {n}."}
        return client.put(path, json=body, headers={"if-match": tag}).status_code

    with ThreadPoolExecutor(8) as threads:
        found = sorted(threads.map(edit, range(8)))
    assert found == [200] + [412] * 7


def test_nobody_edits_a_draft_that_one_has_not_read(lab: Lab) -> None:
    content = BODIES["/catalogue/resources"]
    with httpx.Client(base_url=lab.url, headers=bearer(lab, "tax-provider")) as client:
        id_ = client.post("/api/v1/catalogue/resources", json=content).json()["id"]
        path = f"/api/v1/catalogue/resources/{id_}/versions/1"
        tag = client.get(path).headers["etag"]
        other = {**content, "title_en": "Another"}
        assert client.put(path, json=other, headers={"if-match": tag}).status_code == 200
        late = client.put(path, json=content, headers={"if-match": tag})
        assert code(late) == (412, "PRECONDITION_FAILED")
        assert client.get(path).json()["title_en"] == "Another"


def test_a_request_under_one_key_is_carried_out_once(lab: Lab, client: httpx.Client) -> None:
    key = {"idempotency-key": f'"{uuid.uuid4()}"'}
    first = client.post(KEYED, json=ASK, headers=key)
    again = client.post(KEYED, json=ASK, headers=key)
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert written(lab) == 1
    other = client.post(KEYED, json={**ASK, "days": 3}, headers=key)
    assert code(other) == (422, "KEY_REUSED")
    elsewhere = client.post("/api/v1/demands", json=BODIES["/demands"], headers=key)
    assert code(elsewhere) == (422, "KEY_REUSED")
    assert written(lab) == 1
    with httpx.Client(base_url=lab.url, headers=bearer(lab, "bank-risk")) as bank:
        assert bank.post(KEYED, json=ASK, headers=key).status_code == 201, "another's key"
    assert client.post(KEYED, json=ASK).status_code == 201, "without a key, as before"
    assert written(lab) == 3


def test_of_requests_at_once_under_one_key_one_is_carried_out(
    lab: Lab, client: httpx.Client
) -> None:
    key = {"idempotency-key": str(uuid.uuid4())}

    def send(_: int) -> tuple[int, str]:
        answer = client.post(KEYED, json=ASK, headers=key)
        return answer.status_code, answer.json().get("code", "")

    with ThreadPoolExecutor(12) as threads:
        found = set(threads.map(send, range(12)))
    assert found <= {(201, ""), (409, "OUTCOME_UNKNOWN")}
    assert (201, "") in found
    assert written(lab) == 1


def test_a_lost_answer_is_said_to_be_lost_and_nothing_is_done_twice(
    lab: Lab, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash between the deed's commit and the answer's."""
    key = {"idempotency-key": str(uuid.uuid4())}
    monkeypatch.setattr(store, "answer", lambda *_: None)
    assert client.post(KEYED, json=ASK, headers=key).status_code == 201
    monkeypatch.undo()
    assert code(client.post(KEYED, json=ASK, headers=key)) == (409, "OUTCOME_UNKNOWN")
    assert written(lab) == 1


def test_a_refusal_under_a_key_is_an_entry_once(lab: Lab, client: httpx.Client) -> None:
    key = {"idempotency-key": str(uuid.uuid4())}
    stop = {"scope": "tenant", "target": "demo-firm", "reason": "x"}
    before = lab.events(Event.ACCESS_DENIED)
    answers = [client.post("/api/v1/access/stops", json=stop, headers=key) for _ in range(3)]
    assert {code(a) for a in answers} == {(403, "ROLE_REFUSED")}
    assert lab.events(Event.ACCESS_DENIED) == before + 1


def test_what_committed_nothing_may_be_sent_again_under_its_key(
    lab: Lab, client: httpx.Client
) -> None:
    key = {"idempotency-key": str(uuid.uuid4())}
    wrong = client.post(KEYED, json={**ASK, "days": 0}, headers=key)
    assert code(wrong) == (422, "BAD_REQUEST")
    assert client.post(KEYED, json=ASK, headers=key).status_code == 201
    assert written(lab) == 1
    for bad in ("short", "with space in between", "x" * 129, "引号引号引号引号引号引号".encode()):
        answer = client.post(KEYED, json=ASK, headers={"idempotency-key": bad})
        assert code(answer) == (422, "BAD_REQUEST")


def test_a_key_is_forgotten_after_a_day(lab: Lab, client: httpx.Client) -> None:
    key = {"idempotency-key": str(uuid.uuid4())}
    client.post(KEYED, json=ASK, headers=key)
    forget = middleware.forgetter(lab.market.database, lab.clock)
    assert forget() == 0
    lab.clock.now += timedelta(hours=25)
    assert forget() == 1
    assert client.post(KEYED, json=ASK, headers=key).status_code == 201
    assert written(lab) == 2


def test_an_answer_at_rest_is_readable_with_the_callers_key_and_token_only() -> None:
    answer = Answer(201, (("content-type", "application/json"),), b'{"reason": "Employment."}')
    mine = Key("Bearer token-of-mine", "0123456789abcdef")
    sealed = mine.seal(answer)
    assert b"Employment" not in sealed
    assert mine.open(sealed) == answer
    assert mine.seal(answer) != sealed
    for other in (
        Key("Bearer token-of-theirs", "0123456789abcdef"),
        Key("Bearer token-of-mine", "0123456789abcdeg"),
    ):
        assert other.id != mine.id
        with pytest.raises(ValueError, match="not sealed"):
            other.open(sealed)
    with pytest.raises(ValueError, match="not sealed"):
        mine.open(sealed[:-1] + bytes([sealed[-1] ^ 1]))


def test_what_is_no_route_or_no_method_of_one_is_a_problem(client: httpx.Client) -> None:
    assert code(client.get("/api/v1/nothing")) == (404, "NOT_FOUND")
    assert code(client.get("/api/v2/demands")) == (404, "NOT_FOUND")
    assert code(client.get("/api")) == (404, "NOT_FOUND")
    assert code(client.get("/api/v1/demands/")) == (404, "NOT_FOUND")
    wrong = client.delete("/api/v1/access/requests")
    assert code(wrong) == (405, "METHOD_NOT_ALLOWED")
    assert {m.strip() for m in wrong.headers["allow"].split(",")} <= {"GET", "POST"}
    nobody = httpx.get(f"{client.base_url}/api/v1/policy")
    assert code(nobody) == (401, "AUTHENTICATION")
    assert nobody.headers["www-authenticate"] == "Bearer"
    assert code(client.get("/api/v1/budget?domain=nothing")) == (404, "NOT_FOUND")


def test_parameters_that_a_path_does_not_know_are_refused(client: httpx.Client) -> None:
    for query in ("x=1", "Page=1", "page=1&page=2", "state=submitted&State=met"):
        answer = client.get(f"/api/v1/demands?{query}")
        assert code(answer) == (422, "BAD_REQUEST")
    assert client.get("/api/v1/catalogue/resources?grade=G1&grade=G2").status_code == 200


def test_a_fault_of_the_lab_says_nothing_of_what_it_was(
    lab: Lab, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret 91370200MA")

    monkeypatch.setattr(type(lab.market.demands), "board", broken)
    answer = client.get("/api/v1/demands")
    assert code(answer) == (500, "INTERNAL")
    assert "secret" not in answer.text
    assert PEOPLE["analyst"].tenant not in answer.text
