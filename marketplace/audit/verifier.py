"""Verify the lab's audit log, alone: this one file, Python 3.11 and `cryptography`, no service.

    python verifier.py DIR-or-URL [--vkey KEY]          the whole log, and that it only grew
    python verifier.py DIR-or-URL --quick               checkpoint and growth, few hash tiles
    python verifier.py DIR-or-URL --since CHECKPOINT    that an older checkpoint is its prefix
    python verifier.py RECEIPT --vkey KEY [--answer F]  one receipt, offline
    python verifier.py DIR-or-URL --disclosure FILE     an opening: every entry of one subject

The last checkpoint seen of each log is kept, so a log that shrinks or forks is found out. Exit
code: 0 verified, 1 not, 2 wrong use. Sources: RFC 6962 and 9162 (tree), C2SP signed-note,
tlog-checkpoint, tlog-tiles, tlog-proof, tlog-cosignature (https://c2sp.org).
"""

import argparse
import base64
import hashlib
import hmac
import http.client
import json
import os
import re
import struct
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

ED25519, COSIGNATURE, ML_DSA_44 = 0x01, 0x04, 0x06
"""Signature types of the signed-note registry."""

WIDTH, HASH_BYTES = 256, 32
MAX_NOTE_BYTES, MAX_SIGNATURES, MAX_PATH = 1_000_000, 100, 63
MAX_FILE_BYTES = WIDTH * (2 + 65_535)

EMPTY_ROOT = hashlib.sha256(b"").digest()

Fetch = Callable[[int, int], bytes]
"""Level and index to the root of that complete subtree."""

MESSAGES = {
    "BAD_NOTE": ("A signed text is malformed: {why}.", "签名文本格式错误：{why}。"),
    "BAD_CHECKPOINT": ("A checkpoint is malformed: {why}.", "检查点格式错误：{why}。"),
    "BAD_KEY": ("A verifier key is malformed: {why}.", "验证密钥格式错误：{why}。"),
    "BAD_PROOF": ("A receipt is malformed: {why}.", "凭证格式错误：{why}。"),
    "BAD_SIGNATURE": (
        "The signature of {name} does not fit the text: it was changed, or signed by another.",
        "{name} 的签名与文本不符：文本被改动，或由他人签署。",
    ),
    "UNSIGNED": (
        "No signature of the expected key {name}: this is another log, or not a log's word.",
        "缺少预期密钥 {name} 的签名：可能是另一份日志，或并非日志所签。",
    ),
    "WRONG_ORIGIN": (
        "The checkpoint is of {found}, the key is of {wanted}.",
        "检查点属于 {found}，而密钥属于 {wanted}。",
    ),
    "WRONG_KEY": (
        (
            "This log was signed by {wanted} before, and now offers {found}. Ask the operator for "
            "the log entry of a key change before you trust it."
        ),
        "该日志此前由 {wanted} 签署，现在提供 {found}。信任之前，请向运营方索取换钥条目。",
    ),
    "ROLLED_BACK": (
        "The log has {found} entries, and {wanted} were seen before: it was cut or put back.",
        "日志现有 {found} 条，而此前已见 {wanted} 条：日志被截断或回滚。",
    ),
    "SPLIT_VIEW": (
        (
            "Two signed checkpoints of {size} entries have different roots: there are two versions "
            "of history. Keep both files as evidence."
        ),
        "同为 {size} 条的两个已签检查点根不同：存在两份历史。请保存两个文件作为证据。",
    ),
    "NOT_A_PREFIX": (
        (
            "The {old} entries seen before are not the first entries of the log now: history was "
            "rewritten."
        ),
        "此前所见的 {old} 条并非现日志的开头：历史被改写。",
    ),
    "NOT_INCLUDED": (
        "The entry is not at place {index} of the signed tree of {size}.",
        "该条目不在 {size} 条已签日志的第 {index} 位。",
    ),
    "MISSING_FILE": ("The file {path} is missing.", "缺少文件 {path}。"),
    "STRANGE_FILE": (
        "The file {path} is not part of the log, or not a part of what it stands for.",
        "文件 {path} 不属于该日志，或与其应有内容不符。",
    ),
    "WRONG_LENGTH": ("The file {path} has {found} bytes for {wanted}.", "文件 {path} 长度不符。"),
    "WRONG_ENTRIES": (
        "The entries in {path} are not those that were hashed.",
        "{path} 中的条目与其哈希不符。",
    ),
    "WRONG_TILE": (
        "The hashes in {path} do not follow from the tiles below.",
        "{path} 中的哈希与下层不符。",
    ),
    "WRONG_ROOT": (
        "The files of {size} entries do not lead to the signed root.",
        "{size} 条日志文件推算出的根与已签的根不符。",
    ),
    "WRONG_ANSWER": (
        "The answer is not the one that the receipt's entry names.",
        "该结果并非凭证条目所指的结果。",
    ),
    "TOO_FEW_WITNESSES": (
        "{found} of the known witnesses signed, {wanted} are asked for.",
        "已知见证方中有 {found} 个签署，要求 {wanted} 个。",
    ),
    "UNREACHABLE": ("{path} cannot be read: {why}.", "无法读取 {path}：{why}。"),
    "WRONG_DISCLOSURE": (
        "The opening does not fit the log: {why}.",
        "开示内容与日志不符：{why}。",
    ),
}
"""What is found, in English and Chinese."""


