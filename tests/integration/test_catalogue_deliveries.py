"""From a provider's file to a table that can be asked: nothing is live before, nothing half."""

import csv
import datetime as dt
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import select

from marketplace.app import build
from marketplace.audit import store as log
from marketplace.audit.openings import Basis, Ground
from marketplace.catalogue import delivery_api
from marketplace.catalogue.deliveries import deliveries
from marketplace.catalogue.lake import LakeProcess
from marketplace.identity.model import Person
from marketplace.services import Services
from marketplace.settings import Settings
from tests.integration.test_catalogue_http import BODY
from tests.support.catalogue import TAX
from tests.support.lake import document, row, uscc, write
from tests.support.marketplace import Clock, make_home, parts, token
from tests.support.serving import serving

Call = Callable[..., httpx.Response]
NAMES = list(row(1))
ADMIN = Person("audit-admin", "bureau", ("audit-admin",), "en")
GROUND = Ground(Basis.SUBJECT_REQUEST, "case 1")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return a home whose tax department has a contract for the table `tax`."""
    made = make_home(tmp_path / "home")
    (made.home / "contracts").mkdir()
    text = yaml.safe_dump(document(), allow_unicode=True)
    (made.home / "contracts" / "tax.yaml").write_text(text, encoding="utf-8")
    return made


@pytest.fixture
def market(settings: Settings) -> Iterator[tuple[Call, Services]]:
    with parts(settings) as services, serving(build(services, Clock())) as url:

        def call(user: str, method: str, path: str, **more: Any) -> httpx.Response:
            headers = {"authorization": f"Bearer {token(settings, user)}"}
            where = f"{url}/api/v1/catalogue/resources{path}"
            return httpx.request(method, where, headers=headers, timeout=120, **more)

        yield call, services


def draft(call: Call, **change: Any) -> tuple[str, str]:
    """Return the path of a draft and its digest."""
    body = {**BODY, "table_name": "tax", **change}
    made = call("tax-provider", "POST", "", json=body)
    assert made.status_code == 201, made.text
    return f"/{made.json()['id']}/versions/1", made.json()["digest"]


def as_csv(rows: list[dict[str, Any]], encoding: str) -> bytes:
    output = io.StringIO()
    writer = csv.DictWriter(output, NAMES, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**r, "overdue": str(r["overdue"]).lower()} for r in rows)
    return output.getvalue().encode(encoding)


def tables(settings: Settings) -> dict[str, Any]:
    """Return what anybody could ask questions of."""
    command = [sys.executable, "-P", "-m", "sandbox.lake", "tables", "--json"]
    done = subprocess.run(
        [*command, "--home", str(settings.home)], capture_output=True, text=True, check=False
    )
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def code(answer: httpx.Response) -> tuple[int, str]:
    problem = answer.json()
    assert problem["detail"], answer.text
    assert problem["detail_zh"], answer.text
    return answer.status_code, problem["code"]


@pytest.mark.parametrize(
    ("form", "encoding"), [("parquet", "utf-8"), ("csv", "utf-8"), ("csv", "gb18030")]
)
def test_a_file_is_reported_on_at_once_and_asked_of_only_when_it_is_published(
    market: tuple[Call, Services], settings: Settings, tmp_path: Path, form: str, encoding: str
) -> None:
    call, services = market
    rows = [row(1, rep_name="龘"), row(2), row(3, period=1)]
    if form == "parquet":
        content = write(tmp_path / "rows.parquet", rows).read_bytes()
    else:
        content = as_csv(rows, encoding)
    where, before = draft(call)
    asked = {"params": {"form": form, "encoding": encoding}, "content": content}
    made = call("tax-provider", "PUT", f"{where}/file", **asked)
    assert made.status_code == 200, made.text
    assert made.json()["report"]["quarantined"] == {"not in domain: period": 1}
    digest = made.json()["digest"]
    assert digest != before, "an examination binds the file"
    page = call("tax-provider", "GET", where).json()
    assert (page["state"], page["check"], page["digest"]) == ("draft", "passed", digest)
    again = call("tax-provider", "GET", f"{where}/file").json()
    assert again["report"] == made.json()["report"]
    assert tables(settings) == {}

    for step, user, body in (
        ("submit", "tax-provider", {"digest": digest}),
        ("examination", "bureau-reviewer", {"digest": digest, "approve": True}),
    ):
        assert call(user, "POST", f"{where}/{step}", json=body).is_success
        assert tables(settings) == {}
    done = call("tax-provider", "POST", f"{where}/publish", json={"digest": digest})
    assert (done.status_code, done.json()["state"]) == (200, "published")
    live = tables(settings)
    assert set(live) == {"tax"}
    with services.database.reading() as connection:
        size = log.size(connection)
        entries = [json.loads(e) for e in log.entries_from(connection, 0, size)]
    stored = [e["facts"] for e in entries if e["event"] == "ingest:store"]
    assert [(f["table"], f["version"]) for f in stored] == [("tax", live["tax"]["version"])]
    assert LakeProcess(settings.home).held() == []
    for name in ("analyst", "hr-provider", "bureau-reviewer", "regulator"):
        assert code(call(name, "GET", f"{where}/file")) == (404, "NOT_FOUND")
    no_row_anywhere(settings)


def no_row_anywhere(settings: Settings) -> None:
    """No file of the home holds a unit's id in the clear, or says how many rows there are."""
    cache = settings.home / "run" / "lake" / "cache"  # the lake's own, for its own account
    for file in settings.home.rglob("*"):
        if file.is_file() and cache not in file.parents:
            data = file.read_bytes()
            assert uscc(1).encode() not in data, file
            assert b"quarantined" not in data, file


