"""A lab's home directory: where everything that belongs to one running lab is kept."""

import os
from dataclasses import dataclass
from pathlib import Path

from infra.errors import LabError

PROJECT = Path(__file__).resolve().parent.parent
"""The checkout: `notebooks/` and `policies/` stand beside the packages."""

DEFAULT_PORT = 8000
DEFAULT_GATEWAY_PORT = 15002
_DISTANCE = DEFAULT_GATEWAY_PORT - DEFAULT_PORT
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Home:
    """The paths below one home. The sides know the same layout; nothing else is shared on disk."""

    root: Path

    @property
    def logs(self) -> Path:
        """One file for each process."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Pid files and state: worthless once the lab has stopped."""
        return self.root / "run"

    @property
    def tokens(self) -> Path:
        """Bearer tokens of the demo's users; absent in any other home."""
        return self.root / "tokens"

    @property
    def lake(self) -> Path:
        """The stored tables, encrypted."""
        return self.root / "lake"

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.logs / f"{name}.log"

    def create(self) -> None:
        """Make the directories; a home holds keys, so nobody else may look inside."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.logs, self.run):
            folder.mkdir(mode=0o700, exist_ok=True)

    def token(self, user: str) -> str:
        """Return the bearer token of a seeded user of the demo."""
        known = sorted(p.name for p in self.tokens.glob("*")) if self.tokens.is_dir() else []
        if user not in known:
            raise LabError(
                f"{self.tokens} holds no token for {user!r}, only: {', '.join(known) or 'none'}. "
                "Tokens are kept only in a home that `lab demo` made; run it first."
            )
        return (self.tokens / user).read_text().strip()


def home_from(path: str | None) -> Home:
    """Return the home named on the command line, else by `LAB_HOME`, else `.lab`."""
    return Home(Path(path or os.environ.get("LAB_HOME") or ".lab").resolve())


def ports_from(port: int | None, gateway_port: int | None) -> tuple[int, int]:
    """Return marketplace and gateway port; the second follows the first unless it is given.

    >>> ports_from(8100, None)
    (8100, 15102)
    """
    port = port or _setting("LAB_PORT") or DEFAULT_PORT
    gateway_port = gateway_port or _setting("LAB_GATEWAY_PORT")
    if gateway_port is None:
        moved = port + _DISTANCE
        gateway_port = moved if moved <= _LAST_PORT else port - _DISTANCE
    return port, gateway_port


def _setting(name: str) -> int | None:
    """Return a port from the environment, if it is set."""
    text = os.environ.get(name)
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text) <= _LAST_PORT:
        raise LabError(f"{name} is {text!r}; a port is a whole number from 1 to {_LAST_PORT}.")
    return int(text)
