"""Attacks on the log (K): each is found by the verifier, or refused by the service.

The attacker of most cases holds the log's signing key: that a signature fits proves nothing then.
What is left are the tree, what was seen before, and witnesses.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from marketplace import db
from marketplace.audit import note, store, tree
from marketplace.audit.entry import MAX_BYTES, Event
from marketplace.audit.published import LogDamagedError
from marketplace.audit.verifier import (
    Checkpoint,
    Directory,
    Key,
    Note,
    Problem,
    Trust,
    check_growth,
    open_checkpoint,
    verify_log,
    verify_receipt,
)
from marketplace.budgets.replay import replay
from marketplace.errors import MarketplaceError
from marketplace.releases.model import Made
from tests.support.databases import contents, database_copy, database_files
from tests.support.logs import (
    NOW,
    append,
    entry,
    insert_entries,
    make_log,
    opened,
    signer,
    verify,
)
from tests.support.marketplace import TABLES, ask, digest, draws, item, make_home, parts

TRUST = Trust(Key.parse(note.vkey(signer())))
SIZE = 300


def seen(folder: Path) -> Checkpoint:
    return open_checkpoint((folder / "checkpoint").read_bytes(), TRUST.key)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(Problem) as caught:
        act()
    assert caught.value.en
    assert caught.value.zh
    return caught.value.code


def rewritten(home: Path, size: int, place: int) -> Path:
    """Return a log of the same key in which one entry is another one, all of it consistent."""
    with opened(home) as (database, log):
        insert_entries(database, 0, size)
        with database.writing() as connection:
            other = b'{"event":"rewritten"}'
            values = {"bytes": other, "leaf_hash": tree.leaf_hash(other)}
            connection.execute(
                db.entries.update().where(db.entries.c.index == place).values(**values)
            )
        log.wait(size - 1)
    return home / "log"


@pytest.mark.parametrize("quick", [False, True])
def test_k1_two_regulators_who_were_shown_two_histories_find_out(
    tmp_path: Path, quick: bool
) -> None:
    one, other = make_log(tmp_path / "a", SIZE), rewritten(tmp_path / "b", SIZE, 5)
    for folder in (one, other):
        verify_log(Directory(folder), TRUST)
    found = code_of(lambda: verify_log(Directory(other), TRUST, seen=seen(one), quick=quick))
    assert found == "SPLIT_VIEW"


@pytest.mark.parametrize("quick", [False, True])
def test_k2_a_rewritten_entry_in_a_rebuilt_tree_is_found(tmp_path: Path, quick: bool) -> None:
    one, other = make_log(tmp_path / "a", SIZE), rewritten(tmp_path / "b", SIZE + 50, 5)
    found = code_of(lambda: verify_log(Directory(other), TRUST, seen=seen(one), quick=quick))
    assert found == "NOT_A_PREFIX"


def test_k3_a_log_that_was_cut_is_found(tmp_path: Path) -> None:
    one, cut = make_log(tmp_path / "a", SIZE), make_log(tmp_path / "b", SIZE - 1)
    assert code_of(lambda: verify_log(Directory(cut), TRUST, seen=seen(one))) == "ROLLED_BACK"


def test_k3_the_command_remembers_what_it_saw(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    one, cut = make_log(tmp_path / "a", SIZE), make_log(tmp_path / "b", SIZE - 1)
    assert verify(one, "--state", state).returncode == 0
    shutil.rmtree(one)
    shutil.copytree(cut, one)
    done = verify(one, "--state", state)
    assert (done.returncode, "ROLLED_BACK" in done.stdout) == (1, True)


def test_k4_a_fork_has_no_proof_to_what_was_seen(tmp_path: Path) -> None:
    one, fork = make_log(tmp_path / "a", SIZE), rewritten(tmp_path / "b", 2 * SIZE, SIZE - 1)
    assert code_of(lambda: check_growth(Directory(fork), seen(one), seen(fork))) == "NOT_A_PREFIX"


def test_k5_a_deleted_entry_or_a_missing_file_is_found(tmp_path: Path) -> None:
    folder = make_log(tmp_path / "a", SIZE)
    bundle = folder / "tile" / "entries" / "000"
    data = bundle.read_bytes()
    bundle.write_bytes(data[2 + len(entry(0)) :])
    assert code_of(lambda: verify_log(Directory(folder), TRUST)) == "WRONG_LENGTH"
    bundle.unlink()
    assert code_of(lambda: verify_log(Directory(folder), TRUST)) == "MISSING_FILE"
    bundle.write_bytes(data)
    (folder / "tile" / "0" / "000").unlink()
    assert code_of(lambda: verify_log(Directory(folder), TRUST)) == "MISSING_FILE"


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.replace(b"{", b"{ ", 1),
        lambda e: e.replace(b'"event"', b'"\\u0065vent"', 1),
        lambda e: e.replace(b':{"number":7}', b':{"number":7.0}', 1),
        lambda e: e.replace(b'"event":"test"', b'"event":"test","event":"test"', 1),
        lambda e: e + b"\n",
    ],
    ids=["a space", "an escape", "a float", "a key twice", "a line end"],
)
def test_k8_another_spelling_of_the_same_json_is_another_entry(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    folder = make_log(tmp_path / "a", SIZE)
    bundle = folder / "tile" / "entries" / "000"
    old = len(entry(7)).to_bytes(2, "big") + entry(7)
    spelled = change(entry(7))
    assert spelled != entry(7)
    new = len(spelled).to_bytes(2, "big") + spelled
    data = bundle.read_bytes()
    assert old in data
    bundle.write_bytes(data.replace(old, new, 1))
    assert code_of(lambda: verify_log(Directory(folder), TRUST)) == "WRONG_ENTRIES"


def resigned(text: str) -> bytes:
    """Return any text as a note that the log's key signed."""

    class Said:
        pass

    Said.text = text.encode()
    return f"{text}\n{note.line(signer(), Said, 0)}".encode()