class Problem(Exception):  # noqa: N818  # what is wrong with a log is its subject, not an error
    """Something does not verify: a stable code, the facts, a sentence in two languages."""

    def __init__(self, code: str, **facts: object) -> None:
        """Keep the code and the facts."""
        self.code, self.facts = code, facts
        en, zh = MESSAGES[code]
        shown = {k: _shown(v) for k, v in facts.items()}
        self.en, self.zh = en.format(**shown), zh.format(**shown)
        super().__init__(self.en)


# Numbers, base64, notes, keys


def _shown(value: object) -> str:
    """Return a value for a terminal: control and direction characters escaped, cut if long."""
    text = str(value)
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)[:300]


def decimal(text: str) -> int | None:
    """Return an ASCII decimal without leading zeros, below 2**63."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", text, re.ASCII):
        return None
    value = int(text)
    return value if value < 1 << 63 else None


def unbase64(text: str) -> bytes | None:
    """Return what standard base64 in its only spelling stands for."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, UnicodeEncodeError):
        return None
    return data if base64.b64encode(data).decode() == text else None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: so many entries with that root."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> bytes:
        """Return the exact bytes that the log signs."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{s}\n" for s in (self.origin, self.size, root, *self.extensions)).encode()

    def cosigned(self, seconds: int) -> bytes:
        """Return what an Ed25519 witness signs (tlog-cosignature)."""
        return b"cosignature/v1\n" + f"time {seconds}\n".encode() + self.text

    def cosigned_ml_dsa(self, name: str, seconds: int) -> bytes:
        """Return what an ML-DSA-44 cosigner signs (tlog-cosignature, `cosigned_message`)."""
        cosigner, origin = name.encode(), self.origin.encode()
        head = b"subtree/v1\n\x00" + bytes([len(cosigner)]) + cosigner
        middle = struct.pack(">Q", seconds) + bytes([len(origin)]) + origin
        return head + middle + struct.pack(">QQ", 0, self.size) + self.root

    @classmethod
    def parse(cls, text: bytes) -> "Checkpoint":
        """Return the checkpoint of a note's text."""
        lines = text.decode().split("\n")[:-1]
        if len(lines) < 3 or not all(lines):  # noqa: PLR2004  # origin, size, root
            raise Problem("BAD_CHECKPOINT", why="it needs origin, size and root, no empty line")
        size, root = decimal(lines[1]), unbase64(lines[2])
        if size is None:
            raise Problem("BAD_CHECKPOINT", why="the size is not a plain decimal number")
        if root is None or len(root) != HASH_BYTES:
            raise Problem("BAD_CHECKPOINT", why="the root is not 32 bytes in base64")
        return cls(lines[0], size, root, tuple(lines[3:]))


