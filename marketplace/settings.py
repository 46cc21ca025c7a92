"""Where one marketplace keeps its things."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

POLICIES = Path(__file__).resolve().parent.parent / "policies"
POLICY = POLICIES / "budgets.yaml"


@dataclass(frozen=True, slots=True)
class Settings:
    """A home directory and what lies in it, unless the environment says otherwise."""

    home: Path
    database_url: str
    policy: Path
    """`budgets.yaml` of the home if it has one, else the sample."""

    @classmethod
    def of(cls, home: Path, environment: Mapping[str, str]) -> "Settings":
        """Return the settings of a home; `LAB_DATABASE_URL` moves the database."""
        own = home / "budgets.yaml"
        return cls(
            home=home,
            database_url=environment.get("LAB_DATABASE_URL")
            or f"sqlite:///{home.resolve() / 'marketplace.db'}",
            policy=own if own.exists() else POLICY,
        )

    def policy_file(self, name: str) -> Path:
        """Return a policy file of the home if it has its own, else the sample."""
        own = self.home / name
        return own if own.exists() else POLICIES / name
