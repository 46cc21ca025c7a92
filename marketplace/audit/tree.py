"""The Merkle tree of the log: pure arithmetic on hashes.

A tree is its size and a function that fetches the root of any complete subtree: of the entries
`index · 2**level` up to `(index + 1) · 2**level`. Storing those is enough to prove anything with a
number of look-ups that grows with the logarithm of the size.

Source: RFC 6962 (Certificate Transparency), section 2.1: leaf and node hashes, audit paths and
consistency proofs; the same tree that C2SP tlog-tiles stores. Verification: RFC 9162, 2.1.3–2.1.4.
"""

import hashlib
from collections.abc import Callable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()

Fetch = Callable[[int, int], bytes]
"""Level and index to the root of that complete subtree; level 0 is a leaf hash."""


class ProofError(ValueError):
    """A proof does not lead to the root that is claimed."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of one entry's exact bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(size: int, fetch: Fetch) -> bytes:
    """Return the tree hash of the first `size` entries."""
    return _hash(0, size, fetch) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, fetch: Fetch) -> list[bytes]:
    """Return the audit path of leaf `index`, bottom up; ValueError if there is no such leaf."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    return _path(index, 0, size, fetch)


def consistency_proof(old_size: int, size: int, fetch: Fetch) -> list[bytes]:
    """Return the proof that the tree of the first `old_size` leaves is a prefix of this one."""
    if not 0 < old_size <= size:
        raise ValueError(f"no tree of {old_size} inside a tree of {size}")
    return _subproof(old_size, 0, size, fetch, whole=True)


def check_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], claimed_root: bytes
) -> None:
    """Raise `ProofError` unless `proof` shows `leaf` at `index` under `claimed_root`."""
    if not 0 <= index < size:
        raise ProofError(f"no leaf {index} in a tree of {size}")
    position, last, value = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofError(f"{len(proof)} hashes are more than a tree of {size} allows")
        if position % 2 or position == last:
            value = node_hash(sibling, value)
            while position % 2 == 0 and position:
                position, last = position >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise ProofError(f"{len(proof)} hashes are fewer than a tree of {size} needs")
    if value != claimed_root:
        raise ProofError(
            f"the proof leads to {value.hex()}, the checkpoint says {claimed_root.hex()}"
        )


def check_consistency(
    old_size: int, old_root: bytes, size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise `ProofError` unless `proof` shows that the old tree is a prefix of the new one."""
    if not 0 < old_size <= size:
        raise ProofError(f"no tree of {old_size} inside a tree of {size}")
    if old_size == size:
        if proof or old_root != new_root:
            raise ProofError("two trees of one size have one root and an empty proof")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise ProofError("the proof is empty")
    position, last = old_size - 1, size - 1
    while position % 2:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError(f"{len(proof)} hashes are more than these trees allow")
        if position % 2 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while position % 2 == 0 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise ProofError(f"{len(proof)} hashes are fewer than these trees need")
    if (old, new) != (old_root, new_root):
        raise ProofError(
            f"the proof leads to {old.hex()} and {new.hex()}, "
            f"the checkpoints say {old_root.hex()} and {new_root.hex()}"
        )


def _hash(start: int, end: int, fetch: Fetch) -> bytes:
    """Return the hash over entries `start` up to `end`, a range that RFC 6962 splits off.

    Its start is then a multiple of the largest power of two in its length, so that complete
    subtrees are what is stored.
    """
    length = end - start
    if length & (length - 1) == 0:
        level = length.bit_length() - 1
        return fetch(level, start >> level)
    middle = start + _split(length)
    return node_hash(_hash(start, middle, fetch), _hash(middle, end, fetch))


def _path(index: int, start: int, end: int, fetch: Fetch) -> list[bytes]:
    if end - start == 1:
        return []
    middle = start + _split(end - start)
    if index < middle:
        return [*_path(index, start, middle, fetch), _hash(middle, end, fetch)]
    return [*_path(index, middle, end, fetch), _hash(start, middle, fetch)]


def _subproof(old_end: int, start: int, end: int, fetch: Fetch, *, whole: bool) -> list[bytes]:
    if old_end == end:
        return [] if whole else [_hash(start, end, fetch)]
    middle = start + _split(end - start)
    if old_end <= middle:
        below = _subproof(old_end, start, middle, fetch, whole=whole)
        return [*below, _hash(middle, end, fetch)]
    return [*_subproof(old_end, middle, end, fetch, whole=False), _hash(start, middle, fetch)]


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
