"""However a log grew, its files are the same, and any two heads of it prove each other."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from marketplace.audit import tree, verifier
from marketplace.audit.growth import Growth
from marketplace.audit.tiles import Tile, fetch_from
from tests.support.logs import entry

sizes = st.integers(0, 700) | st.sampled_from([255, 256, 257, 511, 512, 513])


class Files:
    """A folder in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def add(self, growth: Growth, start: int, end: int) -> None:
        for tile, data in growth.add([entry(i) for i in range(start, end)]):
            self.kept[tile.path] = data

    def read(self, path: str) -> bytes:
        if path not in self.kept:
            raise verifier.Problem("MISSING_FILE", path=path)
        return self.kept[path]


def rfc_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    pair = rfc_root(leaves[:split]) + rfc_root(leaves[split:])
    return hashlib.sha256(b"\x01" + pair).digest()


LEAVES = [tree.leaf_hash(entry(i)) for i in range(701)]


@given(st.lists(sizes, min_size=1, max_size=5).map(sorted))
def test_the_files_do_not_depend_on_how_the_log_grew(steps: list[int]) -> None:
    files, growth, done = Files(), Growth(), 0
    for size in steps:
        files.add(growth, done, size)
        done = size
        assert growth.root() == rfc_root(LEAVES[:size])
    at_once = Files()
    at_once.add(Growth(), 0, done)
    assert at_once.kept.items() <= files.kept.items()
    found = verifier.scan(files, done, with_entries=True, old_size=steps[0])
    assert found == verifier.Scan(rfc_root(LEAVES[:done]), rfc_root(LEAVES[: steps[0]]))


@given(st.integers(1, 700), st.data())
def test_tiles_prove_every_entry_and_every_earlier_head(size: int, data: st.DataObject) -> None:
    files, old = Files(), data.draw(st.integers(1, size))
    files.add(Growth(), 0, size)
    root, old_root = rfc_root(LEAVES[:size]), rfc_root(LEAVES[:old])
    index = data.draw(st.integers(0, size - 1))

    def read(tile: Tile) -> bytes:
        return files.kept[tile.path]

    ours = fetch_from(read, size)
    path = tree.inclusion_proof(index, size, ours)
    tree.check_inclusion(LEAVES[index], index, size, path, root)
    assert verifier.included(index, size, LEAVES[index], path) == root
    growth_path = tree.consistency_proof(old, size, ours)
    theirs = verifier.fetch_from(files, size)
    if old < size:
        assert verifier.consistency_path(old, 0, size, theirs, whole=True) == growth_path
        assert verifier.grown(old, size, old_root, growth_path) == (old_root, root)
    assert verifier.root_of(0, size, theirs) == root


@given(st.integers(2, 700), st.data())
def test_a_path_of_another_length_or_place_proves_nothing(size: int, data: st.DataObject) -> None:
    files = Files()
    files.add(Growth(), 0, size)
    root, index = rfc_root(LEAVES[:size]), data.draw(st.integers(0, size - 1))
    path = tree.inclusion_proof(index, size, verifier.fetch_from(files, size))
    other = data.draw(st.integers(0, size - 1).filter(lambda i: i != index))
    assert verifier.included(other, size, LEAVES[index], path) != root
    for bad in (path[:-1], path[1:], [*path, root], [root, *path]):
        assert verifier.included(index, size, LEAVES[index], bad) != root


@given(st.integers(0, 699))
def test_an_edge_taken_up_again_goes_on_as_if_never_left(size: int) -> None:
    files, growth = Files(), Growth()
    files.add(growth, 0, size)
    tail = [entry(i) for i in range(size - size % 256, size)]
    again = Growth.resume(size, verifier.fetch_from(files, size), tail)
    assert again.root() == growth.root()
    growth.tail, again.tail = list(growth.tail), list(again.tail)
    for one in (growth, again):
        one.edges = [*one.edges]
    first, second = Files(), Files()
    first.add(growth, size, 700)
    second.add(again, size, 700)
    assert first.kept == second.kept