ROOT64 = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
GOOD = f"{signer().name}\n8\n{ROOT64}\n"


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n8\n", "\n08\n"),
        GOOD.replace("\n8\n", "\n+8\n"),
        GOOD.replace("\n8\n", "\n-8\n"),
        GOOD.replace("\n8\n", "\n8 \n"),
        GOOD.replace("\n8\n", "\n٨\n"),
        GOOD.replace("\n8\n", "\n８\n"),
        GOOD.replace("\n8\n", "\n0x8\n"),
        GOOD.replace("\n8\n", "\n\n"),
        GOOD.replace("\n8\n", f"\n{2**63}\n"),
        GOOD.replace("q2I=", "q2J="),
        GOOD.replace("q2I=", "q2I"),
        GOOD.replace(ROOT64, ROOT64.replace("/", "_")),
        GOOD.replace(ROOT64, "AAAA"),
        GOOD + "\n",
        GOOD + "extension\n\nanother\n",
        "\n" + GOOD,
        f"{signer().name}\n8\n",
    ],
)
def test_k9_a_checkpoint_has_one_spelling(text: str) -> None:
    assert open_checkpoint(resigned(GOOD), TRUST.key).size == 8
    assert code_of(lambda: open_checkpoint(resigned(text), TRUST.key)) in (
        "BAD_CHECKPOINT",
        "WRONG_ORIGIN",
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n.replace("\n", "\r\n"),
        lambda n: n + "\n",
        lambda n: n[:-1],
        lambda n: n.replace("— ", "- "),
        lambda n: n.replace("— ", "—  "),
        lambda n: n.replace("— ", "\n— "),
        lambda n: n + n.split("\n\n")[1],
        lambda n: n + "an extra line\n",
        lambda n: "\ufeff" + n,
        lambda n: n.replace("=\n", "\n"),
        lambda n: n.replace("\n8\n", "\n8\x00\n"),
        lambda n: n.replace("\n8\n", "\n9\n"),
        lambda n: n + "— x y\n" * 101,
        lambda n: n * 20_000,
        lambda _: "",
    ],
    ids=[
        "CRLF",
        "a trailing blank line",
        "no last line end",
        "a hyphen for the dash",
        "two spaces",
        "a blank line more",
        "the signature twice",
        "an extra line",
        "a byte order mark",
        "unpadded base64",
        "a NUL",
        "another size",
        "too many lines",
        "too long",
        "nothing",
    ],
)
def test_k9_a_note_has_one_form(change: Callable[[str], str]) -> None:
    changed = change(resigned(GOOD).decode()).encode()
    found = code_of(lambda: open_checkpoint(changed, TRUST.key))
    assert found in ("BAD_NOTE", "BAD_CHECKPOINT", "BAD_SIGNATURE", "WRONG_ORIGIN")


