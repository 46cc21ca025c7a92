"""Asks witnesses to sign the log's checkpoints, beside the answers: none of them waits for it.

The newest checkpoint that witnesses signed is `checkpoint.witnessed`; the log is its continuation.
Witnesses come from `LAB_WITNESSES`: URL and key, separated by a space, one witness a line or
separated by commas. Source: C2SP tlog-witness (https://c2sp.org/tlog-witness).
"""

import base64
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from marketplace.audit import tree
from marketplace.audit.published import Head, Log
from marketplace.audit.verifier import Checkpoint, Key, Note, Problem, decimal

log = logging.getLogger(__name__)

EVERY_SECONDS = 10.0
TIMEOUT_SECONDS = 5.0
CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Known:
    """A witness that the operator trusts."""

    url: str
    keys: tuple[Key, ...]


def witnesses_from(text: str) -> list[Known]:
    """Return the witnesses of a setting; ValueError if one is not `URL KEY [KEY...]`."""
    found = []
    for part in text.replace("\n", ",").split(","):
        url, *keys = part.split() or [""]
        if not url:
            continue
        if not keys or not url.startswith(("http://", "https://")):
            raise ValueError(f"LAB_WITNESSES: {part!r} is not a URL followed by a key")
        try:
            found.append(Known(url.rstrip("/"), tuple(Key.parse(k) for k in keys)))
        except Problem as problem:
            raise ValueError(f"LAB_WITNESSES: {problem.en}") from problem
    return found


class Witnessing:
    """Submits checkpoints to the known witnesses."""

    def __init__(self, published: Log, known: Sequence[Known]) -> None:
        """Ask `known` about `published`."""
        self._log, self._known = published, known
        self._sizes = dict.fromkeys((w.url for w in known), 0)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witnessing", daemon=True)

    def start(self) -> None:
        """Begin to ask; does nothing without witnesses."""
        if self._known:
            self._thread.start()

    def close(self) -> None:
        """Stop asking."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def submit(self) -> int:
        """Ask every witness about the newest checkpoint; return how many signed."""
        head = self._log.head
        plain = Head(head.checkpoint, head.note[: head.note.index("\n\n") + 2] + self._own(head))
        with httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False) as http:
            lines = [line for w in self._known for line in self._ask(http, w, plain)]
        if lines:
            self._log.attach(Head(plain.checkpoint, plain.note + "".join(lines)))
        return len(lines)

    def _own(self, head: Head) -> str:
        """Return the log's own signature lines, without those of witnesses."""
        lines = head.note.split("\n\n")[1].splitlines(keepends=True)
        return "".join(line for line in lines if line.startswith(f"— {self._log.key.name} "))

    def _ask(self, http: httpx.Client, witness: Known, head: Head) -> list[str]:
        try:
            answer = self._post(http, witness, head)
            if answer.status_code == CONFLICT:
                size = decimal(answer.text.rstrip("\n"))
                if size is None:
                    return []
                if size > self._log.refresh().checkpoint.size:
                    # This home was put back to an older state, all of it (attack E17).
                    log.error("witness.knows_more", extra={"url": witness.url, "size": size})
                    self._log.stop(
                        f"{witness.url} has signed {size} entries, and this log has "
                        f"{head.checkpoint.size}: the home was put back to an older state"
                    )
                    return []
                self._sizes[witness.url] = size
                answer = self._post(http, witness, head)
        except httpx.HTTPError as error:
            log.warning("witness.away", extra={"url": witness.url, "kind": type(error).__name__})
            return []
        if not answer.is_success:
            log.error("witness.refused", extra={"url": witness.url, "status": answer.status_code})
            return []
        self._sizes[witness.url] = head.checkpoint.size
        return list(_accepted(witness, head.checkpoint, answer.text))

    def _post(self, http: httpx.Client, witness: Known, head: Head) -> httpx.Response:
        old, size = self._sizes[witness.url], head.checkpoint.size
        path = tree.consistency_proof(old, size, self._log.fetch(size)) if 0 < old < size else []
        hashes = "".join(base64.b64encode(h).decode() + "\n" for h in path)
        body = f"old {old}\n{hashes}\n{head.note}"
        return http.post(f"{witness.url}/add-checkpoint", content=body.encode())

    def _run(self) -> None:
        done: Checkpoint | None = None
        while not self._end.wait(EVERY_SECONDS if done else 0.1):
            now = self._log.head.checkpoint
            if now != done:
                self.submit()
                done = now


def _accepted(witness: Known, checkpoint: Checkpoint, text: str) -> list[str]:
    """Return the lines that are signatures of the witness's known keys over the checkpoint."""
    try:
        note = Note.parse(checkpoint.text + b"\n" + text.encode())
    except Problem:
        return []
    keys = {(k.name, k.id): k for k in witness.keys}
    lines = text.splitlines(keepends=True)
    return [
        line
        for line, (name, number, signature) in zip(lines, note.signatures, strict=True)
        if (name, number) in keys and keys[name, number].fits(checkpoint, signature)
    ]
