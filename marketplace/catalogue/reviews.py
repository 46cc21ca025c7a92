"""The bureau's word on what providers submit: who waits, who may judge, who is told."""

from dataclasses import dataclass

from sqlalchemy import Connection

from marketplace.access.desk import Desk, Said
from marketplace.catalogue import store
from marketplace.catalogue.page import Page
from marketplace.catalogue.service import Catalogue
from marketplace.catalogue.states import Act, Actor, State
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person
from marketplace.policy.model import Decision

ROLES = ("reviewer", "approver")


@dataclass(frozen=True, slots=True)
class Reviews:
    """Examinations of submitted versions."""

    desk: Desk
    catalogue: Catalogue

    def waiting(self, person: Person) -> list[Page]:
        """Return submitted versions that a person may examine."""
        with self.desk.database.reading() as connection:
            submitted = store.in_state(connection, State.SUBMITTED)
            found = [store.find(connection, *one) for one in submitted]
        pages = [self.catalogue.shown(*one) for one in found if one is not None]
        return [p for p in pages if self._may(person, p)]

    def judge(  # one judgement
        self, person: Person, id_: str, number: int, digest: str, comment: str, *, approve: bool
    ) -> Page:
        """Approve or return exactly the content with this digest."""
        try:
            made = self._permit(person, self._provider(id_, number))
            actor = Actor(person.user, person.tenant)
            return self.catalogue.review(
                actor, id_, number, digest, approve=approve, comment=comment, made=(made,)
            )
        except MarketplaceError as denial:
            self.desk.refuse(person, "examine", id_, denial)
            raise

    def _provider(self, id_: str, number: int) -> str:
        with self.desk.database.reading() as connection:
            found = store.find(connection, id_, number)
        return "" if found is None else found[0].provider

    def _permit(self, person: Person, provider: str) -> Decision:
        return self.desk.decide(person, "examine", "Lab", "lab", {"provider": provider})

    def _may(self, person: Person, page: Page) -> bool:
        try:
            self._permit(person, page.version.provider)
        except MarketplaceError:
            return False
        return person.user != page.version.author


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells people what happened to a resource."""

    desk: Desk

    def __call__(self, connection: Connection, act: Act, page: Page) -> None:
        """Tell examiners of what is submitted, and its provider of their word."""
        version, title = page.version, page.resource.code
        match act:
            case Act.SUBMIT:
                people = [u for role in ROLES for u in self.desk.holders(role)]
                said = Said(
                    f"Version {version.number} of resource {title} waits for examination.",
                    f"资源 {title} 第 {version.number} 版待审核。",
                )
            case Act.APPROVE | Act.RETURN:
                people = self.desk.holders("provider", version.provider)
                state = version.state.value
                said = Said(
                    f"Version {version.number} of resource {title} is {state}.",
                    f"资源 {title} 第 {version.number} 版状态：{state}。",
                )
            case _:
                return
        self.desk.tell(connection, people, f"resource:{act.value}", version.resource, said)
