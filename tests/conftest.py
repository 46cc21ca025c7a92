"""Settings of the whole suite: how long properties search, and what a test may not touch."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.support.postgres import end_server

# Tests serve gRPC and start Spark in one process, as the gateway does, and it sets the same: with
# gRPC's own fork handlers some of those starts fail.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

# Small and the same on every run, so that a red build is red for everybody; LAB_FULL=1 searches.
settings.register_profile(
    "small",
    max_examples=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "full", max_examples=2_000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("full" if os.environ.get("LAB_FULL") == "1" else "small")


KEPT = ("LAB_FULL", "LAB_TEST_DATABASE", "LAB_WRITE_GOLDEN", "LAB_SCREENSHOTS")
"""Settings of the tests themselves: sizes, the database, golden files to write anew, pictures."""


def pytest_sessionfinish() -> None:
    """Leave no server behind."""
    end_server()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own `LAB_*` settings must not decide what a test sees."""
    for name in [n for n in os.environ if n.startswith("LAB_") and n not in KEPT]:
        monkeypatch.delenv(name)
