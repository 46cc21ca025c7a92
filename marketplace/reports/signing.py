"""Signed reports: a C2SP signed note over the hash of a report's canonical body.

The note's text is three lines: the form, the report's name, the hash in hex. Its first line is
never the origin of a log, so that no report can be taken for a checkpoint, nor the other way round.
"""

import base64
import hashlib
import json
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from marketplace.audit.note import Signer, key_id
from marketplace.audit.verifier import ED25519, Key, Note, Problem
from marketplace.reports.model import FORM, Report, canonical


class ReportChangedError(Exception):
    """A report is not what the key's holder signed."""


def signed(report: Report, signer: Signer) -> dict[str, Any]:
    """Return the signed document; the signer is the log's own Ed25519 key."""
    if signer.kind != ED25519:
        raise ValueError("reports are signed with the log's Ed25519 key")
    text = _text(report.kind.name, report.sha256)
    signature = Ed25519PrivateKey.from_private_bytes(signer.secret).sign(text)
    number = key_id(signer.name, signer.kind, signer.public)
    line = f"— {signer.name} {base64.b64encode(number + signature).decode()}\n"
    return {"body": report.body(), "sha256": report.sha256, "note": f"{text.decode()}\n{line}"}


def verify(document: bytes, vkey: str) -> dict[str, Any]:
    """Return the body of a signed report; ReportChangedError unless the log's key signed it.

    `vkey` is the text at `/log/vkey`, or the line of it that a reader keeps.
    """
    try:
        key = Key.parse(vkey.splitlines()[0])
        found = json.loads(document, object_pairs_hook=_no_twins, parse_constant=_no_constant)
        body, note = found["body"], Note.parse(found["note"].encode())
        digest = hashlib.sha256(canonical(body)).hexdigest()
        wanted = _text(body["report"], digest)
    except (Problem, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ReportChangedError(f"this is no signed report: {error}") from error
    if set(found) != {"body", "sha256", "note"} or body["form"] != FORM:
        raise ReportChangedError("this is no signed report of this form")
    if found["sha256"] != digest or note.text != wanted:
        raise ReportChangedError("body, hash and note do not belong together")
    for name, number, signature in note.signatures:
        if (name, number) == (key.name, key.id) and _fits(key, signature, note.text):
            return dict(body)
    raise ReportChangedError(f"the note has no good signature of {key.name}")


def _fits(key: Key, signature: bytes, text: bytes) -> bool:
    if key.kind != ED25519:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text)
    except InvalidSignature:
        return False
    return True


def _text(name: str, digest: str) -> bytes:
    return f"{FORM}\n{name}\n{digest}\n".encode()


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")