@pytest.mark.parametrize(
    ("content", "params"),
    [
        (b"", {"form": "csv"}),
        (b"a,b\n1,2\n", {"form": "csv"}),
        (b"PAR1 no parquet PAR1", {"form": "parquet"}),
        (as_csv([row(1)], "gb18030").replace(b"uscc", "税号".encode("gb18030")), {"form": "csv"}),
    ],
    ids=["empty", "other columns", "broken", "wrong encoding"],
)
def test_a_file_that_is_refused_leaves_nothing_behind(
    market: tuple[Call, Services], settings: Settings, content: bytes, params: dict[str, str]
) -> None:
    call, services = market
    where, digest = draft(call)
    answer = call("tax-provider", "PUT", f"{where}/file", params=params, content=content)
    assert code(answer) == (422, "FILE_REFUSED")
    page = call("tax-provider", "GET", where).json()
    assert (page["digest"], page["check"]) == (digest, "none")
    assert code(call("tax-provider", "GET", f"{where}/file")) == (404, "NOT_FOUND")
    nothing_kept(services, settings)


def nothing_kept(services: Services, settings: Settings) -> None:
    with services.database.reading() as connection:
        assert connection.execute(select(deliveries)).all() == []
    spool = settings.home / "run" / "deliveries"
    assert not spool.exists() or list(spool.iterdir()) == []
    assert not (settings.home / "lake" / "held").exists() or LakeProcess(settings.home).held() == []


