"""Promises that a budget policy makes of itself."""

from copy import deepcopy
from typing import Any

import pytest
import yaml

from marketplace.budgets.model import parse_policy
from marketplace.budgets.policy import load_policy
from marketplace.settings import POLICY as SAMPLE
from privacy.dp.budget import Budget
from tests.support.marketplace import POLICY


def changed(path: str, value: object) -> dict[str, Any]:
    data = deepcopy(yaml.safe_load(POLICY))
    *steps, last = path.split("/")
    place = data
    for step in steps:
        place = place[int(step) if step.isdecimal() else step]
    place[last] = value
    return data


def test_the_sample_policy_keeps_its_promises() -> None:
    policy = load_policy(SAMPLE)
    for domain in policy.domains.values():
        total = sum(s.micro_rho for s in domain.allotments.values())
        assert total <= domain.cap.micro_rho
        assert domain.epsilon(domain.cap) < 20.5
    assert "tax_summary" in policy.grants["demo-enterprise"]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("domains/enterprise/allotments/demo-bank/micro_rho", 1001, "sum to 2001 micro-rho"),
        ("domains/enterprise/allotments/demo-bank/delta_1e12", 51, "101e-12"),
        ("domains/enterprise/allotments/demo-bank/micro_rho", 10.5, "whole numbers"),
        ("domains/enterprise/cap/micro_rho", -1, "whole numbers"),
        ("domains/enterprise/cap/delta_1e12", 1000, "below 1000e-12"),
        ("domains/enterprise/max_units", 10_000_000, "below 100e-12"),
        ("grants/demo-bank/0/epsilon_max", 0.1, "in this order"),
        ("grants/demo-bank/0/epsilon_default", 0, "positive"),
        ("grants/demo-bank/0/epsilon_max", float("inf"), "finite"),
        ("grants/demo-bank/0/purposes", [], "at least one purpose"),
    ],
)
def test_a_policy_is_refused_when(path: str, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_policy(changed(path, value))


def test_what_selections_spent_is_taken_off_the_delta_that_epsilon_is_stated_at() -> None:
    domain = parse_policy(yaml.safe_load(POLICY)).domains["enterprise"]
    assert domain.target_delta_1e12 == 1000
    assert domain.epsilon(Budget(500, 99)) > domain.epsilon(Budget(500, 0))
