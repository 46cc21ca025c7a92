"""The README says what exists: settings, commands, folders, links."""

import re
from pathlib import Path

import pytest

from infra.cli import main

ROOT = Path(__file__).resolve().parents[2]
READMES = ["README.md", "README.zh.md"]
NOT_SETTINGS = {"LAB_KEYS"}
"""Names in the sources that only look like environment variables."""


def settings_in_sources() -> set[str]:
    found = set()
    for package in ("privacy", "sandbox", "marketplace", "infra"):
        for path in (ROOT / package).rglob("*"):
            if path.suffix in (".py", ".sh"):
                found |= set(re.findall(r"\bLAB_[A-Z0-9_]+\b", path.read_text()))
    return (found | {"LAB_FULL"}) - NOT_SETTINGS


@pytest.mark.parametrize("readme", READMES)
def test_every_setting_is_in_the_readme_and_no_other(readme):
    told = set(re.findall(r"`(LAB_[A-Z0-9_]+)`", (ROOT / readme).read_text()))

    assert told == settings_in_sources()


@pytest.mark.parametrize(
    "readme", sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("*/README.md")) + READMES
)
def test_every_link_leads_somewhere(readme):
    page = ROOT / readme
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text())

    assert [t for t in targets if ":" not in t and not (page.parent / t).exists()] == []


@pytest.mark.parametrize("readme", READMES)
def test_every_lab_command_of_the_readme_exists(readme, capsys):
    commands = set(re.findall(r"(?:`|bin/)lab ([a-z]+)", (ROOT / readme).read_text()))

    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0, command
    assert {"up", "demo", "token"} <= commands
