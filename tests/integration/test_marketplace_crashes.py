"""Attack E12: a crash at any named point leaves no answer without a charge, and no second charge."""

import os
from pathlib import Path

import pytest

from marketplace.errors import MarketplaceError
from marketplace.releases.crash import POINTS
from tests.support.ledger import TENANT, findings, open_releases, pay

ROUNDS = 1_000 if os.environ.get("LAB_FULL") == "1" else 5
OURS = [p for p in POINTS if not p.startswith("gateway.") and p != "answer.before_send"]


class Crashed(BaseException):
    """The process would be gone here."""


@pytest.mark.parametrize("point", OURS)
def test_a_crash_at_this_point_keeps_ledger_answers_and_log_together(
    tmp_path: Path, point: str
) -> None:
    for round_number in range(ROUNDS):
        home = tmp_path / f"{round_number % 50}-{round_number}"
        home.mkdir()
        hits = 0

        def crash(at: str, *, due: int = round_number % 2) -> None:
            nonlocal hits
            if at == point:
                hits += 1
                if hits > due:
                    raise Crashed

        releases, engine = open_releases(home, crash)
        answers: list[bytes] = []
        for number in range(2):
            try:
                answers.append(pay(releases, f"op{number}"))
            except Crashed:
                break
        engine.dispose()
        restarted, engine = open_releases(home)
        assert findings(engine) == ()
        left = restarted.left(TENANT, "enterprise")
        paid = left.cap.micro_rho - left.budget.micro_rho
        assert paid >= 10_000 * len(answers)
        # The client asks again with the same ids: identical bytes, one charge for each.
        for number in range(2):
            try:
                again = pay(restarted, f"op{number}")
            except MarketplaceError as refusal:
                pytest.fail(f"an interrupted operation could not go on: {refusal.code}")
            assert number >= len(answers) or again == answers[number]
        left = restarted.left(TENANT, "enterprise")
        assert left.cap.micro_rho - left.budget.micro_rho == 20_000
        assert findings(engine) == ()
        engine.dispose()
