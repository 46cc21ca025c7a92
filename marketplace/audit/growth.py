"""How the tree grows, as values: the right edge, the tiles that new entries fill, the root."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from marketplace.audit import tree
from marketplace.audit.tiles import HEIGHT, WIDTH, Tile, bundle, fold, rightmost


@dataclass(slots=True)
class Growth:
    """The right edge of a tree: at each level of tiles, the hashes that fill no tile yet."""

    size: int = 0
    edges: list[list[bytes]] = field(default_factory=list)
    tail: list[bytes] = field(default_factory=list)
    """Entries of the last, partial bundle."""

    @classmethod
    def resume(cls, size: int, fetch: tree.Fetch, tail: Sequence[bytes]) -> Self:
        """Return the edge of a tree that is stored as tiles."""
        edges, level = [], 0
        while count := size >> (HEIGHT * level):
            start = count - count % WIDTH
            edges.append([fetch(HEIGHT * level, i) for i in range(start, count)])
            level += 1
        return cls(size, edges, list(tail))

    def copy(self) -> Self:
        """Return an edge of its own."""
        return type(self)(self.size, [list(e) for e in self.edges], list(self.tail))

    def add(
        self, entries: Sequence[bytes], *, partial: bool = True
    ) -> Iterator[tuple[Tile, bytes]]:
        """Append entries; yield each tile and bundle that is new, the partial ones last."""
        grown: set[int] = set()
        for entry in entries:
            self.tail.append(entry)
            self.size += 1
            grown.add(0)
            yield from self._push(0, tree.leaf_hash(entry), grown)
        if not partial:
            return
        for tile in rightmost(self.size):
            if tile.level == 0 and 0 in grown:
                yield Tile(None, tile.index, tile.width), bundle(self.tail)
            if tile.level in grown:
                yield tile, b"".join(self.edges[tile.level])

    def root(self) -> bytes:
        """Return the tree hash."""
        carried: list[bytes] = []
        for edge in self.edges:
            nodes = [*edge, *carried]
            carried = [fold(nodes)] if nodes else []
        return carried[0] if carried else tree.EMPTY_ROOT

    def outgrown(self, size: int) -> Iterator[Tile]:
        """Yield the partial tiles of this tree that are full in a tree of `size`."""
        for tile in rightmost(self.size):
            if tile.level is not None and (size >> HEIGHT * tile.level) // WIDTH > tile.index:
                yield tile
                if tile.level == 0:
                    yield Tile(None, tile.index, tile.width)

    def _push(self, level: int, value: bytes, grown: set[int]) -> Iterator[tuple[Tile, bytes]]:
        if level == len(self.edges):
            self.edges.append([])
        edge = self.edges[level]
        edge.append(value)
        grown.add(level)
        if len(edge) < WIDTH:
            return
        index = (self.size >> (HEIGHT * (level + 1))) - 1
        if level == 0:
            yield Tile(None, index, WIDTH), bundle(self.tail)
            self.tail.clear()
        yield Tile(level, index, WIDTH), b"".join(edge)
        full = fold(edge)
        edge.clear()
        yield from self._push(level + 1, full, grown)
