"""The sample policies say what their sentences say, each rule by itself, and fail closed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from marketplace.access.gate import resource
from marketplace.policy.book import FAILED, NOBODY, PolicyBook, PolicyError
from marketplace.policy.facts import ContractFacts
from marketplace.policy.model import RANKS, Inputs, TableFacts
from marketplace.settings import ACCESS, CEDAR, CONTRACTS

SCHEMA = (CEDAR / "lab.cedarschema").read_text()
POLICIES = "\n".join(f.read_text() for f in sorted(CEDAR.glob("*.cedar")))


@pytest.fixture(scope="module")
def book() -> PolicyBook:
    return PolicyBook.load(CEDAR)


def question(path: str = "", value: Any = None, action: str = "ask") -> Inputs:
    """Return a question that everything allows, but for one fact."""
    facts = {
        "person": {"name": "a", "organisation": "firm", "roles": ["analyst"]},
        "attributes": resource(TableFacts("tax", "G3", ("dp",))),
        "context": {
            "now": 1_000,
            "purpose": "research",
            "lane": "dp",
            "fields": ["b"],
            "epsilonMicro": 500_000,
            "microRho": 100,
            "stopped": False,
            "grant": {
                "state": "active",
                "starts": 1,
                "ends": 2_000,
                "purposes": ["research"],
                "lanes": ["dp"],
                "fields": [],
                "epsilonMaxMicro": 1_000_000,
            },
            "contract": {
                "state": "active",
                "starts": 1,
                "ends": 2_000,
                "purposes": ["research"],
                "lanes": ["dp"],
                "fields": [],
                "coversTable": True,
                "callsLeft": 1,
                "microRhoLeft": 100,
            },
        },
    }
    *way, last = path.split("/")
    inner: Any = facts
    for name in way:
        inner = inner[name]
    if value is None:
        inner.pop(last, None)
    else:
        inner[last] = value
    words = {"table": "tax_summary", "purposes": "research", "most": "1", "epsilon": "0.5"}
    return Inputs(action, "a", facts["person"], "Table", "tax_summary", facts["attributes"],
                  facts["context"], words)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "code", "policy"),
    [
        ("context/stopped", True, "ACCESS_STOPPED", "stopped"),
        ("attributes/graded", False, "GRADE_PATH", "ungraded-is-closed"),
        ("attributes/gradeRank", 0, "GRADE_PATH", "ungraded-is-closed"),
        ("attributes/gradeRank", 4, "GRADE_PATH", "g4-is-verified-only"),
        ("attributes/gradeRank", 5, "GRADE_PATH", "important-data-stays-out"),
        ("attributes/gradeRank", 6, "GRADE_PATH", "important-data-stays-out"),
        ("attributes/negative", ["operate"], "NEGATIVE_LIST", "negative-list"),
        ("attributes/operateLanes", ["download"], "TYPE_REFUSED", "type-and-lane"),
        ("person/roles", ["provider"], "ROLE_REFUSED", "members-ask"),
        ("person/roles", ["analyst", "auditor"], "ROLE_REFUSED", "administrators-see-no-data"),
        ("context/grant", None, "GRANT_REVOKED", "no-grant"),
        ("context/grant/state", "revoked", "GRANT_REVOKED", "no-grant"),
        ("context/grant/ends", 1_000, "GRANT_EXPIRED", "grant-term"),
        ("context/grant/starts", 1_001, "GRANT_EXPIRED", "grant-term"),
        ("context/contract", None, "CONTRACT_REFUSED", "contract"),
        ("context/contract/state", "exited", "CONTRACT_REFUSED", "contract"),
        ("context/contract/coversTable", False, "CONTRACT_REFUSED", "contract"),
        ("context/contract/ends", 1_000, "CONTRACT_REFUSED", "contract-term"),
        ("context/contract/callsLeft", 0, "CONTRACT_USED_UP", "contract-count"),
        ("context/contract/microRhoLeft", 99, "CONTRACT_USED_UP", "contract-count"),
        ("context/purpose", "curiosity", "PURPOSE_REFUSED", "purpose"),
        ("context/contract/purposes", ["other"], "PURPOSE_REFUSED", "purpose"),
        ("context/grant/lanes", ["download"], "TYPE_REFUSED", "granted-lane"),
        ("context/grant/fields", ["a"], "FIELD_REFUSED", "granted-fields"),
        ("context/contract/fields", ["a"], "FIELD_REFUSED", "granted-fields"),
        ("context/epsilonMicro", 1_000_001, "EPSILON_TOO_LARGE", "epsilon"),
    ],
)
def test_each_fact_alone_denies_by_its_own_policy(
    book: PolicyBook, path: str, value: Any, code: str, policy: str
) -> None:
    made = book.decide(question(path, value))
    assert (made.allowed, made.code, made.policy) == (False, code, policy)
    for sentence in (made.en, made.zh):
        assert sentence.what
        assert sentence.nearest
    assert "tax_summary" in made.en.what + made.en.nearest or code == "ROLE_REFUSED"
    assert book.decide(Inputs.of(made.inputs.text())).policy == policy


@pytest.mark.parametrize("whose", ["grant", "contract"])
@pytest.mark.parametrize(
    ("used", "allowed"),
    [(["a"], True), ([], True), (["a", "b"], True), (["a", "c"], False), (None, False)],
    ids=["one", "none", "all", "other", "unsaid"],
)
def test_a_grant_for_some_fields_allows_questions_that_say_so_and_use_no_other(
    book: PolicyBook, whose: str, used: list[str] | None, allowed: bool
) -> None:
    asked = question("context/fields", used)
    asked.context[whose]["fields"] = ["a", "b"]
    assert book.decide(asked).allowed is allowed


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("", None),
        ("attributes/negative", ["share", "open"]),
        ("attributes/gradeRank", 1),
        ("context/contract/microRhoLeft", 100),
        ("context/grant/ends", 1_001),
        ("context/epsilonMicro", 1_000_000),
        ("person/roles", ["member"]),
    ],
)
def test_what_no_policy_forbids_is_permitted(book: PolicyBook, path: str, value: Any) -> None:
    made = book.decide(question(path, value))
    assert (made.allowed, made.code, made.policy) == (True, "", "granted-questions")


def test_results_about_one_subject_need_a_consent_for_this_purpose_and_recipient(
    book: PolicyBook,
) -> None:
    def judged(consent: dict[str, Any] | None) -> str:
        asked = question("context/consent", consent)
        lane = "consented_result"
        context = {**asked.context, "lane": lane}
        for holder in ("grant", "contract"):
            context[holder] = {**context[holder], "lanes": [lane]}
        attributes = {**asked.attributes, "operateLanes": [lane]}
        return book.decide(
            Inputs("ask", "a", asked.person, "Table", "t", attributes, context, {})
        ).code

    good = {"live": True, "purpose": "research", "recipient": "firm"}
    assert judged(good) == ""
    assert judged(None) == "CONSENT_MISSING"
    for name, other in (("live", False), ("purpose", "sales"), ("recipient", "bank")):
        assert judged({**good, name: other}) == "CONSENT_MISSING"


@pytest.mark.parametrize(
    ("path", "value", "policy"),
    [
        ("context/now", "noon", FAILED),
        ("context/unheard-of", 1, FAILED),
        ("context/grant/ends", None, FAILED),
        ("attributes/gradeRank", "G3", FAILED),
        ("person/roles", None, FAILED),
    ],
)
def test_inputs_that_the_schema_does_not_know_are_denied(
    book: PolicyBook, path: str, value: Any, policy: str
) -> None:
    made = book.decide(question(path, value))
    assert (made.allowed, made.policy, made.code) == (False, policy, "POLICY_FAILED")


def test_what_no_policy_names_is_denied() -> None:
    empty = PolicyBook(SCHEMA, "")
    made = empty.decide(question())
    assert (made.allowed, made.policy, made.code) == (False, NOBODY, "ROLE_REFUSED")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("context.stopped };", "context.halted };", "halted"),
        ('@id("stopped")\n', "", "no name"),
        ('@code("ACCESS_STOPPED")\n', "", "lacks its annotation code"),
        ('@zh("对 {table} 的访问目前已紧急停止。")\n', "", "lacks its annotation zh"),
        ("{table} is stopped", "{table is stopped", "broken brace"),
        ('@id("ungraded-is-closed")', '@id("stopped")', "two policies are called stopped"),
        ("forbid (principal", "forbid principal", "unexpected"),
    ],
)
def test_policies_that_do_not_hold_are_not_put_in_force(before: str, after: str, said: str) -> None:
    assert before in POLICIES
    with pytest.raises(PolicyError, match=said):
        PolicyBook(SCHEMA, POLICIES.replace(before, after, 1))


def test_the_samples_say_that_they_are_samples() -> None:
    for path in [*CEDAR.glob("*.cedar"), ACCESS]:
        head = path.read_text()[:200]
        assert "示例策略" in head, path
        assert "ample policy" in head, path


def test_a_contract_without_a_grade_closes_its_table(tmp_path: Path) -> None:
    policy = yaml.safe_load(ACCESS.read_text())
    known = ContractFacts((CONTRACTS,), policy)
    assert {known(n).grade for n in known.names} <= set(RANKS)  # type: ignore[union-attr]
    contract = yaml.safe_load((CONTRACTS / "tax_summary.yaml").read_text())
    del contract["schema"][0]["properties"][1]["classification"]
    (tmp_path / "tax_summary.yaml").write_text(yaml.safe_dump(contract, allow_unicode=True))
    facts = ContractFacts((CONTRACTS, tmp_path), policy)("tax_summary")
    assert facts is not None
    assert (facts.grade, facts.operate_lanes) == ("", ())
    assert known("nowhere") is None
