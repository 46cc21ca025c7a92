"""`python -m sandbox.lake`: what a provider types and reads."""

import json
import re
from pathlib import Path

import pytest
import yaml

from sandbox.lake.__main__ import main
from tests.support.lake import document, row, write


@pytest.fixture
def given(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "tax.yaml").write_text(yaml.safe_dump(document(), allow_unicode=True))
    write(tmp_path / "tax.parquet", [row(1), row(2, period=1)])
    return ("--home", str(tmp_path / "home"), str(tmp_path / "tax.yaml"))


def test_figures_go_to_the_provider_and_progress_to_stderr(
    given: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ingest", *given, str(tmp_path / "tax.parquet")]) == 0
    output, progress = capsys.readouterr()
    first, report = output.splitlines()
    assert re.fullmatch("tax version 1-[0-9a-f]{16}: stored", first)
    assert json.loads(report)["quarantined"] == {"not in domain: period": 1}
    assert "sealing and storing" in progress
    assert main(["ingest", *given, str(tmp_path / "tax.parquet")]) == 0
    assert "stored already" in capsys.readouterr().out
    assert main(["tables", *given[:2]]) == 0
    line = capsys.readouterr().out
    assert re.fullmatch(r"tax +version 1-[0-9a-f]{16} +enterprise\n", line), line


def test_what_has_to_be_changed_first_is_said_in_one_line(
    given: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ingest", *given, str(tmp_path / "missing.parquet")]) == 2
    assert "is no file" in capsys.readouterr().err
    (tmp_path / "tax.yaml").write_text("kind: DataContract")
    assert main(["ingest", *given, str(tmp_path / "tax.parquet")]) == 2
    assert capsys.readouterr().err.startswith("tax.yaml: apiVersion")


def test_a_lake_without_keys_is_not_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tables", "--home", str(tmp_path)]) == 2
    assert "backup" in capsys.readouterr().err


def test_the_lake_lies_where_the_setting_says(
    given: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_LAKE_URL", (tmp_path / "elsewhere").as_uri())
    assert main(["ingest", *given, str(tmp_path / "tax.parquet")]) == 0
    assert (tmp_path / "elsewhere" / "current" / "tax").is_file()
    assert not (tmp_path / "home" / "lake").exists()


def test_keys_inside_the_lake_are_refused(
    given: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LAB_LAKE_URL", (tmp_path / "home").as_uri())
    assert main(["ingest", *given, str(tmp_path / "tax.parquet")]) == 2
    assert "outside the lake" in capsys.readouterr().err
