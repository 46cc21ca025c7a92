"""Where one marketplace keeps its things."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

POLICIES = Path(__file__).resolve().parent.parent / "policies"
POLICY = POLICIES / "budgets.yaml"
ACCESS = POLICIES / "access.yaml"
DEMAND = POLICIES / "demand.yaml"
CEDAR = POLICIES / "cedar"
CONTRACTS = POLICIES / "contracts"
PUBLIC_URL = "http://localhost:8000"


@dataclass(frozen=True, slots=True)
class MailSettings:
    """The mail server of a lab: `LAB_SMTP_HOST`, `_PORT`, `_FROM`, `_USER`, `_PASSWORD`, `_TLS`."""

    host: str
    port: int
    sender: str
    user: str = ""
    password: str = ""
    starttls: bool = True

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "MailSettings | None":
        """Return the settings, or None where no host is named."""
        host = environment.get("LAB_SMTP_HOST", "")
        if not host:
            return None
        return cls(
            host,
            int(environment.get("LAB_SMTP_PORT") or 587),
            environment.get("LAB_SMTP_FROM") or f"lab@{host}",
            environment.get("LAB_SMTP_USER", ""),
            environment.get("LAB_SMTP_PASSWORD", ""),
            environment.get("LAB_SMTP_TLS", "starttls") != "none",
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """A home directory and what lies in it, unless the environment says otherwise."""

    home: Path
    database_url: str
    policy: Path
    """`budgets.yaml` of the home if it has one, else the sample."""
    mail: MailSettings | None = None
    """The mail server that notices leave by, if any."""
    witnesses: str = ""
    """Who is asked to sign the log's checkpoints: URLs and keys (`LAB_WITNESSES`)."""
    public_url: str = PUBLIC_URL
    """Where people reach the lab (`LAB_PUBLIC_URL`), whatever host a caller claims."""

    @property
    def cedar(self) -> Path:
        """Return the folder of policies in force: `cedar` of the home if it has one."""
        own = self.home / "cedar"
        return own if own.is_dir() else CEDAR

    @property
    def access(self) -> Path:
        """Return what surrounds the policies: `access.yaml` of the home if it has one."""
        own = self.home / "access.yaml"
        return own if own.exists() else ACCESS

    @property
    def demand(self) -> Path:
        """Return the rules of demands: `demand.yaml` of the home if it has one."""
        own = self.home / "demand.yaml"
        return own if own.exists() else DEMAND

    @property
    def contracts(self) -> tuple[Path, ...]:
        """Return the folders of table contracts; the home's own come last and win."""
        return CONTRACTS, self.home / "contracts"

    @property
    def spool(self) -> Path:
        """Return the private folder of files that are being delivered."""
        return self.home / "run" / "deliveries"

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
            mail=MailSettings.of(environment),
            public_url=(environment.get("LAB_PUBLIC_URL") or PUBLIC_URL).rstrip("/"),
        )

    def policy_file(self, name: str) -> Path:
        """Return a policy file of the home if it has its own, else the sample."""
        own = self.home / name
        return own if own.exists() else POLICIES / name
