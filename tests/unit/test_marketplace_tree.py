"""The Merkle tree: RFC 6962's own vectors, and proofs that cannot be bent."""

import pytest

from marketplace.audit.tree import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root,
    root_from_inclusion,
)

ENTRIES = tuple(
    bytes.fromhex(h)
    for h in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
)
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""Roots of the first n entries. Source: the test vectors of the Certificate Transparency project."""
LEAVES = [leaf_hash(e) for e in ENTRIES]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert root(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert root([]) == EMPTY_ROOT


@pytest.mark.parametrize("size", range(1, 9))
def test_every_leaf_proves_its_place_and_no_other(size: int) -> None:
    leaves = LEAVES[:size]
    for index in range(size):
        proof = inclusion_proof(leaves, index)
        assert root_from_inclusion(leaves[index], index, size, proof) == root(leaves)
        for other in range(size):
            if other != index:
                assert root_from_inclusion_or_none(leaves[index], other, size, proof) != root(
                    leaves
                )


def root_from_inclusion_or_none(
    leaf: bytes, index: int, size: int, proof: list[bytes]
) -> bytes | None:
    try:
        return root_from_inclusion(leaf, index, size, proof)
    except ValueError:
        return None


def test_a_consistency_proof_has_the_length_of_rfc_6962_section_2_1_3() -> None:
    # The RFC's worked example: a tree of 7, proofs from 3, 4 and 6.
    assert [len(consistency_proof(LEAVES[:7], n)) for n in (3, 4, 6, 7)] == [4, 1, 3, 0]


def test_a_proof_of_the_wrong_length_is_refused() -> None:
    proof = inclusion_proof(LEAVES, 3)
    with pytest.raises(ValueError, match="fewer than"):
        root_from_inclusion(LEAVES[3], 3, 8, proof[:-1])
    with pytest.raises(ValueError, match="more than"):
        root_from_inclusion(LEAVES[3], 3, 8, [*proof, proof[0]])
