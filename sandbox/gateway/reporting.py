"""Tells the marketplace which versions of tables are current, before answers are made from them.

The log then holds an entry for every version that was ever read, and `lab audit reconcile` finds
the lake and the log alike.
"""

import logging
import threading
from collections.abc import Callable, Mapping

from marketplace.client import MarketplaceClient, MarketplaceProblem, StoredVersion
from sandbox.lake.catalogue import StoredTable
from sandbox.lake.errors import LakeError

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
"""How often the lake is looked at while nobody asks."""
RETRY_SECONDS = 2.0
"""While the marketplace does not answer: it may start after the gateway."""


class Reporting:
    """Reports each version once. Safe to share between threads."""

    def __init__(
        self, client: MarketplaceClient, tables: Callable[[], Mapping[str, StoredTable]]
    ) -> None:
        """`tables` returns the current version of every table of the lake."""
        self._client, self._tables = client, tables
        self._told: frozenset[tuple[str, str]] = frozenset()
        self._lock = threading.Lock()

    def __call__(self, wanted: Mapping[str, str]) -> None:
        """Return when the log knows these versions; `MarketplaceProblem` if it refuses to."""
        if not self._told.issuperset(wanted.items()):
            self.report()

    def report(self) -> None:
        """Report what is current and was not reported yet."""
        with self._lock:
            found = [
                StoredVersion(
                    name,
                    stored.facts.version,
                    stored.facts.contract_digest,
                    stored.manifest_digest,
                )
                for name, stored in sorted(self._tables().items())
            ]
            new = [v for v in found if (v.table, v.version) not in self._told]
            if new:
                self._client.report_versions(new)
                self._told |= {(v.table, v.version) for v in new}

    def watch(self, stopped: threading.Event) -> None:
        """Report what comes until told to stop: also what nobody asks about becomes an entry."""
        wait, failing = 0.0, False
        while not stopped.wait(wait):
            try:
                self.report()
                wait, failing = LOOK_SECONDS, False
            except (MarketplaceProblem, LakeError) as error:
                if not failing:
                    log.warning("versions not reported (%s)", getattr(error, "code", "LAKE"))
                wait, failing = RETRY_SECONDS, True
