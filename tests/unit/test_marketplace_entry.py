"""Entries of the log: exact bytes, no floats, no literals, a limit of length."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.audit.entry import MAX_BYTES, Commitment, Event, Plain, entry_bytes

NOW = "2026-11-01T00:00:00.000+00:00"
plain: st.SearchStrategy[Plain] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)
facts = st.dictionaries(st.text(max_size=8), plain, max_size=5)


@given(facts)
def test_an_entry_has_one_spelling_whatever_the_order_of_its_facts(
    given_facts: dict[str, Plain],
) -> None:
    backwards = dict(reversed(list(given_facts.items())))
    data = entry_bytes(Event.RELEASE_RECORDED, NOW, given_facts)
    assert entry_bytes(Event.RELEASE_RECORDED, NOW, backwards) == data
    assert json.loads(data)["facts"] == given_facts
    assert json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode() == data


@given(facts)
def test_an_entry_is_one_line_of_ascii(given_facts: dict[str, Plain]) -> None:
    data = entry_bytes(Event.RESERVATION_MADE, NOW, given_facts)
    assert all(32 <= byte < 127 for byte in data)


@pytest.mark.parametrize(
    "text", ["\n[fake] entry", "\x1b[31mred", "\u202eright to left", "\u2028", "</script>"]
)
def test_a_text_cannot_leave_its_place(text: str) -> None:
    data = entry_bytes(Event.RESERVATION_DENIED, NOW, {"tenant": text})
    assert json.loads(data)["facts"] == {"tenant": text}
    assert b"\n" not in data
    assert b"\x1b" not in data


@pytest.mark.parametrize("value", [1.0, [1.5], {"x": {"y": float("nan")}}])
def test_a_float_is_refused_wherever_it_hides(value: object) -> None:
    with pytest.raises(ValueError, match="no floats"):
        entry_bytes(Event.RELEASE_RECORDED, NOW, {"fact": value})  # type: ignore[dict-item]


def test_an_entry_that_a_bundle_cannot_hold_is_refused_and_the_longest_is_not() -> None:
    rest = len(entry_bytes(Event.RELEASE_RECORDED, NOW, {"x": ""}))
    longest = entry_bytes(Event.RELEASE_RECORDED, NOW, {"x": "a" * (MAX_BYTES - rest)})
    assert len(longest) == MAX_BYTES
    with pytest.raises(ValueError, match="longer than 65535"):
        entry_bytes(Event.RELEASE_RECORDED, NOW, {"x": "a" * (MAX_BYTES - rest + 1)})


def test_a_commitment_binds_its_text_and_hides_it() -> None:
    one, other = (
        Commitment(b"s" * 16, "where uscc = 'X'"),
        Commitment(b"t" * 16, "where uscc = 'X'"),
    )
    assert one.digest != other.digest
    assert one.digest == Commitment(b"s" * 16, "where uscc = 'X'").digest
    assert one.digest != Commitment(b"s" * 16, "where uscc = 'Y'").digest
