"""A witness of logs: it signs a checkpoint only if that log grew from the one it signed before.

A second body runs it, on a machine of its own, so that whoever holds the log's signing key cannot
show two histories (attack K20). Nobody logs in: a request is judged by the log's signature alone.

    python -m marketplace.audit.witness --state DIR --log VKEY [--log VKEY...] [--port N]

Source: C2SP tlog-witness and tlog-cosignature (https://c2sp.org/tlog-witness).
"""

import argparse
import json
import secrets
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from marketplace.audit import note
from marketplace.audit.verifier import (
    EMPTY_ROOT,
    HASH_BYTES,
    MAX_PATH,
    Checkpoint,
    Key,
    Note,
    Problem,
    decimal,
    grown,
    open_checkpoint,
    unbase64,
)
from marketplace.http import LimitedBody
from marketplace.private_file import write_private

SIZE_TYPE = "text/x.tlog.size"
MAX_REQUEST_BYTES = 1_000_000
OK, BAD, UNSIGNED, UNKNOWN, CONFLICT, INCONSISTENT = 200, 400, 403, 404, 409, 422


@dataclass(frozen=True, slots=True)
class Reply:
    """What a witness answers."""

    status: int
    text: str = ""
    media_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Submission:
    """A checkpoint that a log wants signed, and the proof that it grew."""

    old_size: int
    path: tuple[bytes, ...]
    note: bytes

    @classmethod
    def parse(cls, data: bytes) -> "Submission | None":
        """Return what was submitted, or None if it has another form."""
        head, blank, signed = data.partition(b"\n\n")
        try:
            first, *rest = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            return None
        size = decimal(first.removeprefix("old ")) if first.startswith("old ") else None
        hashes = [unbase64(line) for line in rest]
        path = tuple(h for h in hashes if h is not None and len(h) == HASH_BYTES)
        if size is None or not blank or len(path) < len(hashes) or len(path) > MAX_PATH:
            return None
        return cls(size, path, signed)


class Witness:
    """Remembers the newest checkpoint of each log that it knows, and signs what follows it."""

    def __init__(
        self,
        folder: Path,
        signers: Sequence[note.Signer],
        logs: Sequence[Key],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep what was signed in `folder`; sign for `logs` only."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state, self._signers, self._clock = folder / "state.json", signers, clock
        self._logs = {key.name: key for key in logs}
        self._turn = threading.Lock()

    def add_checkpoint(self, data: bytes) -> Reply:
        """Return the cosignatures of a checkpoint, or why there are none."""
        given = Submission.parse(data)
        if given is None:
            return Reply(BAD, "old <size>, hashes in base64, an empty line, a checkpoint\n")
        checkpoint, refused = self._open(given.note)
        if checkpoint is None:
            return refused
        if given.old_size > checkpoint.size:
            return Reply(BAD, "the old size is above that of the checkpoint\n")
        # Compared and written in one turn, else two requests could take the log back.
        with self._turn:
            refused = self._judge(given, checkpoint)
            if refused.status != OK:
                return refused
            self._remember(checkpoint)
        now = int(self._clock())
        return Reply(OK, "".join(note.line(s, checkpoint, now) for s in self._signers))

    def _open(self, data: bytes) -> tuple[Checkpoint | None, Reply]:
        try:
            origin = Checkpoint.parse(Note.parse(data).text).origin
        except Problem as problem:
            return None, Reply(BAD, problem.en + "\n")
        if origin not in self._logs:
            return None, Reply(UNKNOWN, "this witness does not know that log\n")
        try:
            return open_checkpoint(data, self._logs[origin]), Reply(OK)
        except Problem as problem:
            return None, Reply(UNSIGNED, problem.en + "\n")

    def _judge(self, given: Submission, checkpoint: Checkpoint) -> Reply:
        size, root = self._known(checkpoint.origin)
        if given.old_size != size:
            return Reply(CONFLICT, f"{size}\n", SIZE_TYPE)
        if size == checkpoint.size:
            if root != checkpoint.root:
                return Reply(CONFLICT, f"{size}\n", SIZE_TYPE)
            return Reply(INCONSISTENT if given.path else OK)
        if size == 0:
            return Reply(INCONSISTENT if given.path else OK)
        if grown(size, checkpoint.size, root, given.path) != (root, checkpoint.root):
            return Reply(INCONSISTENT, "the proof does not lead to the checkpoint\n")
        return Reply(OK)

    def _known(self, origin: str) -> tuple[int, bytes]:
        kept = self._all().get(origin)
        return (0, EMPTY_ROOT) if kept is None else (kept[0], bytes.fromhex(kept[1]))

    def _remember(self, checkpoint: Checkpoint) -> None:
        known = {**self._all(), checkpoint.origin: (checkpoint.size, checkpoint.root.hex())}
        write_private(self._state, json.dumps(known, indent=1) + "\n")

    def _all(self) -> dict[str, tuple[int, str]]:
        if not self._state.exists():
            return {}
        found: dict[str, tuple[int, str]] = json.loads(self._state.read_text(encoding="utf-8"))
        return found


def build(witness: Witness) -> FastAPI:
    """Return the HTTP application of a witness."""
    app = FastAPI(title="Digital Lab witness", openapi_url=None, docs_url=None, redoc_url=None)

    @app.post("/add-checkpoint")
    async def add_checkpoint(request: Request) -> Response:
        data = await request.body()
        reply = await run_in_threadpool(witness.add_checkpoint, data)
        return Response(reply.text, status_code=reply.status, media_type=reply.media_type)

    app.add_middleware(LimitedBody, most=MAX_REQUEST_BYTES)
    return app


def open_witness_keys(folder: Path) -> tuple[note.Signer, ...]:
    """Return the witness's signers, made at the first start; its public keys stand in `vkey`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / "witness.skey"
    if not file.exists():
        name = f"witness.lab.localhost/{secrets.token_hex(8)}"
        made = (
            note.Ed25519Cosigner(name, secrets.token_bytes(32)),
            note.MlDsaSigner(name, secrets.token_bytes(32)),
        )
        write_private(file, "".join(note.skey(s) + "\n" for s in made))
        (folder / "vkey").write_text("".join(note.vkey(s) + "\n" for s in made), encoding="utf-8")
    return tuple(note.read_skey(line) for line in file.read_text(encoding="utf-8").splitlines())


def main() -> int:
    """Serve a witness."""
    parser = argparse.ArgumentParser(prog="python -m marketplace.audit.witness")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--log", action="append", required=True, help="a log's key; repeat")
    parser.add_argument("--port", type=int, default=8090)
    given = parser.parse_args()
    try:
        logs = [Key.parse(text) for text in given.log]
    except Problem as problem:
        sys.stderr.write(f"witness: {problem.en}\n")
        return 2
    witness = Witness(given.state, open_witness_keys(given.state), logs)
    uvicorn.run(build(witness), host="127.0.0.1", port=given.port, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
