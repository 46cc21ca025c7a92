"""A folder of Cedar policies, checked against its schema and compiled once.

Cedar (https://docs.cedarpolicy.com): permits and forbids, a forbid always wins, nothing is allowed
that no policy permits. Annotations of a policy hold its code and its sentences. Cedar leaves out a
policy whose evaluation fails, which would open what it forbids: any such failure denies here.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cedarpy

from marketplace.policy.model import Decision, Inputs, Sentence

SCHEMA = "lab.cedarschema"
CODE = re.compile(r"^[A-Z][A-Z_]{2,39}$")
NOBODY = "nobody-by-default"
FAILED = "evaluation-failed"


class PolicyError(Exception):
    """Policies that cannot be put in force; the message names file set and mistake."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy, as a person reads it."""

    name: str
    effect: str
    code: str
    en: Sentence
    zh: Sentence


_DEFAULT = Rule(
    NOBODY,
    "forbid",
    "ROLE_REFUSED",
    Sentence("No policy permits this to you.", "Ask your organisation or the bureau who may."),
    Sentence("没有策略允许您执行此操作。", "请向所在机构或主管部门咨询谁有此权限。"),
)
_BROKEN = Rule(
    FAILED,
    "forbid",
    "POLICY_FAILED",
    Sentence("A policy could not be evaluated, so this is refused.", "Tell the bureau."),
    Sentence("策略无法求值，因此拒绝此操作。", "请告知主管部门。"),
)


class PolicyBook:
    """Compiled policies. Deciding takes about 0.2 ms and has no side effect."""

    def __init__(self, schema: str, policies: str) -> None:
        """Compile; PolicyError if the schema does not hold or a rule cannot be told to people."""
        self.schema_text, self.policies_text = schema, policies
        self.version = hashlib.sha256(f"{schema}\0{policies}".encode()).hexdigest()
        try:
            found = cedarpy.validate_policies(policies, schema)
            if not found.validation_passed:
                raise PolicyError("; ".join(str(e) for e in found.errors))
            self._schema = cedarpy.Schema.from_str(schema)
            self._policies = cedarpy.PolicySet.from_str(policies)
            self._rules = _rules(json.loads(cedarpy.policies_to_json_str(policies)))
        except ValueError as error:
            raise PolicyError(str(error)) from error

    @classmethod
    def load(cls, folder: Path) -> "PolicyBook":
        """Read `lab.cedarschema` and all `*.cedar` of a folder, in the order of their names."""
        try:
            schema = (folder / SCHEMA).read_text(encoding="utf-8")
            parts = [f.read_text(encoding="utf-8") for f in sorted(folder.glob("*.cedar"))]
        except OSError as error:
            raise PolicyError(f"{folder}: {error.strerror}") from error
        try:
            return cls(schema, "\n".join(parts))
        except PolicyError as error:
            raise PolicyError(f"{folder}: {error}") from error

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return all rules in their order."""
        return tuple(self._rules.values())

    def decide(self, inputs: Inputs) -> Decision:
        """Return the decision on inputs; whatever goes wrong is a denial."""
        try:
            answer = cedarpy.is_authorized(
                _request(inputs), self._policies, _entities(inputs), self._schema
            )
        except (ValueError, TypeError):
            return self._decision(inputs, _BROKEN, allowed=False)
        if answer.diagnostics.errors or answer.decision is cedarpy.Decision.NoDecision:
            return self._decision(inputs, _BROKEN, allowed=False)
        reasons = sorted(answer.diagnostics.reasons, key=_position)
        rule = self._rules[reasons[0]] if reasons else _DEFAULT
        return self._decision(inputs, rule, allowed=answer.allowed)

    def _decision(self, inputs: Inputs, rule: Rule, *, allowed: bool) -> Decision:
        return Decision(
            inputs,
            allowed,
            "" if allowed else rule.code,
            rule.name,
            self.version,
            rule.en.filled(inputs.words),
            rule.zh.filled(inputs.words),
        )


def _position(name: str) -> int:
    return int(name.removeprefix("policy"))


def _rules(parsed: Mapping[str, Any]) -> dict[str, Rule]:
    if parsed["templates"]:
        raise PolicyError("policies without templates, please: each names who it is for")
    found = {name: _rule(p) for name, p in parsed["staticPolicies"].items()}
    names = [r.name for r in found.values()]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise PolicyError(f"two policies are called {', '.join(twice)}")
    return dict(sorted(found.items(), key=lambda pair: _position(pair[0])))


def _rule(policy: Mapping[str, Any]) -> Rule:
    said: Mapping[str, str] = policy.get("annotations", {})
    name, effect, code = said.get("id", ""), policy["effect"], said.get("code", "")
    if not name:
        raise PolicyError('a policy has no name: write @id("...") above it')
    if effect == "forbid":
        missing = [k for k in ("en", "zh", "nearest_en", "nearest_zh") if not said.get(k)]
        if missing or not CODE.match(code):
            lacks = ", ".join([*missing, *([] if CODE.match(code) else ["code"])])
            raise PolicyError(f"policy {name} forbids and lacks its annotation {lacks}")
    try:
        en = Sentence(said.get("en", ""), said.get("nearest_en", ""))
        zh = Sentence(said.get("zh", ""), said.get("nearest_zh", ""))
        _ = en.filled({}), zh.filled({})
    except (ValueError, IndexError, AttributeError) as error:
        raise PolicyError(f"policy {name} has a sentence with a broken brace") from error
    return Rule(name, effect, code, en, zh)


def _request(inputs: Inputs) -> dict[str, Any]:
    return {
        "principal": {"type": "Lab::Person", "id": inputs.principal},
        "action": {"type": "Lab::Action", "id": inputs.action},
        "resource": {"type": f"Lab::{inputs.kind}", "id": inputs.resource},
        "context": dict(inputs.context),
    }


def _entities(inputs: Inputs) -> list[dict[str, Any]]:
    person = {
        "uid": {"type": "Lab::Person", "id": inputs.principal},
        "attrs": dict(inputs.person),
        "parents": [],
    }
    resource = {
        "uid": {"type": f"Lab::{inputs.kind}", "id": inputs.resource},
        "attrs": dict(inputs.attributes),
        "parents": [],
    }
    return [person, resource]
