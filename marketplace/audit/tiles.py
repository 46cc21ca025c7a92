"""Where the log's tree and entries lie as files: paths, bundles, and what a growth writes.

Source: C2SP tlog-tiles (https://c2sp.org/tlog-tiles): tiles of 256 hashes, entry bundles with
two-byte lengths, partial tiles under `.p/<width>`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from marketplace.audit.entry import MAX_BYTES
from marketplace.audit.tree import Fetch, node_hash

HEIGHT = 8
WIDTH = 1 << HEIGHT
HASH_BYTES = 32


@dataclass(frozen=True, slots=True)
class Tile:
    """One file of the log."""

    level: int | None
    """Height in tiles above the leaves; None for the bundle of entries beside level 0."""
    index: int
    width: int
    """1 up to 256; below 256 the tile is partial."""

    @property
    def path(self) -> str:
        """Return its path below the log's folder.

        >>> Tile(1, 1234067, 256).path, Tile(None, 0, 7).path
        ('tile/1/x001/x234/067', 'tile/entries/000.p/7')
        """
        parts = [f"{self.index % 1000:03d}"]
        rest = self.index // 1000
        while rest:
            parts.insert(0, f"x{rest % 1000:03d}")
            rest //= 1000
        place = "entries" if self.level is None else str(self.level)
        end = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{place}/{'/'.join(parts)}{end}"


Read = Callable[[Tile], bytes]
"""A tile to its bytes."""


def bundle(entries: Iterable[bytes]) -> bytes:
    """Return entries one after the other, each behind its length; ValueError if one is too long."""
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_BYTES:
            raise ValueError(f"an entry of {len(entry)} bytes is longer than {MAX_BYTES}")
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def rightmost(size: int) -> list[Tile]:
    """Return the partial tiles (no bundle) that a tree of `size` entries has.

    >>> [t.path for t in rightmost(70_000)]
    ['tile/0/273.p/112', 'tile/1/001.p/17', 'tile/2/000.p/1']
    """
    found, level = [], 0
    while size >> (HEIGHT * level):
        count = size >> (HEIGHT * level)
        if count % WIDTH:
            found.append(Tile(level, count // WIDTH, count % WIDTH))
        level += 1
    return found


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the tree hash over roots of equal subtrees, the last one of which may be smaller."""
    level = list(hashes)
    while len(level) > 1:
        pairs = [node_hash(a, b) for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


def fetch_from(tile: Read, size: int) -> Fetch:
    """Return how `tree` gets roots of complete subtrees out of the tiles of a tree of `size`."""

    def fetch(level: int, index: int) -> bytes:
        height, inner = divmod(level, HEIGHT)
        first = index << inner
        position, start = divmod(first, WIDTH)
        count = size >> (HEIGHT * height)
        data = tile(Tile(height, position, min(WIDTH, count - position * WIDTH)))
        hashes = [
            data[i * HASH_BYTES : (i + 1) * HASH_BYTES] for i in range(start, start + (1 << inner))
        ]
        return fold(hashes)

    return fetch
