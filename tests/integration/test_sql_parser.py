# the texts are of this file
"""The parser JVM: what it accepts, how long it may take, and when it ends."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from privacy.dp.query import Query
from privacy.errors import Refusal
from sandbox.gateway import parser as parser_module
from sandbox.gateway.parser import MAX_CHARACTERS, SparkParser
from sandbox.gateway.sql import parse_query
from sandbox.java import find_java_home

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def parser() -> Iterator[SparkParser]:
    parser = SparkParser()
    parser.warm().join()
    yield parser
    parser.close()


def refusal(parser: SparkParser, text: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parser.plan(text)
    return caught.value


def wait_for_end(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":  # ended, not yet collected by whoever inherited it
            return True
        time.sleep(0.1)
    return False


def test_the_packaged_java_parses_as_the_system_one_does(
    parser: SparkParser, tmp_path: Path
) -> None:
    packaged = SparkParser(find_java_home(tmp_path, {}))
    try:
        text = (
            "SELECT k, sum(v) AS s FROM t WHERE d > DATE '2024-01-31' GROUP BY k HAVING sum(v) > 1"
        )
        assert parse_query(text, parser=packaged) == parse_query(text, parser=parser)
    finally:
        packaged.close()


@pytest.mark.parametrize(
    "text",
    [
        "SELECT '${spark.sql.shuffle.partitions}' AS x FROM t",
        "SELECT '${env:PATH}' AS x FROM t",
        "SELECT '${system:user.home}' AS x FROM t",
    ],
)
def test_variables_in_a_text_are_not_replaced(parser: SparkParser, text: str) -> None:
    assert any(text[8 : text.index("}") + 1] in json.dumps(node) for node in parser.plan(text))


def test_a_syntax_error_shows_the_place_in_the_users_own_text(parser: SparkParser) -> None:
    answer = refusal(parser, "SELECT a FROM t WHERE b >")
    assert answer.code == "PARSE"
    assert "SELECT a FROM t WHERE b >\n-------------------------^^^" in answer.en


def test_the_same_text_parsed_again_gives_the_same_query(parser: SparkParser) -> None:
    text = "SELECT x.a AS b FROM (SELECT a FROM t) AS x ORDER BY b"
    first: Query = parse_query(text, parser=parser)
    assert parse_query(text, parser=parser) == first


def test_every_character_of_a_text_arrives(parser: SparkParser) -> None:
    odd = "\u2028 \x85 \r\n \t \x0b 税 😀 \x7f %"
    nodes = parser.plan(f"SELECT '{odd}' AS x FROM t")
    assert odd in [node["fields"].get("value") for node in nodes]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SELECT " + "a" * MAX_CHARACTERS, "TOO_LARGE"),
        ("SELECT " + "(" * 20_000 + "1", "TOO_LARGE"),
        ("SELECT 1 " + "/*" * 20_000, "TOO_LARGE"),
        ("SELECT " + "NOT " * 10_000 + "a", "TOO_LARGE"),
        ("SELECT " + "+".join(["1"] * 5_000), "TOO_LARGE"),
        ("SELECT " + "a," * 20_000 + "b", "TOO_LARGE"),
        ("SELECT * FROM t " + "JOIN t " * 5_000, "TOO_LARGE"),
        ("SELECT '\ud800'", "PARSE"),
        ("", "PARSE"),
        ("\0", "PARSE"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_a_hostile_text_is_refused_and_the_parser_lives_on(
    parser: SparkParser, text: str, code: str
) -> None:
    pid = parser.pid
    assert refusal(parser, text).code == code
    assert parser.plan("SELECT a FROM t")
    assert parser.pid == pid


def test_a_text_that_takes_too_long_costs_the_jvm_and_not_the_gateway() -> None:
    parser = SparkParser(parse_seconds=30)
    try:
        parser.plan("SELECT a FROM t")
        before, parser._parse_seconds = parser.pid, 0.05
        slow = "SELECT " + "CASE WHEN a THEN " * 2_000 + "1" + " END" * 2_000
        assert refusal(parser, slow).code == "TOO_LARGE"
        assert before is not None
        assert wait_for_end(before)
        started = time.monotonic()
        assert refusal(parser, slow).code == "TOO_LARGE"
        assert time.monotonic() - started < 0.05, "the refusal of a known text costs no JVM"
        parser._parse_seconds = 30
        assert parser.plan("SELECT a FROM t")
    finally:
        parser.close()


def test_a_jvm_that_died_is_replaced_without_the_client_noticing(parser: SparkParser) -> None:
    before = parser.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    assert parser.plan("SELECT after_the_end FROM t")
    assert parser.pid not in (None, before)


def test_texts_from_many_threads_do_not_mix(parser: SparkParser) -> None:
    wrong: list[int] = []

    def ask(number: int) -> None:
        nodes = parser.plan(f"SELECT c{number}")
        if nodes[1]["fields"] != {"nameParts": [f"c{number}"]}:
            wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_jvm_gets_no_secret_from_the_environment(
    parser: SparkParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_SECRET", "s3cret")
    other = SparkParser()
    try:
        other.plan("SELECT a FROM t")
        assert b"s3cret" not in Path(f"/proc/{other.pid}/environ").read_bytes()
    finally:
        other.close()


def test_closing_ends_the_jvm() -> None:
    parser = SparkParser()
    parser.plan("SELECT a FROM t")
    pid = parser.pid
    assert pid is not None
    parser.close()
    assert wait_for_end(pid)


def test_the_jvm_ends_with_a_parent_that_is_killed() -> None:
    program = (
        "from sandbox.gateway.parser import SparkParser\n"
        "import time\n"
        "parser = SparkParser(); parser.plan('SELECT a FROM t'); print(parser.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=REPOSITORY
    )
    assert parent.stdout is not None
    with parent.stdout as output:
        pid = int(output.readline())
        parent.kill()
        parent.wait()
    assert wait_for_end(pid)


def test_without_java_the_refusal_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parser = SparkParser(tmp_path)
    assert refusal(parser, "SELECT a FROM t").code == "SERVICE_UNAVAILABLE"
    parser.close()


def test_known_texts_are_few_enough_for_the_gateways_memory(parser: SparkParser) -> None:
    for number in range(parser_module.CACHED_TEXTS + 10):
        parser.plan(f"SELECT k{number}")
    assert len(parser._known) == parser_module.CACHED_TEXTS
