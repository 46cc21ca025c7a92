"""Signing what the log publishes: notes, checkpoints, cosignatures, and the keys behind them.

Reading and checking stand in `verifier`, the one file that a regulator takes along; this is the
writer's side. A provider of signatures is anything with the five members of `Signer`, so that a
second line (ML-DSA-44 below, or another algorithm under type 0xff) needs no change elsewhere:
readers ignore lines of keys that they do not know.

Sources: C2SP signed-note, tlog-checkpoint, tlog-cosignature (https://c2sp.org).
"""

import base64
import hashlib
import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from marketplace.audit.verifier import COSIGNATURE, ED25519, ML_DSA_44, Checkpoint
from marketplace.private_file import write_private

PRIVATE = "PRIVATE+KEY"


class Signer(Protocol):
    """A key that puts its line under a checkpoint."""

    @property
    def name(self) -> str:
        """Key name: no spaces, no plus."""

    @property
    def kind(self) -> int:
        """Signature type, one byte of the signed-note registry."""

    @property
    def public(self) -> bytes:
        """Public key as the type encodes it."""

    @property
    def secret(self) -> bytes:
        """Private key as the key file encodes it."""

    def sign(self, checkpoint: Checkpoint, time: int) -> bytes:
        """Return the signature; `time` is POSIX seconds, used by types that carry it."""


@dataclass(frozen=True, slots=True)
class _Ed25519:
    """A key name and its seed."""

    name: str
    secret: bytes
    """32-byte seed, used for one kind of line."""

    @property
    def public(self) -> bytes:
        """Return the 32-byte public key."""
        return _ed25519(self.secret).public_key().public_bytes_raw()


class Ed25519Signer(_Ed25519):
    """The log's own line: Ed25519 over the note's text."""

    kind = ED25519

    def sign(self, checkpoint: Checkpoint, time: int) -> bytes:  # noqa: ARG002  # carries no time
        """Return the signature of the text."""
        return _ed25519(self.secret).sign(checkpoint.text)


class Ed25519Cosigner(_Ed25519):
    """A witness's line: Ed25519 with the time at which it saw the checkpoint."""

    kind = COSIGNATURE

    def sign(self, checkpoint: Checkpoint, time: int) -> bytes:
        """Return time and signature."""
        signed = _ed25519(self.secret).sign(checkpoint.cosigned(time))
        return struct.pack(">Q", time) + signed


@dataclass(frozen=True, slots=True)
class MlDsaSigner:
    """A second line that a quantum computer does not forge: ML-DSA-44 (FIPS 204)."""

    name: str
    secret: bytes
    """32-byte seed."""
    kind = ML_DSA_44

    @property
    def public(self) -> bytes:
        """Return the 1,312-byte public key."""
        return MLDSA44PrivateKey.from_seed_bytes(self.secret).public_key().public_bytes_raw()

    def sign(self, checkpoint: Checkpoint, time: int) -> bytes:
        """Return time and signature."""
        key = MLDSA44PrivateKey.from_seed_bytes(self.secret)
        return struct.pack(">Q", time) + key.sign(checkpoint.cosigned_ml_dsa(self.name, time))


SIGNERS: dict[int, type[Ed25519Signer | Ed25519Cosigner | MlDsaSigner]] = {
    ED25519: Ed25519Signer,
    COSIGNATURE: Ed25519Cosigner,
    ML_DSA_44: MlDsaSigner,
}
"""Providers of signatures by type byte; another algorithm is one more line."""


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """Return the four bytes by which a signature line names its key."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def vkey(signer: Signer) -> str:
    """Return the text that verifiers are configured with."""
    number = key_id(signer.name, signer.kind, signer.public).hex()
    return f"{signer.name}+{number}+{_base64(bytes([signer.kind]) + signer.public)}"


def skey(signer: Signer) -> str:
    """Return the text of a private key, in the form that Go's `note.NewSigner` reads."""
    number = key_id(signer.name, signer.kind, signer.public).hex()
    return f"{PRIVATE}+{signer.name}+{number}+{_base64(bytes([signer.kind]) + signer.secret)}"


def read_skey(text: str) -> Signer:
    """Return the signer of a private key's text; ValueError if it is none."""
    # Names hold no plus, base64 may.
    head, name, number, data = text.strip().removeprefix("PRIVATE+").split("+", 3)
    raw = base64.b64decode(data, validate=True)
    if head != "KEY" or not raw or raw[0] not in SIGNERS:
        raise ValueError("not a private key of a log: PRIVATE+KEY+<name>+<id>+<base64>")
    signer: Signer = SIGNERS[raw[0]](name, raw[1:])
    if key_id(signer.name, signer.kind, signer.public).hex() != number:
        raise ValueError(f"the key of {name} does not match its id {number}")
    return signer


def line(signer: Signer, checkpoint: Checkpoint, time: int) -> str:
    """Return one signature line, newline included."""
    number = key_id(signer.name, signer.kind, signer.public)
    return f"— {signer.name} {_base64(number + signer.sign(checkpoint, time))}\n"


def signed(checkpoint: Checkpoint, signers: Sequence[Signer], time: int) -> str:
    """Return the signed checkpoint."""
    lines = "".join(line(s, checkpoint, time) for s in signers)
    return f"{checkpoint.text.decode()}\n{lines}"


def proof_text(index: int, path: Sequence[bytes], note: str, entry: bytes | None = None) -> str:
    """Return a `tlog-proof`; its extra data is the entry, from which the leaf hash is made.

    Source: https://c2sp.org/tlog-proof (v1).
    """
    extra = [] if entry is None else [f"extra {_base64(entry)}"]
    hashes = [_base64(h) for h in path]
    return "\n".join(["c2sp.org/tlog-proof@v1", *extra, f"index {index}", *hashes, "", note])


def open_keys(folder: Path) -> tuple[Signer, ...]:
    """Return the log's signers, the first one made if there is none: one `*.skey` file each.

    The origin carries random bits, so that two homes are never one log (attack K11).
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    first = folder / "log.skey"
    if not first.exists():
        name = f"log.lab.localhost/{secrets.token_hex(8)}"
        write_private(first, skey(Ed25519Signer(name, secrets.token_bytes(32))) + "\n")
    others = sorted(p for p in folder.glob("*.skey") if p != first)
    return tuple(read_skey(p.read_text(encoding="utf-8")) for p in (first, *others))


def _ed25519(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
