"""The contracts of pyproject.toml are seen to fail: a lint that cannot fail protects nothing."""

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("privacy", "sandbox", "marketplace", "infra")


VIOLATIONS = {
    "privacy-is-pure": ("privacy/dp/planted.py", "import sqlalchemy"),
    "sandbox-speaks-http": ("sandbox/gateway/planted.py", "import marketplace.planted"),
    "marketplace-sees-no-rows": ("marketplace/planted.py", "import sandbox.engine"),
    "client-is-light": ("marketplace/client.py", "import fastapi"),
    "models-are-pure": ("marketplace/budgets/model.py", "import sqlalchemy"),
    "infra-starts-processes": ("infra/planted.py", "import privacy.errors"),
    "one-source-of-noise": ("privacy/dp/planted_noise.py", "import opendp.prelude"),
}

ROW_READERS = ("sandbox.engine", "sandbox.lake")
READS_ROWS = {"minio", "pyarrow.dataset", "pyarrow.parquet", ".local_files"}
"""What opens stored files: modules, and the lake's method that hands them out decrypted."""


def contracts() -> list[dict]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def lint(folder: Path) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what the linter says of a copy of the sources with one violation of each contract."""
    copy = tmp_path_factory.mktemp("planted")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("*.pyc"))
    for name, statement in VIOLATIONS.values():
        path = copy / name
        for folder in reversed(path.parent.relative_to(copy).parents):
            (copy / folder).mkdir(exist_ok=True)
        path.parent.mkdir(exist_ok=True)
        (path.parent / "__init__.py").touch()
        with path.open("a") as file:
            file.write(f"\n{statement}\n")
    (copy / "marketplace" / "planted.py").touch()
    return lint(copy)


def test_every_contract_has_a_planted_violation():
    assert {contract["id"] for contract in contracts()} == set(VIOLATIONS)


@pytest.mark.parametrize("contract", contracts(), ids=lambda contract: contract["id"])
def test_a_planted_violation_breaks_its_contract(planted, contract):
    assert f"{contract['name']} BROKEN" in planted


def test_only_the_engine_and_the_lake_open_stored_files():
    found = []
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            if not module.startswith(ROW_READERS):
                found += [f"{module} uses {name}" for name in used(path) if name in READS_ROWS]
    assert found == []


def used(path: Path) -> set[str]:
    """Return the modules that a file imports, and the attributes that it reads, with a dot."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Attribute):
            names.add(f".{node.attr}")
    return names
