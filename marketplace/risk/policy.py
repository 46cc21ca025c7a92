"""Thresholds of the rules, as `risk.yaml` states them; every rule stands there, applied or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from marketplace.risk.model import Action, Severity

_COMMON = frozenset({"severity", "score", "action", "quiet_hours"})
FORMS: Mapping[str, Mapping[str, type]] = {
    "R-OFF": {"from_hour": int, "until_hour": int, "least": int, "sigmas": int, "days": int},
    "R-RATE": {"factor": int, "least": int},
    "R-ENUM": {
        "names": int,
        "minutes": int,
        "consecutive_percent": int,
        "unknown_percent": int,
        "no_consent_percent": int,
    },
    "R-AVG": {"times": int},
    "R-BUD": {"warn_percent": int, "high_percent": int, "day_percent": int},
    "R-PURP": {"denials": int, "codes": list},
    "R-CONS": {"denials": int, "codes": list},
    "R-DORM": {"days": int},
    "R-PRIV": {"codes": list, "administrators": list, "watched": list},
    "R-CROSS": {},
}
"""What each rule states, beside severity, score, action and quiet hours."""

UNFED = frozenset({"R-DIFF", "R-TRACK", "R-SMALL", "R-EXP", "R-SCORE"})
"""Rules that nothing feeds: the file says why."""

MOST: Mapping[str, int] = {
    "score": 100,
    "quiet_hours": 8_760,
    "from_hour": 23,
    "until_hour": 12,
    "days": 366,
    "minutes": 1_440,
}
MOST_PERCENT, MOST_NUMBER = 100, 1_000_000
MONTH_DAYS = 30
"""How far hourly counts are looked back on: no rule may ask for more of them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule's thresholds."""

    severity: Severity
    score: int
    action: Action
    quiet_hours: int
    limits: Mapping[str, int | frozenset[str]]

    def number(self, name: str) -> int:
        """Return a threshold."""
        found = self.limits[name]
        if not isinstance(found, int):
            raise AssertionError(f"{name} is a list of names")  # noqa: TRY004  # `FORMS` says
        return found

    def names(self, name: str) -> frozenset[str]:
        """Return a list of codes, roles or events."""
        found = self.limits[name]
        if isinstance(found, int):
            raise AssertionError(f"{name} is a number")  # noqa: TRY004  # `FORMS` says
        return found


@dataclass(frozen=True, slots=True)
class RiskPolicy:
    """All rules."""

    rules: Mapping[str, Rule]
    not_applied: Mapping[str, Mapping[str, str]]
    """Rule to the reason, in English and Chinese (`en`, `zh`)."""


def load_risk(path: Path) -> RiskPolicy:
    """Return the rules of a policy file; ValueError with the place of the first fault."""
    try:
        stated: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name} is not YAML: {error}") from error
    _keys(path.name, stated, {"rules", "not_applied"})
    rules, reasons = stated["rules"], stated["not_applied"]
    for name, part in (("rules", rules), ("not_applied", reasons)):
        if not isinstance(part, dict):
            raise ValueError(f"{path.name}: {name} is not a mapping of rules")  # noqa: TRY004
    missing = (set(FORMS) | UNFED) - set(rules) - set(reasons)
    wrong = set(rules) - set(FORMS) | (set(rules) | set(reasons)) - set(FORMS) - UNFED
    if missing or wrong or set(rules) & set(reasons):
        raise ValueError(
            f"{path.name}: each rule stands once, among the rules or among those not applied with "
            f"a reason; missing: {sorted(missing)}, not a rule that can be applied: "
            f"{sorted(wrong)}, twice: {sorted(set(rules) & set(reasons))}"
        )
    for name, reason in reasons.items():
        _keys(f"{path.name}: {name}", reason, {"en", "zh"})
        if not all(isinstance(r, str) and r.strip() for r in reason.values()):
            raise ValueError(f"{path.name}: {name} gives its reason in two languages")
    return RiskPolicy(
        {name: _rule(f"{path.name}: {name}", FORMS[name], body) for name, body in rules.items()},
        reasons,
    )


def _rule(where: str, form: Mapping[str, type], body: Mapping[str, Any]) -> Rule:
    _keys(where, body, _COMMON | set(form))
    for name, value in body.items():
        if name in ("score", "quiet_hours") or form.get(name) is int:
            most = MOST_PERCENT if name.endswith("percent") else MOST.get(name, MOST_NUMBER)
            if type(value) is not int or not 0 <= value <= most:
                raise ValueError(f"{where}: {name} is a whole number from 0 to {most}")
        elif form.get(name) is list and not (
            isinstance(value, list) and value and all(isinstance(v, str) for v in value)
        ):
            raise ValueError(f"{where}: {name} is a list of names that is not empty")
    if "sigmas" in body and body["days"] > MONTH_DAYS:
        raise ValueError(f"{where}: days is at most {MONTH_DAYS}, as far as hours are counted")
    for name in {"names", "denials", "times", "minutes"} & set(form):
        if body[name] < 1:
            raise ValueError(f"{where}: {name} is at least 1")
    try:
        severity, action = Severity(body["severity"]), Action(body["action"])
    except ValueError as error:
        raise ValueError(
            f"{where}: {error}; severities are {', '.join(Severity)}, actions {', '.join(Action)}"
        ) from error
    limits = {n: frozenset(body[n]) if kind is list else body[n] for n, kind in form.items()}
    return Rule(severity, body["score"], action, body["quiet_hours"], limits)


def _keys(where: str, given: object, wanted: set[str] | frozenset[str]) -> None:
    if not isinstance(given, dict) or set(given) != wanted:
        found = sorted(map(str, given)) if isinstance(given, dict) else type(given).__name__
        raise ValueError(f"{where} states {', '.join(sorted(wanted))}, and not {found}")
