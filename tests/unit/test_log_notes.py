"""Notes, checkpoints, keys, tiles and proofs against the specifications' own examples.

Sources: C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles and tlog-proof
(https://c2sp.org); the key and note of Go's golang.org/x/mod/sumdb/note.
"""

import base64
from types import SimpleNamespace

import pytest

from marketplace.audit import note
from marketplace.audit.tiles import Tile, bundle, rightmost
from marketplace.audit.verifier import Checkpoint, Key, Note, Problem, Receipt, open_checkpoint
from tests.support.logs import signer

GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6"
    "KE6RyyBwJnAM=\n"
)
SOFA = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q"
    "1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2o"
    "yin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
"""The example of tlog-cosignature: a checkpoint with a witness's line."""
KEY = Key.parse(note.vkey(signer()))
CHECKPOINT = Checkpoint(signer().name, 5, b"r" * 32)


def test_a_note_of_go_is_read_and_its_signature_fits() -> None:
    read, key = Note.parse((GO_TEXT + "\n" + GO_LINE).encode()), Key.parse(GO_VKEY)
    ((name, number, signature),) = read.signatures
    assert (name, number) == ("PeterNeumann", key.id)
    assert key.fits(SimpleNamespace(text=read.text), signature)
    assert not key.fits(SimpleNamespace(text=read.text + b"x\n"), signature)


def test_our_signer_writes_what_go_writes() -> None:
    peter = note.read_skey(GO_SKEY)
    assert (note.vkey(peter), note.skey(peter)) == (GO_VKEY, GO_SKEY)
    assert note.line(peter, SimpleNamespace(text=GO_TEXT.encode()), 0) == GO_LINE


def test_the_example_checkpoint_is_read_and_written_to_the_byte() -> None:
    read = Note.parse(SOFA.encode())
    checkpoint = Checkpoint.parse(read.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text == read.text == SOFA.split("\n\n", maxsplit=1)[0].encode() + b"\n"
    lengths = [(name, len(signature)) for name, _, signature in read.signatures]
    assert lengths == [("example.com/behind-the-sofa", 64), ("witness.example.com/w1", 72)]


def test_a_witness_signs_the_text_of_the_specification() -> None:
    checkpoint = Checkpoint.parse(Note.parse(SOFA.encode()).text)
    stamp = int.from_bytes(Note.parse(SOFA.encode()).signatures[1][2][:8], "big")
    assert stamp == 1679315147
    assert checkpoint.cosigned(stamp).decode() == (
        "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )


@pytest.mark.parametrize("kind", sorted(note.SIGNERS))
def test_every_provider_signs_what_its_key_verifies_and_nothing_else(kind: int) -> None:
    one = note.SIGNERS[kind](signer().name, b"s" * 32)
    key = Key.parse(note.vkey(one))
    signature = one.sign(CHECKPOINT, 1679315147)
    assert key.fits(CHECKPOINT, signature)
    assert not key.fits(Checkpoint(CHECKPOINT.origin, 6, CHECKPOINT.root), signature)
    assert not key.fits(CHECKPOINT, bytes([signature[0] ^ 1]) + signature[1:])
    assert note.read_skey(note.skey(one)) == one


def test_a_second_line_of_any_algorithm_changes_nothing_for_those_who_know_the_first() -> None:
    second = note.MlDsaSigner(signer().name, b"2" * 32)
    text = note.signed(CHECKPOINT, (signer(), second), 1)
    unknown = "— sm2.example/key " + base64.b64encode(b"\xff\xff\xff\xff" + b"s" * 71).decode()
    whole = (text + unknown + "\n").encode()
    assert open_checkpoint(whole, KEY) == CHECKPOINT
    assert open_checkpoint(whole, Key.parse(note.vkey(second))) == CHECKPOINT
    with pytest.raises(Problem) as caught:
        open_checkpoint(note.signed(CHECKPOINT, (second,), 1).encode(), KEY)
    assert caught.value.code == "UNSIGNED"


def test_a_quorum_of_witnesses_can_be_asked_for() -> None:
    witness = note.Ed25519Cosigner("witness.example/w1", b"w" * 32)
    other = Key.parse(note.vkey(note.Ed25519Cosigner("witness.example/w2", b"v" * 32)))
    known = Key.parse(note.vkey(witness))
    text = note.signed(CHECKPOINT, (signer(), witness), 1679315147).encode()
    assert open_checkpoint(text, KEY, (known,)) == CHECKPOINT
    assert open_checkpoint(text, KEY, (known, other), 1) == CHECKPOINT
    with pytest.raises(Problem) as caught:
        open_checkpoint(text, KEY, (known, other))
    assert caught.value.code == "TOO_FEW_WITNESSES"


@pytest.mark.parametrize(
    ("place", "index", "width", "path"),
    [
        (0, 1234067, 256, "tile/0/x001/x234/067"),
        (1, 0, 256, "tile/1/000"),
        (0, 273, 112, "tile/0/273.p/112"),
        (None, 1000, 1, "tile/entries/x001/000.p/1"),
    ],
)
def test_tiles_lie_where_the_specification_says(
    place: int | None, index: int, width: int, path: str
) -> None:
    assert Tile(place, index, width).path == path


def test_the_partial_tiles_are_those_of_the_specifications_examples() -> None:
    assert [t.path for t in rightmost(70_000)] == [
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    ]
    assert [t.path for t in rightmost(256)] == ["tile/1/000.p/1"]


def test_a_bundle_is_entries_behind_two_byte_lengths() -> None:
    assert bundle([b"ab", b"", b"c"]) == b"\x00\x02ab\x00\x00\x00\x01c"
    assert len(bundle([b"x" * 65_535])) == 65_537
    with pytest.raises(ValueError, match="longer than 65535"):
        bundle([b"x" * 65_536])


def test_a_proof_has_the_lines_of_the_specification() -> None:
    text = note.proof_text(73894, [b"a" * 32, b"b" * 32], SOFA, b"entry")
    assert text.split("\n")[:6] == [
        "c2sp.org/tlog-proof@v1",
        "extra " + base64.b64encode(b"entry").decode(),
        "index 73894",
        base64.b64encode(b"a" * 32).decode(),
        base64.b64encode(b"b" * 32).decode(),
        "",
    ]
    read = Receipt.parse(text.encode())
    assert (read.entry, read.index, read.note) == (b"entry", 73894, SOFA.encode())
    assert Receipt.parse(note.proof_text(0, [], SOFA).encode()).entry is None


@pytest.mark.parametrize(
    "text",
    [
        GO_VKEY[:-1],
        GO_VKEY.replace("c74f20a3", "c74f20a4"),
        GO_VKEY.replace("PeterNeumann", "Peter Neumann"),
        GO_VKEY.replace("PeterNeumann", ""),
        GO_VKEY.replace("+ARpc", "+AhPc"),
        GO_VKEY.replace("c74f20a3", "C74F20A3"),
        GO_VKEY + "=",
        "\u202e" + GO_VKEY,
        "",
    ],
)
def test_a_mangled_key_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        Key.parse(text)
    assert caught.value.code == "BAD_KEY"


def test_a_problem_never_writes_to_the_terminal_what_it_was_given() -> None:
    problem = Problem("MISSING_FILE", path="tile/\x1b[31m\u202e\n0" + "x" * 1000)
    for told in (problem.en, problem.zh):
        assert told.isprintable()
        assert len(told) < 400