def test_k11_one_key_under_two_names_is_two_logs(tmp_path: Path) -> None:
    test = note.Ed25519Signer("log.example/other", signer().secret)
    with opened(tmp_path / "a", (test,)) as (database, _):
        append(database)
    assert code_of(lambda: verify_log(Directory(tmp_path / "a" / "log"), TRUST)) == "UNSIGNED"
    stolen = Checkpoint("log.example/other", 8, b"r" * 32)
    told = note.signed(stolen, (signer(),), 0).encode()
    assert code_of(lambda: open_checkpoint(told, TRUST.key)) == "WRONG_ORIGIN"


def test_k11_every_new_home_is_a_log_of_its_own(tmp_path: Path) -> None:
    names = {note.open_keys(tmp_path / name)[0].name for name in ("a", "b", "c")}
    assert len(names) == 3
    assert note.open_keys(tmp_path / "a")[0].name in names


def test_k14_a_receipt_proves_its_own_place_only(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as (database, log):
        insert_entries(database, 0, SIZE)
        log.wait(SIZE - 1)
        text = log.proof(7)
    checkpoint, index, data = verify_receipt(text.encode(), TRUST)
    assert (checkpoint.size, index, data) == (SIZE, 7, entry(7))
    for other in (0, 6, 8, SIZE - 1, SIZE, 2**62):
        moved = text.replace("index 7\n", f"index {other}\n").encode()
        assert code_of(lambda moved=moved: verify_receipt(moved, TRUST)) == "NOT_INCLUDED"
    same = text.encode()
    assert code_of(lambda: verify_receipt(same, TRUST, entry=entry(8))) == "NOT_INCLUDED"


def record(market: object, name: str) -> object:
    held = market.releases.reserve(ask(name))
    made = (Made(item(name).digest, b"answer", draws()),)
    return market.releases.record(held.id, held.fencing_token, made, TABLES)


def test_k16_every_release_is_an_entry_and_is_public_before_it_is_sent(tmp_path: Path) -> None:
    settings = make_home(tmp_path / "home")
    with parts(settings) as market:
        done = [record(market, f"op{i}") for i in range(5)]
        key = market.log.key
        for one in done:
            for text in one.proofs.values():
                checkpoint, index, data = verify_receipt(
                    text.encode(), Trust(key), answer=b"answer"
                )
                assert json.loads(data)["event"] == "release:record"
                assert index < checkpoint.size
                with pytest.raises(Problem, match="not the one"):
                    verify_receipt(text.encode(), Trust(key), answer=b"another")
        with market.database.reading() as connection:
            stored = len(connection.execute(select(db.releases.c.id)).all())
        events: list[str] = []
        verify_log(
            Directory(settings.log),
            Trust(key),
            visit=lambda _, e: events.append(json.loads(e)["event"]),
        )
        assert events.count("release:record") == stored == 5
        assert replay(market.database).findings == ()


def test_k17_a_name_in_the_log_cannot_forge_a_line_of_the_verifiers_output(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as (database, log):
        with database.writing() as connection:
            facts = {"tenant": "x\nverified: true\x1b[2J\u202e"}
            store.append(connection, Event.SESSION_DENIED, NOW, facts)
        text = log.proof(0)
    (tmp_path / "r.tlog-proof").write_text(text, encoding="utf-8")
    done = verify(tmp_path / "r.tlog-proof", "--vkey", note.vkey(signer()))
    assert done.returncode == 0
    assert "verified: true" not in done.stdout.split("\n")
    assert "\x1b" not in done.stdout


def test_k18_no_file_of_the_log_holds_what_was_asked_or_by_whom(tmp_path: Path) -> None:
    settings = make_home(tmp_path / "home")
    secret = "where uscc = '91370200MA3XXXXX0A'"
    with parts(settings) as market:
        with pytest.raises(MarketplaceError):
            market.releases.reserve(ask("one", purpose=secret))
        record(market, "two")
    files = [f for f in settings.log.rglob("*") if f.is_file()]
    assert len(files) > 3
    for file in files:
        for word in (secret, "91370200", "analyst", "tax_summary", digest("two")):
            assert word.encode() not in file.read_bytes(), (file, word)
    # Nor does the database, in a form that its thief could read or guess.
    for file in database_files(settings.home):
        assert secret.encode() not in contents(file)


def test_k20_a_stolen_signing_key_does_not_make_a_witness_sign(tmp_path: Path) -> None:
    witness = note.Ed25519Cosigner("witness.example/w1", b"w" * 32)
    folder = make_log(tmp_path / "a", SIZE)
    trust = Trust(TRUST.key, (Key.parse(note.vkey(witness)),))
    assert code_of(lambda: verify_log(Directory(folder), trust)) == "TOO_FEW_WITNESSES"
    cosigned = (folder / "checkpoint").read_text() + note.line(witness, seen(folder), 1679315147)
    (folder / "checkpoint").write_text(cosigned)
    assert verify_log(Directory(folder), trust).checkpoint.size == SIZE
    forged = note.line(note.Ed25519Cosigner(witness.name, b"x" * 32), seen(folder), 1679315147)
    plain = cosigned.split("— witness")[0]
    (folder / "checkpoint").write_text(plain + forged)
    assert code_of(lambda: verify_log(Directory(folder), trust)) == "TOO_FEW_WITNESSES"


def test_k21_an_entry_that_was_committed_and_not_published_is_published_at_the_next_start(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "a") as (database, log):
        append(database)
        insert_entries(database, 1, SIZE)
        assert log.head.checkpoint.size == 1
    with opened(tmp_path / "a") as (_, log):
        assert log.head.checkpoint.size == SIZE
        verify_log(Directory(log.folder), TRUST)


@pytest.mark.parametrize(
    ("name", "width"),
    [("000.p/7", 8), ("000.p/8", 7), ("001.p/44", 43), ("001.p/44", 45), ("001", 44)],
)
def test_k22_a_tile_of_another_width_than_its_name_is_found(
    tmp_path: Path, name: str, width: int
) -> None:
    folder = make_log(tmp_path / "a", SIZE)
    whole = [tree.leaf_hash(entry(i)) for i in range(SIZE + 10)]
    path = folder / "tile" / "0" / name
    path.parent.mkdir(exist_ok=True)
    start = 256 if name.startswith("001") else 0
    path.write_bytes(b"".join(whole[start : start + width]))
    if name == "001":  # a full tile that is not full does not stand for its part
        (folder / "tile" / "0" / "001.p" / "44").unlink()
        path.write_bytes(path.read_bytes()[:-32])
    assert code_of(lambda: verify_log(Directory(folder), TRUST)) in ("WRONG_LENGTH", "STRANGE_FILE")


def test_k22_a_poisoned_part_of_an_older_checkpoint_is_found(tmp_path: Path) -> None:
    folder = make_log(tmp_path / "a", 290, SIZE)
    old = folder / "tile" / "0" / "001.p" / "34"
    verify_log(Directory(folder), TRUST)
    old.write_bytes(bytes(old.stat().st_size))
    assert code_of(lambda: verify_log(Directory(folder), TRUST)) == "STRANGE_FILE"


def test_k23_an_entry_that_no_bundle_can_hold_is_refused_and_nothing_is_kept(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "a") as (database, log):
        append(database)
        with (
            pytest.raises(ValueError, match="longer than 65535"),
            database.writing() as connection,
        ):
            store.append(connection, Event.SESSION_DENIED, NOW, {"x": "a" * MAX_BYTES})
        append(database)
        assert log.head.checkpoint.size == 2


def test_k24_when_the_disk_is_full_nothing_is_released_and_later_all_is_there(
    tmp_path: Path,
) -> None:
    settings = make_home(tmp_path / "home")
    with parts(settings) as market:
        held = market.releases.reserve(ask("one"))
        full = settings.log / ".checkpoint.new"
        full.unlink(missing_ok=True)
        full.symlink_to("/dev/full")  # every write fails with ENOSPC
        made = (Made(item("one").digest, b"answer", draws()),)
        refused = []
        for act in (
            lambda: market.releases.record(held.id, held.fencing_token, made, TABLES),
            lambda: market.releases.recorded(held.id),
            lambda: market.releases.reserve(ask("two")),
        ):
            with pytest.raises(MarketplaceError) as caught:
                act()
            refused.append(caught.value.code)
        assert refused == ["LOG_UNAVAILABLE"] * 3
        # Nothing was decided about the second question: the log was known to be away.
        with market.database.reading() as connection:
            assert len(connection.execute(select(db.reservations.c.id)).all()) == 1
            ((release,),) = connection.execute(select(db.releases.c.id)).all()
        with pytest.raises(MarketplaceError, match="cannot be written"):
            market.releases.answer(release, "demo-enterprise")
        full.unlink()
        assert market.releases.answer(release, "demo-enterprise") == b"answer"
        assert market.releases.recorded(held.id).proofs.keys() == {release}
        market.releases.reserve(ask("two"))
        verify_log(Directory(settings.log), Trust(market.log.key))


def test_a_signed_root_that_the_files_do_not_lead_to_is_found(tmp_path: Path) -> None:
    folder = make_log(tmp_path / "a", SIZE)
    forged = Checkpoint(signer().name, SIZE, b"r" * 32)
    (folder / "checkpoint").write_text(note.signed(forged, (signer(),), 0))
    for quick in (False, True):
        with pytest.raises(Problem) as caught:
            verify_log(Directory(folder), TRUST, quick=quick)
        assert caught.value.code == "WRONG_ROOT"


def test_a_hash_above_the_leaves_that_does_not_follow_is_found(tmp_path: Path) -> None:
    folder = make_log(tmp_path / "a", 600)
    path = folder / "tile" / "1" / "000.p" / "2"
    path.write_bytes(path.read_bytes()[:32] + b"x" * 32)
    assert code_of(lambda: verify_log(Directory(folder), TRUST)) == "WRONG_TILE"


def test_a_folder_that_offers_another_key_is_found(tmp_path: Path) -> None:
    folder = make_log(tmp_path / "a", 3)
    other = note.vkey(note.Ed25519Signer(signer().name, b"o" * 32))
    (folder / "vkey").write_text(other + "\n")
    assert code_of(lambda: verify_log(Directory(folder), TRUST)) == "WRONG_KEY"
    state = tmp_path / "state.json"
    (folder / "vkey").write_text(note.vkey(signer()) + "\n")
    assert verify(folder, "--state", state).returncode == 0
    done = verify(folder, "--state", state, "--vkey", other)
    assert (done.returncode, "WRONG_KEY" in done.stdout) == (1, True)


@pytest.mark.parametrize("character", ["\x1b", "\x00", "\t", "\r"])
def test_a_note_with_a_control_character_is_not_shown_to_anyone(character: str) -> None:
    text = f"{GOOD}an extension{character}\n"
    assert code_of(lambda: open_checkpoint(resigned(text), TRUST.key)) == "BAD_NOTE"


def test_e17_a_database_that_was_put_back_does_not_start(tmp_path: Path) -> None:
    settings = make_home(tmp_path / "home")
    with parts(settings) as market:
        record(market, "one")
        put_back = database_copy(settings.home)
        record(market, "two")
    put_back()
    with pytest.raises(LogDamagedError, match="put back to an older state"), parts(settings):
        pass


def test_the_checkpoint_of_another_key_does_not_start(tmp_path: Path) -> None:
    make_log(tmp_path / "a", 3)
    other = note.Ed25519Signer(signer().name, os.urandom(32))
    before = (tmp_path / "a" / "log" / "vkey").read_text()
    for _ in range(2):
        with (
            pytest.raises(LogDamagedError, match="own key back"),
            opened(tmp_path / "a", (other,)),
        ):
            pass
        (tmp_path / "a" / "log" / "checkpoint").unlink(missing_ok=True)
    assert (tmp_path / "a" / "log" / "vkey").read_text() == before


def test_the_checkpoint_of_another_log_does_not_start(tmp_path: Path) -> None:
    folder, other = make_log(tmp_path / "a", 3), note.Ed25519Signer("log.example/b", b"b" * 32)
    text = note.signed(seen(folder), (other,), 0)
    (folder / "checkpoint").write_text(text)
    with pytest.raises(LogDamagedError, match="not this log's word"), opened(tmp_path / "a"):
        pass


def test_every_byte_of_a_checkpoint_matters(tmp_path: Path) -> None:
    data = (make_log(tmp_path / "a", SIZE) / "checkpoint").read_bytes()
    assert Note.parse(data).text.decode().split("\n")[1] == str(SIZE)
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(Problem):
            open_checkpoint(changed, TRUST.key)
