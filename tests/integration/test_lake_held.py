"""Files that wait in the lake: checked at once, live only when taken, gone when dropped."""

import json
from pathlib import Path

import pytest
import yaml

from sandbox.lake.__main__ import main
from tests.support.lake import document, row, uscc, write

NAME, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def lake(tmp_path: Path) -> tuple[str, str]:
    """Return home and contract."""
    (tmp_path / "tax.yaml").write_text(yaml.safe_dump(document(), allow_unicode=True))
    return str(tmp_path / "home"), str(tmp_path / "tax.yaml")


def run(*words: str) -> int:
    return main([str(w) for w in words])


def files(home: str) -> set[str]:
    return {
        str(p.relative_to(home))
        for p in Path(home).rglob("*")
        if p.is_file() and not str(p.relative_to(home)).startswith(("keys/", "run/lake/locks/"))
    }


def test_a_file_is_checked_at_once_and_becomes_a_version_when_it_is_taken(
    lake: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, contract = lake
    file = write(tmp_path / "tax.parquet", [row(1), row(2, period=1)])
    assert run("hold", "--home", home, NAME, contract, str(file)) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["quarantined"] == {"not in domain: period": 1}
    assert files(home) == {f"lake/held/{NAME}.file.age", f"lake/held/{NAME}.note.age"}
    assert run("tables", "--home", home) == 0
    assert capsys.readouterr().out == ""

    versions = []
    for _ in range(2):
        assert run("take", "--home", home, NAME, contract) == 0
        versions.append(json.loads(capsys.readouterr().out)["version"])
    assert versions[0] == versions[1], "asked again, nothing changes"
    assert run("drop", "--home", home, NAME, NAME) == 0
    assert run("held", "--home", home) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == []
    assert run("take", "--home", home, NAME, contract) == 2
    assert "Deliver the file again" in capsys.readouterr().err


def test_a_check_enters_no_unit_and_leaves_no_row_in_the_clear(
    lake: tuple[str, str], tmp_path: Path
) -> None:
    home, contract = lake
    file = write(tmp_path / "tax.parquet", [row(7)])
    assert run("hold", "--home", home, NAME, contract, str(file)) == 0
    assert not any("registr" in name for name in files(home))
    for name in files(home):
        assert uscc(7).encode() not in (Path(home) / name).read_bytes()


@pytest.mark.parametrize("content", [b"", b"no,columns,of,ours\n1,2,3,4\n", b"\xff\xfe\x00"])
def test_a_file_that_is_refused_leaves_nothing(
    lake: tuple[str, str], tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    home, contract = lake
    (tmp_path / "bad.csv").write_bytes(content)
    assert run("hold", "--home", home, NAME, contract, str(tmp_path / "bad.csv")) == 2
    assert capsys.readouterr().err.strip()
    assert files(home) == set()


@pytest.mark.parametrize("name", ["", "../../etc", "A" * 32, "a" * 31, f"{'a' * 30}/.", "a" * 33])
def test_a_name_leads_nowhere_else(lake: tuple[str, str], tmp_path: Path, name: str) -> None:
    home, contract = lake
    file = write(tmp_path / "tax.parquet", [row(1)])
    assert run("hold", "--home", home, name, contract, str(file)) == 2
    assert run("take", "--home", home, name, contract) == 2
    assert run("drop", "--home", home, name) == 2


def test_what_one_holds_another_does_not_take(lake: tuple[str, str], tmp_path: Path) -> None:
    home, contract = lake
    file = write(tmp_path / "tax.parquet", [row(1)])
    assert run("hold", "--home", home, NAME, contract, str(file)) == 0
    assert run("take", "--home", home, OTHER, contract) == 2
