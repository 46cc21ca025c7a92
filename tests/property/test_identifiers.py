"""Identifiers of the made-up city: check digits by the standards' own vectors and laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import ric, uscc

from sandbox.lake.generate.identifiers import (
    ALPHABET,
    SERIALS,
    is_social_credit_code,
    resident_ids,
    social_credit_codes,
    with_wrong_check_digit,
    with_wrong_inner_digit,
)

serials = st.integers(0, SERIALS - 1)
prefixes = st.sampled_from(["91370202", "91370211", "92370285", "93370283", "12370200"])


def code_of(prefix: str, serial: int) -> str:
    codes = social_credit_codes(np.array([prefix.encode()]), np.array([serial]))
    return str(codes[0].decode())


@pytest.mark.parametrize(
    ("prefix", "serial", "code"),
    [
        ("91370202", 1, "91370202MAYY000180"),
        ("91370211", 2, "91370211MAYY00026U"),
        ("92370285", 3, "92370285MAYY00034R"),
        ("93370283", 4, "93370283MAYY00042L"),
    ],
)
def test_codes_equal_the_reference_vectors(prefix: str, serial: int, code: str) -> None:
    assert code_of(prefix, serial) == code


@pytest.mark.parametrize("code", ["91110000600037341L", "12370200MB00000196"])
def test_codes_from_elsewhere_are_valid(code: str) -> None:
    assert is_social_credit_code(code)


@given(prefix=prefixes, serial=serials)
def test_every_made_up_code_passes_the_public_validator(prefix: str, serial: int) -> None:
    code = code_of(prefix, serial)
    assert code[8:12] == "MAYY"
    assert uscc.is_valid(code)
    assert is_social_credit_code(code)


@given(first=serials, second=serials)
def test_different_serials_give_different_codes(first: int, second: int) -> None:
    equal = code_of("91370202", first) == code_of("91370202", second)
    assert equal == (first == second)


@given(prefix=prefixes, serial=serials, place=st.integers(0, 17), letter=st.sampled_from(ALPHABET))
def test_one_wrong_character_is_always_found(
    prefix: str, serial: int, place: int, letter: str
) -> None:
    code = code_of(prefix, serial)
    changed = code[:place] + letter + code[place + 1 :]
    assert is_social_credit_code(changed) == (changed == code)


@given(serial=serials)
def test_a_wrong_inner_digit_is_found_although_the_public_validator_misses_it(serial: int) -> None:
    right = social_credit_codes(np.array([b"91370202"]), np.array([serial]))
    wrong = with_wrong_inner_digit(right)[0].decode()
    assert uscc.is_valid(wrong)
    assert not is_social_credit_code(wrong)
    assert not is_social_credit_code(with_wrong_check_digit(right)[0].decode())


@given(days=st.integers(0, 20_000), division=st.sampled_from(["370202", "370211", "370285"]))
def test_resident_ids_carry_the_standard_check_digit_and_no_real_sequence(
    days: int, division: str
) -> None:
    birth = np.array(["1950-01-01"], dtype="datetime64[D]") + days
    number = resident_ids(np.array([division.encode()]), birth)[0].decode()
    assert number[17] == ric.calc_check_digit(number)
    assert number[14:17] == "000"


def test_a_serial_beyond_the_band_is_refused() -> None:
    with pytest.raises(ValueError, match="reserved band"):
        social_credit_codes(np.array([b"91370202"]), np.array([SERIALS]))
