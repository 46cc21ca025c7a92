"""Identifiers with valid check digits, in a band of numbers that was never issued.

Sources: GB 32100-2015 (unified social credit code: 18 characters, modulus 31), GB 11714 (the
organisation code inside it: 8 characters and a check character, modulus 11), GB 11643-1999
(resident id: modulus 11-2). The letters I, O, S, V, Z do not occur in the first two.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
LENGTH = 18
BAND = "MAYY"
"""Every made-up organisation code begins so: far from the numbers that registrars issue."""
SERIALS = len(ALPHABET) ** 4
"""How many codes the band holds."""

_USCC_WEIGHTS = np.array([pow(3, i, 31) for i in range(17)])
_ORGANISATION_WEIGHTS = np.array([3, 7, 9, 10, 5, 8, 4, 2])
_RESIDENT_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2])
_ORGANISATION_CHECKS = np.frombuffer(b"0123456789X", dtype=np.uint8)
_RESIDENT_CHECKS = np.frombuffer(b"10X98765432", dtype=np.uint8)
_LETTERS = np.frombuffer(ALPHABET.encode(), dtype=np.uint8)


def _lookup(characters: str, values: range) -> Array:
    table = np.zeros(256, dtype=np.int64)
    for character, value in zip(characters, values, strict=True):
        table[ord(character)] = value
    return table


_USCC_VALUES = _lookup(ALPHABET, range(len(ALPHABET)))
# GB 11714 counts all 26 letters from A = 10, though five of them never occur.
_ORGANISATION_VALUES = _lookup("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", range(36))


def social_credit_codes(prefixes: Array, serials: Array) -> Array:
    """Return codes (dtype S18) from prefixes (`91370202`) and serial numbers below `SERIALS`."""
    if serials.size and not 0 <= int(serials.min()) <= int(serials.max()) < SERIALS:
        raise ValueError(f"The reserved band holds serial numbers 0 to {SERIALS - 1:,}.")
    codes = np.empty((len(serials), LENGTH), dtype=np.uint8)
    codes[:, :8] = np.ascontiguousarray(prefixes.astype("S8")).view(np.uint8).reshape(-1, 8)
    codes[:, 8:12] = np.frombuffer(BAND.encode(), dtype=np.uint8)
    for place in range(4):
        codes[:, 15 - place] = _LETTERS[serials // 31**place % 31]
    codes[:, 16] = _organisation_checks(codes[:, 8:16])
    codes[:, 17] = _uscc_checks(codes[:, :17])
    return codes.reshape(-1).view(f"S{LENGTH}")


def with_wrong_inner_digit(codes: Array) -> Array:
    """Return codes whose organisation check digit is wrong while the outer one fits."""
    digits = _matrix(codes).copy()
    digits[:, 16] = np.where(digits[:, 16] == ord("0"), ord("1"), ord("0"))
    digits[:, 17] = _uscc_checks(digits[:, :17])
    return digits.reshape(-1).view(f"S{LENGTH}")


def with_wrong_check_digit(codes: Array) -> Array:
    """Return codes whose last character is wrong."""
    digits = _matrix(codes).copy()
    digits[:, 17] = _LETTERS[(_USCC_VALUES[digits[:, 17]] + 1) % 31]
    return digits.reshape(-1).view(f"S{LENGTH}")


def is_social_credit_code(code: str) -> bool:
    """Whether both check characters fit; `stdnum` looks at the outer one only."""
    if len(code) != LENGTH or any(character not in ALPHABET for character in code):
        return False
    digits = _matrix(np.array([code.encode()]))
    inner, outer = _organisation_checks(digits[:, 8:16]), _uscc_checks(digits[:, :17])
    return bool(digits[0, 16] == inner[0] and digits[0, 17] == outer[0])


def resident_ids(divisions: Array, births: Array) -> Array:
    """Return resident ids (dtype S18) with sequence 000, which no person has."""
    numbers = np.zeros((len(births), LENGTH), dtype=np.uint8)
    numbers[:, :6] = np.ascontiguousarray(divisions.astype("S6")).view(np.uint8).reshape(-1, 6)
    text = np.char.replace(np.datetime_as_string(births), "-", "").astype("S8")
    numbers[:, 6:14] = np.ascontiguousarray(text).view(np.uint8).reshape(-1, 8)
    numbers[:, 14:17] = ord("0")
    sums = (numbers[:, :17].astype(np.int64) - ord("0")) @ _RESIDENT_WEIGHTS
    numbers[:, 17] = _RESIDENT_CHECKS[sums % 11]
    return numbers.reshape(-1).view(f"S{LENGTH}")


def _matrix(codes: Array) -> Array:
    return np.ascontiguousarray(codes).view(np.uint8).reshape(-1, LENGTH)


def _organisation_checks(bodies: Array) -> Array:
    sums = _ORGANISATION_VALUES[bodies] @ _ORGANISATION_WEIGHTS
    return np.asarray(_ORGANISATION_CHECKS[(11 - sums % 11) % 11])


def _uscc_checks(first: Array) -> Array:
    return np.asarray(_LETTERS[(31 - _USCC_VALUES[first] @ _USCC_WEIGHTS % 31) % 31])
