"""The log's tree against the test vectors of Certificate Transparency.

Source: google/certificate-transparency, `merkletree/merkle_tree_test.cc`: eight leaves, the root
after each, and audit paths.
"""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.audit import tree

LEAVES = tuple(
    bytes.fromhex(text)
    for text in (
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


class Grown:
    """A tree that was appended to, keeping only complete subtrees."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.known: dict[tuple[int, int], bytes] = {}
        for index, leaf in enumerate(leaves):
            self.known[0, index] = leaf
            level, position, value = 0, index, leaf
            while position % 2:
                value = tree.node_hash(self.fetch(level, position - 1), value)
                level, position = level + 1, position >> 1
                self.known[level, position] = value

    def fetch(self, level: int, index: int) -> bytes:
        return self.known[level, index]


def some_leaves(size: int) -> list[bytes]:
    return [tree.leaf_hash(str(i).encode()) for i in range(size)]


def recursive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = recursive_root(leaves[:split]), recursive_root(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    grown = Grown([tree.leaf_hash(leaf) for leaf in LEAVES[:size]])
    assert tree.root(size, grown.fetch).hex() == ROOTS[size - 1]


def test_an_inclusion_proof_is_the_one_of_certificate_transparency() -> None:
    grown = Grown([tree.leaf_hash(leaf) for leaf in LEAVES])
    assert [h.hex() for h in tree.inclusion_proof(0, 8, grown.fetch)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]


def test_an_empty_tree_has_the_hash_of_nothing() -> None:
    assert tree.root(0, Grown([]).fetch) == hashlib.sha256(b"").digest()


@given(st.integers(0, 70))
def test_stored_subtrees_give_the_root_of_all_leaves(size: int) -> None:
    leaves = some_leaves(size)
    assert tree.root(size, Grown(leaves).fetch) == recursive_root(leaves)


@given(st.integers(1, 70), st.data())
def test_every_leaf_is_proven_and_no_other_is(size: int, data: st.DataObject) -> None:
    leaves = some_leaves(size)
    grown, index = Grown(leaves), data.draw(st.integers(0, size - 1))
    proof, root = tree.inclusion_proof(index, size, grown.fetch), recursive_root(leaves)
    tree.check_inclusion(leaves[index], index, size, proof, root)
    for other in range(size):
        if other != index:
            with pytest.raises(tree.ProofError):
                tree.check_inclusion(leaves[other], index, size, proof, root)
            with pytest.raises(tree.ProofError):
                tree.check_inclusion(leaves[index], other, size, proof, root)


@given(st.integers(1, 70), st.data())
def test_every_earlier_tree_is_proven_to_be_a_prefix(size: int, data: st.DataObject) -> None:
    leaves, old = some_leaves(size), data.draw(st.integers(1, size))
    proof = tree.consistency_proof(old, size, Grown(leaves).fetch)
    old_root, root = recursive_root(leaves[:old]), recursive_root(leaves)
    tree.check_consistency(old, old_root, size, root, proof)
    rewritten = [*leaves]
    rewritten[data.draw(st.integers(0, old - 1))] = tree.leaf_hash(b"rewritten")
    with pytest.raises(tree.ProofError):
        tree.check_consistency(old, old_root, size, recursive_root(rewritten), proof)


@given(st.integers(2, 70), st.data())
def test_a_proof_with_a_hash_too_few_or_too_many_is_refused(size: int, data: st.DataObject) -> None:
    leaves, index = some_leaves(size), data.draw(st.integers(0, size - 1))
    root = recursive_root(leaves)
    proof = tree.inclusion_proof(index, size, Grown(leaves).fetch)
    for bad in (proof[:-1], [*proof, root]):
        with pytest.raises(tree.ProofError):
            tree.check_inclusion(leaves[index], index, size, bad, root)


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_a_leaf_outside_the_tree_has_no_proof(index: int, size: int) -> None:
    grown = Grown(some_leaves(size))
    with pytest.raises(ValueError, match="no leaf"):
        tree.inclusion_proof(index, size, grown.fetch)
    with pytest.raises(tree.ProofError):
        tree.check_inclusion(b"", index, size, [], b"")
