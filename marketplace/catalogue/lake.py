"""The one way in which files reach the lake: its own command line, in a process of its own.

The marketplace holds no lake key and reads no row. It writes what a provider sends into a private
file, names it to `python -m sandbox.lake` (see there for the commands), and takes the file away
again. What is to be said of the rows comes back as one line of JSON.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from marketplace.errors import MarketplaceError

REFUSED = 2
"""Exit code of a delivery that its provider has to change."""
CHECK_SECONDS = 600
MAX_SENTENCE = 500


class Encoding(StrEnum):
    """Encodings of CSV files."""

    UTF_8 = "utf-8"
    GB18030 = "gb18030"


class Form(StrEnum):
    """Forms of files."""

    CSV = "csv"
    PARQUET = "parquet"


class Lake(Protocol):
    """Where files go."""

    def hold(self, name: str, contract: Path, file: Path, encoding: Encoding) -> dict[str, Any]:
        """Check a file and keep it sealed under a name; return its report, or refuse it."""

    def take(self, name: str, contract: Path) -> str:
        """Make what is held the table's version, and return the version; safe to repeat."""

    def drop(self, names: list[str]) -> None:
        """Forget what is held."""

    def held(self) -> list[str]:
        """Return the names of all that is held."""


@dataclass(frozen=True, slots=True)
class LakeProcess:
    """The lake of a home."""

    home: Path
    command: tuple[str, ...] = (sys.executable, "-P", "-m", "sandbox.lake")

    def hold(self, name: str, contract: Path, file: Path, encoding: Encoding) -> dict[str, Any]:
        """Check a file and keep it sealed under a name; return its report, or refuse it."""
        report: dict[str, Any] = self._run(
            "hold", name, str(contract), str(file), "--encoding", encoding.value
        )
        return report

    def take(self, name: str, contract: Path) -> str:
        """Make what is held the table's version, and return the version; safe to repeat."""
        return str(self._run("take", name, str(contract))["version"])

    def drop(self, names: list[str]) -> None:
        """Forget what is held."""
        if names:
            self._run("drop", *names)

    def held(self) -> list[str]:
        """Return the names of all that is held."""
        return [str(name) for name in self._run("held")]

    def _run(self, *words: str) -> Any:  # noqa: ANN401  # any JSON
        command = [*self.command, words[0], "--home", str(self.home), *words[1:]]
        try:
            done = subprocess.run(  # noqa: S603  # our interpreter, our names, our files
                command, capture_output=True, check=False, text=True, timeout=CHECK_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _unavailable() from error
        if done.returncode == REFUSED:
            sentence = (done.stderr.strip().splitlines() or [""])[-1][:MAX_SENTENCE]
            raise MarketplaceError(
                "FILE_REFUSED", sentence, f"文件未通过检查，未保存任何内容。详情：{sentence}"
            )
        if done.returncode:
            raise _unavailable()
        return json.loads(done.stdout.strip().splitlines()[-1])


def _unavailable() -> MarketplaceError:
    return MarketplaceError(
        "LAKE_UNAVAILABLE",
        "The lake could not take the file, so nothing was kept. Try again in a moment, or tell the "
        "operator.",
        "数据湖暂时无法接收文件，未保存任何内容，请稍后重试或联系运营方。",
    )
