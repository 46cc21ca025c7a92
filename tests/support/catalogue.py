"""A catalogue in a temporary database, and resources to put into it."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from marketplace import db
from marketplace.audit.store import use_vault
from marketplace.audit.vault import Vault
from marketplace.catalogue.model import Condition, Cycle, Item, Resource
from marketplace.catalogue.service import Catalogue
from marketplace.catalogue.states import Actor
from marketplace.catalogue.synthetic import generate, load_classes
from marketplace.grading.model import Degree, Impact, ImpactObject, Lane
from marketplace.grading.policy import Policies, load_bodies, load_grading, load_negative_list
from tests.support.marketplace import Clock, subjects_key

POLICIES = Path(__file__).resolve().parents[2] / "policies"
CLASSES = load_classes(POLICIES / "catalogue_classes.yaml")
TAX = Actor("tax-provider", "tax-department")
HR = Actor("hr-provider", "hr-department")
BUREAU = Actor("bureau-approver", "bureau")
ANALYST = Actor("analyst", "demo-enterprise")


def policies() -> Policies:
    return Policies(
        load_grading(POLICIES / "grading.yaml"),
        load_negative_list(POLICIES / "negative_list.yaml"),
        load_bodies(POLICIES / "bodies.yaml"),
    )


@contextmanager
def catalogue(path: Path, count: int = 0) -> Iterator[Catalogue]:
    """Return a catalogue, with so many synthetic resources in it."""
    database = db.open_database(f"sqlite:///{path / 'catalogue.db'}")
    keys = path / "audit-keys"
    keys.mkdir(mode=0o700)
    (keys / "subjects.pem").write_bytes(subjects_key())
    use_vault(database, Vault(keys))
    made = Catalogue(database, policies(), Clock())
    if count:
        made.load(generate(CLASSES, count, 1))
    try:
        yield made
    finally:
        database.close()


def item(name: str, degree: str | None = "general") -> Item:
    impacts = (Impact(ImpactObject.ORGANISATION, Degree(degree)),) if degree else ()
    return Item(name, f"信息项{name}", f"Field {name}", "string", impacts=impacts)


def resource(**changed: object) -> Resource:
    whole = Resource(
        code="302009/000001",
        title_zh="车船税缴纳信息",
        title_en="Vehicle and vessel tax",
        provider="tax-department",
        abstract_zh="示例",
        abstract_en="A sample",
        theme="tax",
        update_cycle=Cycle.MONTHLY,
        share_type=Condition.CONDITIONAL,
        open_type=Condition.NOT,
        items=(item("uscc", "none"), item("paid")),
        lanes=(Lane.DP, Lane.DOWNLOAD),
        price_fen=250,
        wait_working_days=5,
        licence="https://example.org/licence",
    )
    return dataclasses.replace(whole, **changed)  # type: ignore[arg-type]