def test_a_file_beyond_the_limit_is_refused_and_nothing_of_it_kept(
    market: tuple[Call, Services], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, services = market
    monkeypatch.setattr(delivery_api, "MAX_FILE_BYTES", 2**20)
    where, digest = draft(call)

    def pieces() -> Iterator[bytes]:  # without a length in the header
        for _ in range(32):
            yield b"," * 2**18

    given = {"params": {"form": "csv"}, "content": pieces()}
    answer = call("tax-provider", "PUT", f"{where}/file", **given)
    assert code(answer) == (413, "FILE_TOO_LARGE")
    assert call("tax-provider", "GET", where).json()["digest"] == digest
    nothing_kept(services, settings)


@pytest.mark.parametrize(
    ("user", "change", "found"),
    [
        ("analyst", {}, (403, "FORBIDDEN")),
        ("bureau-reviewer", {}, (403, "FORBIDDEN")),
        ("hr-provider", {}, (404, "NOT_FOUND")),
        ("tax-provider", {"table_name": ""}, (409, "NO_CONTRACT")),
        ("tax-provider", {"table_name": "nowhere"}, (409, "NO_CONTRACT")),
    ],
    ids=str,
)
def test_whoever_may_not_deliver_is_refused_before_anything_is_read(
    market: tuple[Call, Services],
    settings: Settings,
    user: str,
    change: dict[str, str],
    found: tuple[int, str],
) -> None:
    call, services = market
    where, _ = draft(call, **change)
    content = as_csv([row(1)], "utf-8")
    answer = call(user, "PUT", f"{where}/file", params={"form": "csv"}, content=content)
    assert code(answer) == found
    nothing_kept(services, settings)


def test_what_is_submitted_takes_no_other_file(market: tuple[Call, Services]) -> None:
    call, _ = market
    where, digest = draft(call)
    assert call("tax-provider", "POST", f"{where}/submit", json={"digest": digest}).is_success
    answer = call(
        "tax-provider",
        "PUT",
        f"{where}/file",
        params={"form": "csv"},
        content=as_csv([row(1)], "utf-8"),
    )
    assert code(answer) == (409, "WRONG_STATE")


@pytest.mark.parametrize("change", ["again", "edited", "withdrawn"])
def test_a_file_that_its_version_no_longer_has_is_let_go(
    market: tuple[Call, Services], settings: Settings, change: str
) -> None:
    call, services = market
    where, _ = draft(call)
    put = {"params": {"form": "csv"}, "content": as_csv([row(1)], "utf-8")}
    first = call("tax-provider", "PUT", f"{where}/file", **put).json()
    assert len(LakeProcess(settings.home).held()) == 1
    expected = 0
    match change:
        case "again":
            second = call("tax-provider", "PUT", f"{where}/file", **put).json()
            assert second["digest"] != first["digest"]
            expected = 1
        case "edited":
            body = {**BODY, "table_name": "tax", "title_zh": "另一标题"}
            assert call("tax-provider", "PUT", where, json=body).json()["check"] == "none"
        case _:
            seen = {"digest": first["digest"]}
            call("tax-provider", "POST", f"{where}/submit", json=seen)
            judged = {**seen, "approve": True}
            call("bureau-reviewer", "POST", f"{where}/examination", json=judged)
            assert call("tax-provider", "POST", f"{where}/withdraw", json=seen).is_success
    services.publishing.deliveries.tidy()
    assert len(LakeProcess(settings.home).held()) == expected
    assert tables(settings) == {}


def test_a_publication_that_was_interrupted_is_finished_by_asking_again(
    market: tuple[Call, Services], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, services = market
    where, _ = draft(call)
    put = {"params": {"form": "csv"}, "content": as_csv([row(1)], "utf-8")}
    seen = {"digest": call("tax-provider", "PUT", f"{where}/file", **put).json()["digest"]}
    call("tax-provider", "POST", f"{where}/submit", json=seen)
    call("bureau-reviewer", "POST", f"{where}/examination", json={**seen, "approve": True})
    with monkeypatch.context() as cut:

        def fail(*_: Any, **__: Any) -> None:
            raise OSError("the machine went down")

        cut.setattr(services.catalogue, "publish", fail)
        with pytest.raises(OSError, match="went down"):
            services.publishing.deliveries.publish(TAX, where.split("/")[1], 1, seen["digest"])
    assert call("tax-provider", "GET", where).json()["state"] == "approved"
    version = tables(settings)["tax"]["version"]
    assert call("tax-provider", "POST", f"{where}/publish", json=seen).is_success
    assert tables(settings)["tax"]["version"] == version, "not stored twice"


def test_what_was_not_approved_reaches_no_table(
    market: tuple[Call, Services], settings: Settings
) -> None:
    call, _ = market
    where, _ = draft(call)
    put = {"params": {"form": "csv"}, "content": as_csv([row(1)], "utf-8")}
    seen = {"digest": call("tax-provider", "PUT", f"{where}/file", **put).json()["digest"]}
    for _ in range(2):
        answer = call("tax-provider", "POST", f"{where}/publish", json=seen)
        assert code(answer) == (409, "WRONG_STATE")
        assert tables(settings) == {}
        call("tax-provider", "POST", f"{where}/submit", json=seen)


def test_a_start_takes_away_what_a_killed_run_was_reading(settings: Settings) -> None:
    settings.spool.mkdir(parents=True)
    (settings.spool / "rows.csv").write_text("a unit's row")
    os.utime(settings.spool / "rows.csv", (0, 0))
    with parts(settings):
        assert not settings.spool.exists()


def test_a_report_ends_with_who_delivered_the_file(market: tuple[Call, Services]) -> None:
    call, services = market
    where, _ = draft(call)
    put = {"params": {"form": "csv"}, "content": as_csv([row(1)], "utf-8")}
    call("tax-provider", "PUT", f"{where}/file", **put)
    services.openings.erase(ADMIN, GROUND, "tax-provider")
    found = call("tax-provider", "GET", f"{where}/file").json()
    assert found["report"] is None
    assert dt.datetime.fromisoformat(found["time"])