@dataclass(frozen=True, slots=True)
class Key:
    """A public key that signs checkpoints."""

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        """Return the four bytes that stand in its signature lines."""
        named = self.name.encode() + b"\n" + bytes([self.kind]) + self.public
        return hashlib.sha256(named).digest()[:4]

    @classmethod
    def parse(cls, text: str) -> "Key":
        """Return the key of `<name>+<id>+<base64>`."""
        parts = text.strip("\n").split("+", 2)
        if len(parts) != 3 or not parts[0] or re.search(r"[\s+]", parts[0]):  # noqa: PLR2004
            raise Problem("BAD_KEY", why="it is <name>+<id>+<base64>")
        data = unbase64(parts[2])
        lengths = {ED25519: 32, COSIGNATURE: 32, ML_DSA_44: 1312}
        if not data or lengths.get(data[0]) != len(data) - 1:
            raise Problem("BAD_KEY", why="its type is unknown here, or its length is wrong")
        key = cls(parts[0], data[0], data[1:])
        if key.id.hex() != parts[1]:
            raise Problem("BAD_KEY", why="the id is not that of name and key")
        return key

    def fits(self, checkpoint: Checkpoint, signature: bytes) -> bool:
        """Whether a signature is this key's over that checkpoint."""
        try:
            if self.kind == ED25519:
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature, checkpoint.text)
                return True
            if len(signature) <= 8:  # noqa: PLR2004  # the time comes first
                return False
            (seconds,) = struct.unpack(">Q", signature[:8])
            if seconds >= 1 << 63:
                return False
            if self.kind == COSIGNATURE:
                Ed25519PublicKey.from_public_bytes(self.public).verify(
                    signature[8:], checkpoint.cosigned(seconds)
                )
                return True
            from cryptography.hazmat.primitives.asymmetric import mldsa  # noqa: PLC0415  # newer

            mldsa.MLDSA44PublicKey.from_public_bytes(self.public).verify(
                signature[8:], checkpoint.cosigned_ml_dsa(self.name, seconds)
            )
        except (InvalidSignature, ValueError, ImportError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class Note:
    """A signed text, taken apart and not yet believed."""

    text: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...]
    """Key name, key id, signature."""

    @classmethod
    def parse(cls, data: bytes) -> "Note":
        """Return text and signature lines; every byte of `data` belongs to one of them."""
        if len(data) > MAX_NOTE_BYTES:
            raise Problem("BAD_NOTE", why=f"it is longer than {MAX_NOTE_BYTES} bytes")
        try:
            whole = data.decode()
        except UnicodeDecodeError:
            raise Problem("BAD_NOTE", why="it is not UTF-8") from None
        if any(c < " " and c != "\n" for c in whole):
            raise Problem("BAD_NOTE", why="it holds control characters")
        text, blank, tail = whole.rpartition("\n\n")
        if not blank or not tail.endswith("\n"):
            raise Problem("BAD_NOTE", why="it needs a blank line, signatures, a last line end")
        lines = tail[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            raise Problem("BAD_NOTE", why=f"it has more than {MAX_SIGNATURES} signatures")
        return cls((text + "\n").encode(), tuple(_signature(line) for line in lines))


def _signature(line: str) -> tuple[str, bytes, bytes]:
    match = re.fullmatch(r"— ([^\s+]+) ([A-Za-z0-9+/=]+)", line)
    data = unbase64(match[2]) if match else None
    if match is None or data is None or len(data) <= 4:  # noqa: PLR2004  # the key id comes first
        raise Problem("BAD_NOTE", why="a signature line is not — name base64")
    return match[1], data[:4], data[4:]


def open_checkpoint(
    data: bytes, key: Key, witnesses: Sequence[Key] = (), quorum: int | None = None
) -> Checkpoint:
    """Return the checkpoint of a note that `key` signed, and a quorum of the witnesses with it."""
    note = Note.parse(data)
    signers = {_signer(note, k) for k in (key, *witnesses)} - {None}
    if key not in signers:
        raise Problem("UNSIGNED", name=key.name)
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != key.name:
        raise Problem("WRONG_ORIGIN", found=checkpoint.origin, wanted=key.name)
    found, wanted = len(signers) - 1, len(witnesses) if quorum is None else quorum
    if found < wanted:
        raise Problem("TOO_FEW_WITNESSES", found=found, wanted=wanted)
    return checkpoint


def _signer(note: Note, key: Key) -> Key | None:
    """Return the key if it signed the note; a line under its name and id must be its own."""
    mine = [s for name, number, s in note.signatures if (name, number) == (key.name, key.id)]
    if len(mine) > 1:
        raise Problem("BAD_NOTE", why=f"{key.name} signed it twice")
    if mine:
        checkpoint = Checkpoint.parse(note.text)
        if not all(key.fits(checkpoint, s) for s in mine):
            raise Problem("BAD_SIGNATURE", name=key.name)
    return key if mine else None


# The tree


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry's exact bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the root over hashes of equal subtrees, the last of which may be a smaller one."""
    sha256, level = hashlib.sha256, list(hashes)
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [sha256(b"\x01" + a + b).digest() for a, b in pairs] + odd
    return level[0]


def included(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes | None:
    """Return the root that an audit path leads to, or None if it has the wrong length."""
    if size == 1:
        return leaf if not path else None
    if not path:
        return None
    half = 1 << (size - 1).bit_length() - 1
    left = index < half
    below = (index, half) if left else (index - half, size - half)
    inner = included(*below, leaf, path[:-1])
    if inner is None:
        return None
    pair = inner + path[-1] if left else path[-1] + inner
    return hashlib.sha256(b"\x01" + pair).digest()


def grown(old: int, new: int, old_root: bytes, path: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """Return the roots of both trees that a consistency proof leads to; None: wrong length."""
    rest = list(path)

    def walk(end: int, size: int, *, whole: bool) -> tuple[bytes, bytes]:
        if end == size:
            value = old_root if whole else rest.pop()
            return value, value
        half = 1 << (size - 1).bit_length() - 1
        sibling = rest.pop()
        if end <= half:
            before, after = walk(end, half, whole=whole)
            return before, hashlib.sha256(b"\x01" + after + sibling).digest()
        before, after = walk(end - half, size - half, whole=False)
        return tuple(hashlib.sha256(b"\x01" + sibling + h).digest() for h in (before, after))  # type: ignore[return-value]  # of two

    try:
        roots = walk(old, new, whole=True)
    except IndexError:
        return None
    return None if rest else roots


def consistency_path(old: int, start: int, end: int, fetch: Fetch, *, whole: bool) -> list[bytes]:
    """Return the proof, from tiles, that the tree of `old` is a prefix (RFC 6962, 2.1.2)."""
    if old == end:
        return [] if whole else [root_of(start, end, fetch)]
    middle = start + (1 << (end - start - 1).bit_length() - 1)
    if old <= middle:
        below = consistency_path(old, start, middle, fetch, whole=whole)
        return [*below, root_of(middle, end, fetch)]
    below = consistency_path(old, middle, end, fetch, whole=False)
    return [*below, root_of(start, middle, fetch)]


def root_of(start: int, end: int, fetch: Fetch) -> bytes:
    """Return the root over a range that the tree splits off."""
    length = end - start
    if length & (length - 1) == 0:
        level = length.bit_length() - 1
        return fetch(level, start >> level)
    middle = start + (1 << length.bit_length() - 1)
    pair = root_of(start, middle, fetch) + root_of(middle, end, fetch)
    return hashlib.sha256(b"\x01" + pair).digest()


# Where the files are


class Source(Protocol):
    """A log's files."""

    def read(self, path: str) -> bytes:
        """Return a file's bytes; a `Problem` if it is missing or cannot be read."""


class Directory:
    """A log as a folder."""

    def __init__(self, root: Path) -> None:
        """Read below `root`."""
        self.root = root

    def read(self, path: str) -> bytes:
        """Return a file's bytes."""
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise Problem("MISSING_FILE", path=path) from None
        except OSError as error:
            raise Problem("UNREACHABLE", path=path, why=error.strerror) from None


class Web:
    """A log behind a URL; redirects are not followed."""

    def __init__(self, url: str, token: str | None) -> None:
        """Read below `url`, entry bundles with an auditor's bearer token."""
        parts = urllib.parse.urlsplit(url)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._connection = kind(parts.netloc, timeout=30)
        self._prefix, self.token = parts.path.rstrip("/"), token

    def read(self, path: str) -> bytes:
        """Return a file's bytes."""
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            self._connection.request("GET", f"{self._prefix}/{path}", headers=headers)
            answer = self._connection.getresponse()
            data = answer.read(MAX_FILE_BYTES + 1)
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Problem("UNREACHABLE", path=path, why=type(error).__name__) from None
        if answer.status == http.client.NOT_FOUND:
            raise Problem("MISSING_FILE", path=path)
        if answer.status != http.client.OK:
            raise Problem("UNREACHABLE", path=path, why=f"HTTP {answer.status}")
        return data


def tile_path(place: str, index: int, width: int) -> str:
    """Return where a tile lies; `place` is its level or "entries"."""
    parts = [f"{index % 1000:03d}"]
    while index := index // 1000:
        parts.insert(0, f"x{index % 1000:03d}")
    end = "" if width == WIDTH else f".p/{width}"
    return f"tile/{place}/{'/'.join(parts)}{end}"


def read_tile(source: Source, place: str, index: int, width: int) -> tuple[str, bytes]:
    """Return path and bytes of a tile; of a partial one that is gone, the full one's part."""
    path = tile_path(place, index, width)
    try:
        return path, source.read(path)
    except Problem as problem:
        if problem.code != "MISSING_FILE" or width == WIDTH:
            raise
        full = tile_path(place, index, WIDTH)
        try:
            data = source.read(full)
        except Problem:
            raise problem from None
        if place == "entries":
            ends = list(_ends(data, full))
            return full, data[: ends[width - 1] if width <= len(ends) else 0]
        return full, data[: width * HASH_BYTES]


def _ends(data: bytes, path: str) -> Iterator[int]:
    """Yield where each entry of a bundle ends."""
    position, end = 0, len(data)
    while position < end:
        position += 2 + int.from_bytes(data[position : position + 2], "big")
        if position > end or end - position == 1:
            raise Problem("WRONG_LENGTH", path=path, found=end, wanted=position)
        yield position


def entries_of(data: bytes, path: str) -> Iterator[bytes]:
    """Yield the entries of a bundle."""
    start = 0
    for end in _ends(data, path):
        yield data[start + 2 : end]
        start = end


# The whole log


@dataclass(frozen=True, slots=True)
class Scan:
    """What a walk over the whole log led to."""

    root: bytes
    old_root: bytes
    """Root of the first `old_size` entries."""


def scan(
    source: Source,
    size: int,
    *,
    with_entries: bool,
    old_size: int = 0,
    visit: Callable[[int, bytes], None] | None = None,
) -> Scan:
    """Return the roots that the files lead to; a `Problem` at the first file that is wrong.

    `visit(index, entry)` is called for each entry, if given.
    """
    edges: list[list[bytes]] = []
    old_edges: list[list[bytes]] = []
    below: list[bytes] = []
    while count := size >> 8 * len(edges):
        level, old = len(edges), old_size >> 8 * len(edges)
        roots: list[bytes] = []
        edges.append([])
        old_edges.append([])
        for index in range(-(-count // WIDTH)):
            width = min(WIDTH, count - index * WIDTH)
            path, tile = read_tile(source, str(level), index, width)
            if len(tile) != width * HASH_BYTES:
                raise Problem("WRONG_LENGTH", path=path, found=len(tile), wanted=width * HASH_BYTES)
            if level and tile != b"".join(below[index * WIDTH : index * WIDTH + width]):
                raise Problem("WRONG_TILE", path=path)
            if not level and with_entries:
                _check_bundle(source, index, width, tile, visit)
            hashes = [tile[i : i + HASH_BYTES] for i in range(0, len(tile), HASH_BYTES)]
            if index == old // WIDTH:
                old_edges[level] = hashes[: old % WIDTH]
            if width == WIDTH:
                roots.append(fold(hashes))
            else:
                edges[level] = hashes
        below = roots
    return Scan(_root(edges), _root(old_edges))


def _root(edges: Sequence[Sequence[bytes]]) -> bytes:
    """Return the root over the hashes of each level that no full tile holds."""
    carried: list[bytes] = []
    for edge in edges:
        nodes = [*edge, *carried]
        carried = [fold(nodes)] if nodes else []
    return carried[0] if carried else EMPTY_ROOT


def _check_bundle(
    source: Source,
    index: int,
    width: int,
    tile: bytes,
    visit: Callable[[int, bytes], None] | None,
) -> None:
    path, data = read_tile(source, "entries", index, width)
    sha256, hashes, start = hashlib.sha256, [], 0
    for end in _ends(data, path):
        hashes.append(sha256(b"\x00" + data[start + 2 : end]).digest())
        start = end
    if len(hashes) != width:
        raise Problem("WRONG_LENGTH", path=path, found=len(hashes), wanted=width)
    if b"".join(hashes) != tile:
        raise Problem("WRONG_ENTRIES", path=path)
    if visit is not None:
        for offset, entry in enumerate(entries_of(data, path)):
            visit(index * WIDTH + offset, entry)


def fetch_from(source: Source, size: int) -> Fetch:
    """Return how proofs get roots of complete subtrees out of the tiles of a log of `size`."""
    kept: dict[tuple[int, int], bytes] = {}

    def fetch(level: int, index: int) -> bytes:
        height, inner = divmod(level, 8)
        position, start = divmod(index << inner, WIDTH)
        if (height, position) not in kept:
            width = min(WIDTH, (size >> 8 * height) - position * WIDTH)
            path, tile = read_tile(source, str(height), position, width)
            if len(tile) != width * HASH_BYTES:
                raise Problem("WRONG_LENGTH", path=path, found=len(tile), wanted=width * HASH_BYTES)
            kept[height, position] = tile
        tile = kept[height, position]
        ends = range(start, start + (1 << inner))
        return fold([tile[i * HASH_BYTES : (i + 1) * HASH_BYTES] for i in ends])

    return fetch


def check_growth(source: Source, old: Checkpoint, new: Checkpoint) -> None:
    """Raise unless the tree of `old` is a prefix of that of `new`, by a proof out of tiles."""
    _check_sizes(old, new)
    if not 0 < old.size < new.size:
        return
    path = consistency_path(old.size, 0, new.size, fetch_from(source, new.size), whole=True)
    if grown(old.size, new.size, old.root, path) != (old.root, new.root):
        raise Problem("NOT_A_PREFIX", old=old.size)


def _check_sizes(old: Checkpoint, new: Checkpoint) -> None:
    if new.size < old.size:
        raise Problem("ROLLED_BACK", found=new.size, wanted=old.size)
    if new.size == old.size and new.root != old.root:
        raise Problem("SPLIT_VIEW", size=new.size)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose word is taken."""

    key: Key
    witnesses: tuple[Key, ...] = ()
    quorum: int | None = None
    """How many of the witnesses must have signed; all if None."""

    def open(self, note: bytes) -> Checkpoint:
        """Return the checkpoint of a note that is trusted so."""
        return open_checkpoint(note, self.key, self.witnesses, self.quorum)


@dataclass(frozen=True, slots=True)
class Verified:
    """What was shown."""

    checkpoint: Checkpoint
    note: bytes
    entries: int
    """Entries whose bytes were hashed; 0 when only hashes were to be had."""


def verify_log(
    source: Source,
    trust: Trust,
    *,
    seen: Checkpoint | None = None,
    quick: bool = False,
    with_entries: bool = True,
    visit: Callable[[int, bytes], None] | None = None,
) -> Verified:
    """Return what a log shows; a `Problem` at the first thing that is wrong."""
    note = source.read("checkpoint")
    checkpoint = open_checkpoint(note, trust.key)
    witnessed = _witnessed(source, trust, note)
    if witnessed != checkpoint:
        check_growth(source, witnessed, checkpoint)
    if (offered := published_key(source)) != trust.key:
        raise Problem("WRONG_KEY", wanted=_named(trust.key), found=_named(offered))
    old = seen or Checkpoint(checkpoint.origin, 0, EMPTY_ROOT)
    if quick:
        check_growth(source, old, checkpoint)
        _check_head(source, checkpoint)
        return Verified(checkpoint, note, 0)
    _check_sizes(old, checkpoint)
    found = scan(source, checkpoint.size, with_entries=with_entries, old_size=old.size, visit=visit)
    if found.root != checkpoint.root:
        raise Problem("WRONG_ROOT", size=checkpoint.size)
    if old.size and found.old_root != old.root:
        raise Problem("NOT_A_PREFIX", old=old.size)
    if isinstance(source, Directory):
        _check_strays(source, checkpoint.size)
    return Verified(checkpoint, note, checkpoint.size if with_entries else 0)


def _witnessed(source: Source, trust: Trust, note: bytes) -> Checkpoint:
    """Return the newest checkpoint that enough witnesses signed."""
    try:
        return trust.open(note)
    except Problem as problem:
        if problem.code != "TOO_FEW_WITNESSES":
            raise
        try:
            older = source.read("checkpoint.witnessed")
        except Problem:
            raise problem from None
        return trust.open(older)


def published_key(source: Source) -> Key:
    """Return the first key of the log's `vkey` file; every line of it must be a key."""
    try:
        lines = source.read("vkey").decode().split("\n")
    except UnicodeDecodeError:
        raise Problem("BAD_KEY", why="it is not text") from None
    if lines[-1] or len(lines) == 1:
        raise Problem("BAD_KEY", why="the file is one key a line")
    keys = [Key.parse(line) for line in lines[:-1]]
    return keys[0]


def _named(key: Key) -> str:
    return f"{key.name}+{key.id.hex()}"


def _check_head(source: Source, checkpoint: Checkpoint) -> None:
    """Raise unless the tiles on the right edge lead to the root."""
    if checkpoint.size == 0:
        found = EMPTY_ROOT
    else:
        found = root_of(0, checkpoint.size, fetch_from(source, checkpoint.size))
    if found != checkpoint.root:
        raise Problem("WRONG_ROOT", size=checkpoint.size)


_TILE = re.compile(
    r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])((?:/x[0-9]{3})*/[0-9]{3})(?:\.p/([0-9]+))?"
)


def _check_strays(source: Directory, size: int) -> None:
    """Raise if a file below `tile/` is none of the log's, or an old part that differs.

    Tiles that lie beyond the checkpoint are of a group that is being written.
    """
    for file in sorted((source.root / "tile").rglob("*")):
        if file.is_dir():
            continue
        path = file.relative_to(source.root).as_posix()
        match = _TILE.fullmatch(path)
        if match is None:
            raise Problem("STRANGE_FILE", path=path)
        place, index = match[1], int(match[2].replace("/x", "").replace("/", ""))
        width = int(match[3] or WIDTH)
        if not 0 < width <= WIDTH or tile_path(place, index, width) != path:
            raise Problem("STRANGE_FILE", path=path)
        count = size >> (0 if place == "entries" else 8 * int(place))
        now = min(WIDTH, count - index * WIDTH)
        if width < now:  # a part that an older checkpoint needed
            data = file.read_bytes()
            _, whole = read_tile(source, place, index, now)
            right = whole[: width * HASH_BYTES]
            if place == "entries":
                right = whole[: list(_ends(whole, path))[width - 1]]
            if data != right:
                raise Problem("STRANGE_FILE", path=path)


# One receipt


@dataclass(frozen=True, slots=True)
class Receipt:
    """A `tlog-proof`: an entry, its place, the path to a signed root."""

    entry: bytes | None
    index: int
    path: tuple[bytes, ...]
    note: bytes

    @classmethod
    def parse(cls, data: bytes) -> "Receipt":
        """Return a receipt of exactly the published form."""
        head, blank, note = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise Problem("BAD_PROOF", why="its head is not ASCII") from None
        if lines.pop(0) != "c2sp.org/tlog-proof@v1" or not blank:
            raise Problem("BAD_PROOF", why="it is not a c2sp.org/tlog-proof@v1")
        entry = None
        if lines and lines[0].startswith("extra "):
            entry = unbase64(lines.pop(0).removeprefix("extra "))
            if entry is None:
                raise Problem("BAD_PROOF", why="its extra line is not base64")
        if not lines or not lines[0].startswith("index "):
            raise Problem("BAD_PROOF", why="it names no index")
        index = decimal(lines.pop(0).removeprefix("index "))
        path = [unbase64(line) for line in lines]
        if index is None or len(path) > MAX_PATH:
            raise Problem("BAD_PROOF", why="its index or the number of its hashes cannot be")
        hashes = tuple(h for h in path if h is not None and len(h) == HASH_BYTES)
        if len(hashes) < len(path):
            raise Problem("BAD_PROOF", why="a line is not a hash in base64")
        return cls(entry, index, hashes, note)


def verify_receipt(
    data: bytes, trust: Trust, *, entry: bytes | None = None, answer: bytes | None = None
) -> tuple[Checkpoint, int, bytes]:
    """Return checkpoint, index and entry that a receipt proves; a `Problem` otherwise."""
    receipt = Receipt.parse(data)
    checkpoint = trust.open(receipt.note)
    proven = receipt.entry if entry is None else entry
    if proven is None:
        raise Problem("BAD_PROOF", why="it carries no entry, so give the entry")
    if receipt.index >= checkpoint.size:
        raise Problem("NOT_INCLUDED", index=receipt.index, size=checkpoint.size)
    root = included(receipt.index, checkpoint.size, leaf_hash(proven), receipt.path)
    if root != checkpoint.root:
        raise Problem("NOT_INCLUDED", index=receipt.index, size=checkpoint.size)
    if answer is not None:
        try:
            named = json.loads(proven)["facts"]["answer_sha256"]
        except (ValueError, KeyError, TypeError):
            named = None
        if named != hashlib.sha256(answer).hexdigest():
            raise Problem("WRONG_ANSWER")
    return checkpoint, receipt.index, proven


# Openings: what the audit administrator shows, and that nothing of one subject is left out


def verify_disclosure(
    source: Source, trust: Trust, opened: dict[str, Any]
) -> tuple[Verified, "Finder"]:
    """Return the log, and what was found in it: the places of all entries of one subject.

    The subject's tag is unique (an RSA signature, RFC 9381 section 4), its key is committed where
    it was enrolled, and each entry of the subject carries a code under that key: whoever has the
    key finds all of them, so none can be left out.
    """
    try:
        finder = Finder.of(opened)
        wanted = {_whole(e["index"]): e["fields"] for e in opened["entries"]}
        size = _whole(opened["size"])

        def visit(index: int, entry: bytes) -> None:
            if index < size:
                finder.look(index, entry, wanted.get(index))

        verified = verify_log(source, trust, visit=visit)
    except InvalidSignature:
        raise Problem("WRONG_DISCLOSURE", why="the subject's tag is not its key's") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Problem("WRONG_DISCLOSURE", why=f"its form is wrong ({error})") from None
    if size > verified.checkpoint.size:
        raise Problem("WRONG_DISCLOSURE", why="it is of a longer log")
    if finder.enrolments != 1:
        raise Problem("WRONG_DISCLOSURE", why=f"{finder.enrolments} enrolments of the subject")
    if not finder.enrolled:
        raise Problem("WRONG_DISCLOSURE", why="the key is not the one that the log committed to")
    if set(finder.found) != set(wanted):
        missing = sorted(set(finder.found) ^ set(wanted))
        raise Problem("WRONG_DISCLOSURE", why=f"entries {missing[:5]} differ from what it lists")
    return verified, finder


def _whole(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is not a whole number")
    return value


@dataclass(slots=True)
class Finder:
    """Finds the entries of one subject, and checks what is opened of them."""

    subject: str
    tag: str
    fingerprint: str
    key: bytes
    key_salt: bytes
    found: list[int] = field(default_factory=list)
    enrolments: int = 0
    """Enrolments since the last erasure of this subject."""
    enrolled: bool = False
    """Whether the last enrolment committed to this key, under the log's key of subjects."""
    erasures: list[int] = field(default_factory=list)
    """Entries by which this subject was erased; what was before them cannot be opened."""

    @classmethod
    def of(cls, opened: dict[str, Any]) -> "Finder":
        """Return the finder of an opening whose tag is the subject's."""
        pem, proof = opened["subjects_key"].encode(), base64.b64decode(opened["proof"])
        public = load_pem_public_key(pem)
        if not isinstance(public, rsa.RSAPublicKey):
            raise ValueError("the key of subjects is not an RSA key")  # noqa: TRY004  # bad input
        public.verify(proof, subject_message(opened["subject"]), padding.PKCS1v15(), SHA256())
        key, salt = bytes.fromhex(opened["key"]), bytes.fromhex(opened["key_salt"])
        return cls(opened["subject"], enrolment_tag(proof), fingerprint(pem), key, salt)

    def look(self, index: int, entry: bytes, fields: list[dict[str, str]] | None) -> None:
        """Look at one entry; `fields` are what the opening says of it."""
        if b'"subject_' not in entry:
            return
        facts = json.loads(entry)["facts"]
        if facts.get("subject_erased") == self.tag:
            self.erasures.append(index)
            self.enrolments, self.found, self.enrolled = 0, [], False
        if facts.get("subject_enrolment") == self.tag:
            self.enrolments += 1
            committed = hashlib.sha256(self.key_salt + self.key).hexdigest()
            named = (facts["subject_key_commitment"], facts["subjects_key"])
            self.enrolled = named == (committed, self.fingerprint)
        commitment = facts.get("subject_commitment", "")
        if facts.get("subject_tag") != subject_code(self.key, commitment):
            return
        self.found.append(index)
        for one in fields or []:
            text = one["text"]
            made = hashlib.sha256(bytes.fromhex(one["salt"]) + text.encode()).hexdigest()
            if facts.get(f"{one['field']}_commitment") != made:
                raise Problem("WRONG_DISCLOSURE", why=f"entry {index} says another {one['field']}")
            if one["field"] == "subject" and text != self.subject:
                raise Problem("WRONG_DISCLOSURE", why=f"entry {index} is of another subject")


def subject_message(subject: str) -> bytes:
    """Return what is signed for a subject's tag."""
    return b"digital-lab/subject/1\n" + subject.encode()


def enrolment_tag(proof: bytes) -> str:
    """Return a subject's tag, from the only signature that there is of it."""
    return hashlib.sha256(b"digital-lab/enrolment/1\n" + proof).hexdigest()


def subject_code(key: bytes, commitment: str) -> str:
    """Return the code that marks an entry as a subject's, for those who have its key."""
    return hmac.new(key, commitment.encode(), hashlib.sha256).hexdigest()


def fingerprint(pem: bytes) -> str:
    """Return the short name of the key of subjects."""
    return hashlib.sha256(pem).hexdigest()


# The command


@dataclass(frozen=True, slots=True)
class Memory:
    """What was seen of one log before."""

    path: Path

    def read(self) -> tuple[Key, bytes] | None:
        """Return the key and the checkpoint kept, or None the first time."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Key.parse(kept["vkey"]), kept["checkpoint"].encode()

    def write(self, vkey: str, note: bytes) -> None:
        """Keep a key and a checkpoint."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        kept = {"vkey": vkey, "checkpoint": note.decode()}
        draft.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        draft.replace(self.path)


def memory_of(place: str, environment: dict[str, str]) -> Memory:
    """Return where what was seen of a log is kept, unless `--state` says."""
    folder = environment.get("LAB_AUDIT_STATE") or "~/.local/state/digital-lab-audit"
    name = hashlib.sha256(place.encode()).hexdigest()[:16]
    return Memory(Path(folder).expanduser() / f"{name}.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify what the command line names; return the exit code."""
    given = _parser().parse_args(arguments)
    started = time.perf_counter()
    try:
        told = _receipt(given) if _is_receipt(given.what) else _log(given)
    except Problem as problem:
        result = {"verified": False, "code": problem.code, "en": problem.en, "zh": problem.zh}
        _say(given, result, f"NOT VERIFIED {problem.code}: {problem.en}\n未通过：{problem.zh}")
        return 1
    except (OSError, ValueError) as error:
        sys.stderr.write(f"lab audit verify: {_shown(error)}\n")
        return 2
    told["seconds"] = round(time.perf_counter() - started, 3)
    _say(given, {"verified": True, **told}, "\n".join(f"{k}: {_shown(v)}" for k, v in told.items()))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lab audit verify", description="Verify the audit log, or one receipt, offline."
    )
    parser.add_argument("what", metavar="DIR|URL|RECEIPT")
    parser.add_argument("--vkey", help="the log's key, or a file that holds it; pin it")
    parser.add_argument("--witness", action="append", default=[], help="a witness's key")
    parser.add_argument("--quorum", type=int, help="how many witnesses must have signed")
    parser.add_argument("--token", help="a file with an auditor's token, to read entries by URL")
    parser.add_argument("--state", type=Path, help="where the last checkpoint seen is kept")
    parser.add_argument("--since", type=Path, help="an older checkpoint that must be a prefix")
    parser.add_argument("--quick", action="store_true", help="growth only, from few hash tiles")
    parser.add_argument("--hashes-only", action="store_true", help="a copy without entries")
    parser.add_argument("--disclosure", type=Path, help="an opening of all entries of one subject")
    parser.add_argument("--entry", type=Path, help="receipt: the entry's bytes, if not inside")
    parser.add_argument("--answer", type=Path, help="receipt: the answer's bytes")
    parser.add_argument("--json", action="store_true")
    return parser


def _is_receipt(what: str) -> bool:
    return not _is_url(what) and Path(what).is_file()


def _is_url(what: str) -> bool:
    return what.startswith(("http://", "https://"))


def _key(text: str) -> Key:
    path = Path(text)
    known = path.read_text(encoding="utf-8").split("\n")[0] if path.is_file() else text
    return Key.parse(known)


def _trust(given: argparse.Namespace, key: Key) -> Trust:
    return Trust(key, tuple(_key(w) for w in given.witness), given.quorum)


def _receipt(given: argparse.Namespace) -> dict[str, Any]:
    if given.vkey is None:
        raise Problem("BAD_KEY", why="a receipt is checked against --vkey, the log's key")
    checkpoint, index, entry = verify_receipt(
        Path(given.what).read_bytes(),
        _trust(given, _key(given.vkey)),
        entry=given.entry.read_bytes() if given.entry else None,
        answer=given.answer.read_bytes() if given.answer else None,
    )
    return {"origin": checkpoint.origin, "index": index, "size": checkpoint.size, "entry": entry}


def _log(given: argparse.Namespace) -> dict[str, Any]:
    token = Path(given.token).read_text(encoding="utf-8").strip() if given.token else None
    url = _is_url(given.what)
    place = given.what.rstrip("/") if url else str(Path(given.what).resolve())
    source: Source = Web(place, token) if url else Directory(Path(place))
    memory = Memory(given.state) if given.state else memory_of(place, dict(os.environ))
    kept = memory.read()
    key = _key(given.vkey) if given.vkey else kept[0] if kept else published_key(source)
    if kept and kept[0] != key:
        raise Problem("WRONG_KEY", wanted=_named(kept[0]), found=_named(key))
    trust = _trust(given, key)
    seen = open_checkpoint(kept[1], key) if kept else None
    with_entries = not given.hashes_only and (not url or token is not None)
    told: dict[str, Any] = {"origin": key.name}
    if given.disclosure:
        opened = json.loads(given.disclosure.read_text(encoding="utf-8"))
        done, finder = verify_disclosure(source, trust, opened)
        told["entries_of_the_subject"], told["erased_at"] = finder.found, finder.erasures
        told["complete_among_the_first"] = opened["size"]
        if seen:
            check_growth(source, seen, done.checkpoint)
    else:
        done = verify_log(source, trust, seen=seen, quick=given.quick, with_entries=with_entries)
    if given.since:
        check_growth(source, open_checkpoint(given.since.read_bytes(), key), done.checkpoint)
        told["grew_from"] = str(given.since)
    memory.write(_text(key), done.note)
    told |= {"size": done.checkpoint.size, "root": done.checkpoint.root.hex()}
    told |= {"entries_hashed": done.entries, "seen_before": seen.size if seen else None}
    if not kept and not given.vkey:
        told["key"] = f"{_text(key)} (taken from the log itself: compare it with the operator's)"
    return told


def _text(key: Key) -> str:
    data = base64.b64encode(bytes([key.kind]) + key.public).decode()
    return f"{key.name}+{key.id.hex()}+{data}"


def _say(given: argparse.Namespace, result: dict[str, Any], text: str) -> None:
    if given.json:
        text = json.dumps(result, ensure_ascii=False, default=lambda b: b.decode(errors="replace"))
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
