"""The log as a regulator meets it: files over HTTP, the downloaded verifier, the lab's command."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from marketplace.client import MadeItem, MarketplaceClient
from tests.support.logs import verify
from tests.support.marketplace import (
    SEEDED,
    TABLES,
    Running,
    digest,
    draws,
    gateway_token,
    make_home,
    reserve,
    running,
    token,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(make_home(tmp_path_factory.mktemp("market") / "home")) as process:
        for name in ("one", "two", "three"):
            pay(process, name)
        yield process


def pay(server: Running, operation: str) -> dict[str, str]:
    """Buy one answer; return its proofs."""
    client = MarketplaceClient(server.url, gateway_token(server.settings))
    held = reserve(client, operation, (2025,))
    done = client.record(held, [MadeItem(digest(operation), b"answer", draws())], TABLES)
    client.close()
    return dict(done.proofs)


def get(server: Running, path: str, user: str | None = None) -> httpx.Response:
    headers = {} if user is None else {"authorization": f"Bearer {token(server.settings, user)}"}
    return httpx.get(f"{server.url}/log/{path}", headers=headers)


def test_checkpoint_key_and_hashes_are_public(server: Running) -> None:
    assert get(server, "checkpoint").text == (server.settings.log / "checkpoint").read_text()
    assert get(server, "checkpoint").headers["content-type"] == "text/plain; charset=utf-8"
    assert get(server, "vkey").text.startswith("log.lab.localhost/")
    size = int(get(server, "checkpoint").text.split("\n")[1])
    tile = get(server, f"tile/0/000.p/{size}")
    assert (tile.status_code, len(tile.content)) == (200, size * 32)
    assert tile.headers["content-type"] == "application/octet-stream"
    # A part that an older checkpoint needed is served as well.
    assert get(server, "tile/0/000.p/1").content == tile.content[:32]


@pytest.mark.parametrize(
    ("user", "status"),
    [
        (None, 401),
        ("analyst", 403),
        ("bank-risk", 403),
        ("operator", 403),
        ("system-admin", 403),
        ("security-admin", 403),
        ("bureau-approver", 403),
        ("regulator", 200),
        ("audit-admin", 200),
    ],
)
def test_entries_are_for_auditors(server: Running, user: str | None, status: int) -> None:
    answer = get(server, f"tile/entries/000.p/{SEEDED + 2}", user)
    assert answer.status_code == status
    if status == 200:
        assert b"reservation:make" in answer.content
    else:
        assert answer.headers["content-type"] == "application/problem+json"


def test_that_auditors_looked_is_an_entry_and_only_one_for_a_while(server: Running) -> None:
    for _ in range(5):
        get(server, "tile/entries/000.p/1", "regulator")
    size = int(get(server, "checkpoint").text.split("\n")[1])
    bundle = get(server, f"tile/entries/000.p/{size}", "regulator").content
    assert bundle.count(b'"log:read"') in (1, 2)  # regulator, and audit-admin of another test


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/255",
        "tile/0/000.p/01",
        "tile/0/001.p/1",
        "tile/00/000.p/1",
        "tile/64/000.p/1",
        "tile/0/0",
        "tile/0/x000/000.p/1",
        "tile/0/%2e%2e/%2e%2e/%2e%2e/gateway.token",
        "tile/../../gateway.token",
        "tile/0/٠٠٠.p/1",
        "..%2fgateway.token",
        ".lock",
        ".checkpoint.new",
        "",
    ],
)
def test_nothing_else_lies_below_the_log(server: Running, path: str) -> None:
    assert get(server, path, "regulator").status_code == 404


def test_the_downloaded_verifier_verifies_by_url_with_nothing_of_ours(
    server: Running, tmp_path: Path
) -> None:
    file = tmp_path / "verify_log.py"
    file.write_bytes(httpx.get(f"{server.url}/api/v1/log/verifier").content)
    secret = server.settings.home / "tokens" / "regulator"
    vkey = get(server, "vkey").text.split("\n")[0]
    command = [sys.executable, "-I", str(file), f"{server.url}/log", "--vkey", vkey, "--json"]
    common = ["--state", str(tmp_path / "state.json")]
    for more, entries in (([], False), (["--token", str(secret)], True)):
        done = subprocess.run(
            [*command, *common, *more], capture_output=True, text=True, check=False
        )
        result = json.loads(done.stdout)
        assert (done.returncode, result["verified"]) == (0, True)
        assert bool(result["entries_hashed"]) is entries
    assert result["seen_before"] <= result["size"]


def test_the_verifier_imports_the_standard_library_and_cryptography_only(tmp_path: Path) -> None:
    from marketplace.audit import verifier  # noqa: PLC0415

    program = (
        "import sys, runpy; runpy.run_path(sys.argv[1], run_name='x'); "
        "print(*sorted({m.split('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, verifier.__file__],
        capture_output=True,
        text=True,
        check=True,
    )
    assert {n for n in done.stdout.split() if not n.startswith("_")} <= {"cryptography", "x"}


def test_the_labs_command_verifies_a_folder_and_finds_a_change(
    server: Running, tmp_path: Path
) -> None:
    state = ("--state", tmp_path / "s.json")
    done = verify(server.settings.log, *state, lab=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "taken from the log itself" in done.stdout
    (tmp_path / "old").write_text(get(server, "checkpoint").text)
    pay(server, "a later one")
    done = verify(server.settings.log, *state, "--since", tmp_path / "old", lab=True)
    assert done.returncode == 0, done.stdout
    assert "grew_from" in done.stdout
    assert verify("/nowhere", *state, lab=True).returncode == 1
    assert verify(lab=True).returncode == 2


def test_a_receipt_comes_with_the_answer_and_is_verified_offline(
    server: Running, tmp_path: Path
) -> None:
    ((_, text),) = pay(server, "with a receipt").items()
    receipt, answer = tmp_path / "r.tlog-proof", tmp_path / "answer"
    receipt.write_text(text, encoding="utf-8")
    answer.write_bytes(b"answer")
    vkey = server.settings.log / "vkey"
    done = verify(receipt, "--vkey", vkey, "--answer", answer, lab=True)
    assert done.returncode == 0, done.stdout
    answer.write_bytes(b"another answer")
    done = verify(receipt, "--vkey", vkey, "--answer", answer, "--json", lab=True)
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, "WRONG_ANSWER")
    assert json.loads(done.stdout)["zh"]
    assert verify(receipt, lab=True).returncode == 1  # no key, no trust
