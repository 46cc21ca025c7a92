"""Copies of a home: whole or refused, and never a way to get spent budget back."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from infra.cli import main
from marketplace.settings import Settings
from tests.support.marketplace import ask, item, made, make_home, parts, settings_of

pytestmark = pytest.mark.skipif(
    os.environ.get("LAB_TEST_DATABASE", "sqlite") != "sqlite",
    reason="`lab backup` copies a ledger that lies in the home",
)


def spend(settings: Settings, *names: str) -> None:
    """Let the analyst have answers."""
    with parts(settings) as market:
        for name in names:
            one = item(name)
            held = market.releases.reserve(ask(name, one))
            tables = {"tax_summary": "v1"}
            market.releases.record(held.id, held.fencing_token, (made(one, b"x"),), tables)


def left(settings: Settings) -> int:
    with parts(settings) as market:
        return market.releases.left("demo-enterprise", "enterprise").budget.micro_rho


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    settings = make_home(tmp_path / "home")
    spend(settings, "one")
    (settings.home / "run").mkdir(exist_ok=True)
    (settings.home / "run" / "x.cache").write_bytes(b"rows")
    return settings


def copied(home: Settings, name: str = "copy") -> Path:
    copy = home.home.with_name(name)
    assert main(["backup", "--home", str(home.home), str(copy)]) == 0
    return copy


def restored(copy: Path, *options: str) -> tuple[int, Path]:
    again = copy.with_name("again")
    return main(["restore", "--home", str(again), *options, str(copy)]), again


def test_a_copy_restores_ledger_log_and_keys_and_leaves_caches_behind(home: Settings) -> None:
    copy = copied(home)
    assert not (copy / "run").exists()
    for place in (copy, *(p for p in copy.rglob("*") if p.is_file())):
        assert place.stat().st_mode & 0o077 == 0, place
    code, again = restored(copy)
    assert code == 0
    assert left(settings_of(again)) == left(home) == 900
    assert (again / "log" / "checkpoint").read_bytes() == (
        home.home / "log" / "checkpoint"
    ).read_bytes()


@pytest.mark.parametrize("fault", ["changed", "lost", "strange", "no manifest", "truncated"])
def test_a_copy_that_is_not_whole_is_refused_and_leaves_nothing(
    home: Settings, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    copy = copied(home)
    file = copy / "audit-keys" / "log.skey"
    match fault:
        case "changed":
            file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
        case "lost":
            file.unlink()
        case "strange":
            (copy / "audit-keys" / "other.skey").write_bytes(b"x")
        case "no manifest":
            (copy / "copy.json").unlink()
        case "truncated":
            file.write_bytes(file.read_bytes()[:-1])
    code, again = restored(copy)
    assert code == 1
    assert not again.exists()
    assert not again.with_name("again.partial").exists()
    assert "cop" in capsys.readouterr().err


def test_a_ledger_behind_its_log_is_not_restored(
    home: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """As somebody would do it who wants spent budget back: the old rows under the new log."""
    copy = copied(home)
    with sqlite3.connect(copy / "marketplace.db") as database:
        database.execute("UPDATE accounts SET spent_micro_rho = 0")
    database.close()
    for rest in ("marketplace.db-wal", "marketplace.db-shm"):
        (copy / rest).unlink(missing_ok=True)
    forged = copy.with_name("forged")
    shutil.copytree(copy, copy.with_name("opened"))
    (copy.with_name("opened") / "copy.json").unlink()
    assert main(["backup", "--home", str(copy.with_name("opened")), str(forged)]) == 0
    code, again = restored(forged)
    assert code == 1
    assert not again.exists()
    assert "does not agree with its log" in capsys.readouterr().err


def test_a_copy_older_than_a_kept_checkpoint_is_refused(
    home: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    old = copied(home, "old")
    spend(home, "two", "three")
    new = copied(home, "new")
    kept = home.home.with_name("kept-checkpoint")
    kept.write_bytes((home.home / "log" / "checkpoint").read_bytes())
    assert restored(old, "--newer-than", str(kept))[0] == 1
    assert "older" in capsys.readouterr().err
    code, again = restored(new, "--newer-than", str(kept))
    assert code == 0
    assert left(settings_of(again)) == 700


def test_a_restore_never_overwrites_a_home(
    home: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = copied(home)
    assert main(["restore", "--home", str(home.home), str(copy)]) == 1
    assert "is not empty" in capsys.readouterr().err


def test_a_ledger_elsewhere_is_said_to_be(
    home: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copied(home)
    monkeypatch.setenv("LAB_DATABASE_URL", "postgresql://lab@localhost/lab")
    assert main(["backup", "--home", str(home.home), str(copy.with_name("other"))]) == 1
    assert restored(copy)[0] == 1
    assert capsys.readouterr().err.count("LAB_DATABASE_URL") == 2
