"""Where one marketplace keeps its things."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

POLICY = Path(__file__).resolve().parent.parent / "policies" / "budgets.yaml"


@dataclass(frozen=True, slots=True)
class Settings:
    """A home directory and what lies in it, unless the environment says otherwise."""

    home: Path
    database_url: str
    policy: Path
    """`budgets.yaml` of the home if it has one, else the sample."""

    witnesses: str = ""
    """Who is asked to sign the log's checkpoints: URLs and keys (`LAB_WITNESSES`)."""

    @property
    def log(self) -> Path:
        """Return the folder of the published log: static files, its private parts hidden."""
        return self.home / "log"

    @property
    def audit_keys(self) -> Path:
        """Return the folder of the keys that sign the log and hide subjects."""
        return self.home / "audit-keys"

    @classmethod
    def of(cls, home: Path, environment: Mapping[str, str]) -> "Settings":
        """Return the settings of a home; `LAB_DATABASE_URL` moves the database."""
        own = home / "budgets.yaml"
        return cls(
            home=home,
            database_url=environment.get("LAB_DATABASE_URL")
            or f"sqlite:///{home.resolve() / 'marketplace.db'}",
            policy=own if own.exists() else POLICY,
            witnesses=environment.get("LAB_WITNESSES", ""),
        )
