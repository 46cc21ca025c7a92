"""No order of acts publishes what another organisation did not approve, byte for byte."""

from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.catalogue.states import (
    LAB,
    Act,
    Actor,
    ActRefusedError,
    Check,
    State,
    Version,
    step,
)

ACTORS = (LAB, *(Actor(u, o) for u in ("ann", "bob", "") for o in ("tax", "bureau", "")))
ANN, BOB = Actor("ann", "tax"), Actor("bob", "bureau")
ACTORS_OF = {Act.EDIT: [ANN], Act.SUBMIT: [ANN], Act.APPROVE: [BOB], Act.PUBLISH: [ANN]}
ANY = st.tuples(st.sampled_from(Act), st.sampled_from(ACTORS), st.sampled_from(["d1", "d2"]))
WAY = (Act.EDIT, Act.SUBMIT, Act.APPROVE, Act.PUBLISH)


@st.composite
def histories(draw):
    """Return acts that often get far: the usual way, each by anybody, with anything in between."""
    acts = []
    for _ in range(draw(st.integers(1, 3))):
        for act in WAY:
            acts += draw(st.lists(ANY, max_size=1))
            usual = ACTORS_OF[act]
            actor = draw(st.sampled_from([*usual, *usual, *ACTORS]))
            acts.append((act, actor, draw(st.sampled_from(["d1", "d1", "d1", "d2"]))))
    return acts


def walk(acts):
    """Apply acts, skipping refused ones; yield each that happened, with before and after."""
    version = Version("r", 1, "tax", "d1", author="ann")
    for act, actor, digest in acts:
        try:
            after = step(version, act, actor, digest)
        except ActRefusedError:
            continue
        yield act, actor, version, after
        version = after


@settings(max_examples=settings().max_examples * 10)
@given(histories())
def test_what_is_published_was_approved_as_it_is_by_another_organisation(acts):
    approved: set[str] = set()
    for act, actor, before, after in walk(acts):
        if act is Act.APPROVE:
            assert actor.organisation != "tax"
            assert actor.user not in ("", before.author)
            approved.add(after.digest)
        if after.state is State.PUBLISHED:
            assert after.digest == after.approved_digest
            assert after.digest in approved
            assert after.check in (Check.NONE, Check.PASSED)


@settings(max_examples=settings().max_examples * 10)
@given(histories())
def test_content_changes_only_by_its_own_provider_and_never_after_submission(acts):
    for act, actor, before, after in walk(acts):
        if before.digest != after.digest:
            assert act in (Act.EDIT, Act.UPLOAD)
            assert actor.organisation == "tax"
            assert before.state in (State.DRAFT, State.RETURNED)
            assert after.check is not Check.PASSED


def test_the_straight_way_leads_to_publication():
    ann, bob = Actor("ann", "tax"), Actor("bob", "bureau")
    acts = [(Act.UPLOAD, ann), (Act.PASS, LAB), (Act.SUBMIT, ann), (Act.APPROVE, bob)]
    ends = [after for *_, after in walk([(a, who, "d1") for a, who in [*acts, (Act.PUBLISH, ann)]])]

    assert [v.state for v in ends][-2:] == [State.APPROVED, State.PUBLISHED]
