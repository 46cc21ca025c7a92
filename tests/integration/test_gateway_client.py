"""Stock clients, in their own environment and process, against a gateway on a real port."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.gateway import (
    CLIENT_PYTHON,
    OTHER_TOKEN,
    TOKEN,
    Gateway,
    Person,
    Tables,
    running_gateway,
)

pytestmark = pytest.mark.skipif(
    not CLIENT_PYTHON.exists(), reason="the notebook environment is not installed"
)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with running_gateway() as running:
        yield running


def let_go(tables: Tables, seconds: float) -> None:
    """Hold the first answer for a while once it has begun."""

    def wait() -> None:
        while not tables.answered:
            time.sleep(0.01)
        time.sleep(seconds)
        assert tables.gate is not None
        tables.gate.set()

    threading.Thread(target=wait, daemon=True).start()


def test_ordinary_code_gets_ordinary_answers(gateway: Gateway) -> None:
    printed = gateway.run("""
        df = spark.table("tax").filter("amount > 10").groupBy("district").count()
        print(df.columns, df.toPandas().values.tolist())
        print(df.collect()[0], df.count(), df.isEmpty(), df.first()["count"], len(df.take(2)))
        df.printSchema()
        df.show(2)
        df.explain()
        df.explain("cost")
        print(spark.version, df.cache().count(), df.unpersist().isLocal())
    """)
    assert "['district', 'count'] [['江汉', 1], ['江岸', 2], ['硚口', 1]]" in printed
    assert "Row(district='江汉', count=1) 3 False 1 2" in printed
    assert " |-- count: long (nullable = true)" in printed
    assert (
        "|    江汉|    1|\n|    江岸|    2|\n+--------+-----+\nonly showing top 2 rows" in printed
    )
    assert "Privacy plan (extended=False, epsilon=None)" in printed
    assert "Privacy plan (extended=True, epsilon=None)" in printed
    assert "4.3.0 3 False" in printed


def test_the_full_client_of_spark_works_as_the_small_one() -> None:
    with running_gateway() as gateway:
        gateway.python = sys.executable
        printed = gateway.run("""
            df = spark.table("tax").groupBy("district").count()
            print(df.toPandas()["count"].sum(), df.columns)
            spark.sql("select * from districts").show(1)
            attempt(lambda: spark.table("tax").collect())
        """)
    assert "5 ['district', 'count']" in printed
    assert "only showing top 1 row" in printed
    assert "AnalysisException LAB.PRIVATE_ROWS" in printed


def test_private_rows_are_refused_with_the_nearest_form(gateway: Gateway) -> None:
    printed = gateway.run("""
        t = spark.table("tax")
        for call in (t.collect, t.toPandas, t.show, t.first, lambda: t.limit(1).collect(),
                     lambda: t.head(), lambda: spark.sql("select * from tax").toPandas()):
            attempt(call)
    """)
    line = (
        "AnalysisException LAB.PRIVATE_ROWS | [LAB.PRIVATE_ROWS] Rows of tax are private. "
        "Ask for an aggregate: groupBy(...).count()."
    )
    assert printed.splitlines() == [line] * 7


def test_errors_are_sparks_own_classes_with_the_labs_codes(gateway: Gateway) -> None:
    printed = gateway.run("""
        attempt(lambda: spark.table("nope").toPandas())
        attempt(lambda: spark.table("tax").filter("wrong > 1").groupBy().count().toPandas())
        attempt(lambda: spark.sql("drop table tax"))
        attempt(lambda: spark.table("tax").describe().show())
        attempt(lambda: spark.table("tax").write.saveAsTable("x"))
        attempt(lambda: spark.table("tax").select(F.udf(lambda v: v)("amount")).toPandas())
        attempt(lambda: spark.conf.set("lab.epsilon", "nan"))
        attempt(lambda: spark.conf.set("spark.sql.ansi.enabled", "true"))
        attempt(lambda: spark.addArtifacts(__file__, pyfile=True))
        attempt(lambda: spark.table("tax").groupBy().count().hint("epsilon", 0.0).toPandas())
    """)
    got = [line.split(" | ")[0] for line in printed.splitlines()]
    assert got == [
        "AnalysisException LAB.UNKNOWN_TABLE",
        "AnalysisException LAB.UNKNOWN_COLUMN",
        "ParseException LAB.PARSE",
        "UnsupportedOperationException LAB.UNSUPPORTED",
        "UnsupportedOperationException LAB.UNSUPPORTED",
        "UnsupportedOperationException LAB.UNSUPPORTED",
        "AnalysisException LAB.BAD_EPSILON",
        "UnsupportedOperationException LAB.UNSUPPORTED",
        "UnsupportedOperationException LAB.UNSUPPORTED",
        "AnalysisException LAB.BAD_EPSILON",
    ]
    assert "Ask for an aggregate" in printed
    assert "_InactiveRpcError" not in printed


def test_a_callers_own_rows_and_views_join_in(gateway: Gateway) -> None:
    printed = gateway.run("""
        import datetime, pandas as pd
        own = spark.createDataFrame(pd.DataFrame({"a": [1, 2], "b": ["x", None]}))
        own.createOrReplaceTempView("mine")
        print(spark.table("mine").collect())
        print(spark.sql("select * from mine").count())
        print(spark.sql("select * from {frame}", frame=own).toPandas().shape)
        print(spark.createDataFrame([(1, "x", 1.5, True, datetime.date(2026, 1, 31))],
                                    "a int, b string, c double, d boolean, e date").collect())
        print([(t.name, t.tableType, t.isTemporary) for t in spark.catalog.listTables()])
        print([t.name for t in spark.catalog.listTables(pattern="t*")])
        print(spark.catalog.tableExists("tax"), spark.catalog.tableExists("nope"))
        print([(c.name, c.dataType, c.description) for c in spark.catalog.listColumns("mine")])
        print(spark.catalog.dropTempView("mine"), spark.catalog.currentDatabase())
        spark.catalog.cacheTable("tax"); spark.catalog.clearCache()
        attempt(lambda: spark.catalog.dropTable("tax") if hasattr(spark.catalog, "dropTable")
                else spark.catalog.recoverPartitions("tax"))
    """)
    lines = printed.splitlines()
    assert lines[0] == "[Row(a=1, b='x'), Row(a=2, b=None)]"
    assert lines[1:3] == ["2", "(2, 2)"]
    assert lines[3] == "[Row(a=1, b='x', c=1.5, d=True, e=datetime.date(2026, 1, 31))]"
    assert lines[4] == (
        "[('districts', 'PUBLIC', False), ('mine', 'TEMPORARY', True), ('tax', 'PRIVATE', False)]"
    )
    assert lines[5:7] == ["['tax']", "True False"]
    assert lines[7] == "[('a', 'bigint', 'about a'), ('b', 'string', 'about b')]"
    assert lines[8] == "True default"
    assert lines[9].startswith("UnsupportedOperationException LAB.UNSUPPORTED")


def test_what_an_answer_costs_is_seen_in_the_frames_attributes(gateway: Gateway) -> None:
    printed = gateway.run("""
        pdf = spark.table("tax").groupBy("district").count().toPandas()
        (lab,) = pdf.attrs["observed_metrics"]
        print(lab.name, lab.pairs)
        print("metrics" in pdf.attrs)
    """)
    assert (
        "lab {'receipt': 'r-1', 'cost_epsilon': 0.5, 'budget_left': 7, 'plan': 'count'}" in printed
    )
    assert "False" in printed


def test_settings_reach_the_question(gateway: Gateway) -> None:
    printed = gateway.run("""
        spark.conf.set("lab.epsilon", "0.25")
        print(spark.conf.get("lab.epsilon"), spark.conf.get("lab.purpose", "none"))
        spark.table("tax").groupBy().count().explain()
        spark.conf.unset("lab.epsilon")
        spark.table("tax").groupBy().count().explain()
        spark.conf.set("lab.language", "zh")
        attempt(lambda: spark.table("tax").collect())
    """)
    assert "0.25 none" in printed
    assert "epsilon=0.25" in printed
    assert "epsilon=None" in printed
    assert "tax 的行数据属于隐私数据" in printed


def test_users_do_not_see_one_anothers_sessions(gateway: Gateway) -> None:
    script = """
        print(spark.conf.get("lab.purpose", "none"))
        spark.conf.set("lab.purpose", "first")
    """
    session_id = "22222222-2222-4222-8222-222222222222"
    session = f"sc://localhost:{gateway.server.port}/;session_id={session_id}"
    assert gateway.run(script, TOKEN, SPARK_REMOTE=session) == "none\n"
    assert gateway.run(script, TOKEN, SPARK_REMOTE=session) == "first\n"
    assert gateway.run(script, OTHER_TOKEN, SPARK_REMOTE=session) == "none\n"


@pytest.mark.parametrize("token", ["wrong-token-wrong", ""])
def test_without_a_known_token_nothing_is_answered(gateway: Gateway, token: str) -> None:
    printed = gateway.run("attempt(lambda: spark.version)", token)
    assert "LAB.AUTHENTICATION" in printed
    assert "SPARK_CONNECT_AUTHENTICATE_TOKEN" in printed
    assert "wrong-token" not in printed


def test_an_interrupt_ends_a_running_question() -> None:
    tables = Tables(gate=threading.Event())
    with running_gateway(tables) as gateway:
        printed = gateway.run("""
            interrupted = []
            timer = threading.Timer(0.7, lambda: interrupted.extend(spark.interruptAll()))
            timer.start()
            attempt(lambda: spark.table("tax").groupBy().count().toPandas())
            timer.join()  # the question can end before the interrupt's own reply is read
            print(len(interrupted))
        """)
    assert printed.splitlines()[-1] == "1"
    assert "SparkException LAB.CANCELLED" in printed
    assert "OPERATION_CANCELED" in printed


def test_control_c_cancels_on_the_server_too() -> None:
    tables = Tables(gate=threading.Event())
    with running_gateway(tables) as gateway:
        printed = gateway.run("""
            import os, signal
            # A shell's background jobs inherit an ignored Ctrl-C; a notebook's kernel does not.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            heard = threading.Event()
            def press():  # again, as people do: an interrupt inside a callback of gRPC is lost
                while not heard.wait(0.7):
                    os.kill(os.getpid(), signal.SIGINT)
            threading.Thread(target=press, daemon=True).start()
            try:
                spark.table("tax").groupBy().count().toPandas()
            except KeyboardInterrupt:
                heard.set()
                print("interrupted", spark.interruptAll())
        """)
    assert printed == "interrupted []\n"


def test_a_lost_stream_is_attached_again_and_nothing_runs_twice() -> None:
    tables = Tables(gate=threading.Event())
    with running_gateway(tables, stream_seconds=0.3) as gateway:
        let_go(tables, 1.5)
        printed = gateway.run("""
            print(spark.table("tax").groupBy("district").count().toPandas()["count"].sum())
        """)
        assert printed == "5\n"
        assert list(tables.answered.values()) == [1]


def test_progress_is_shown_in_phases() -> None:
    tables = Tables(gate=threading.Event())
    with running_gateway(tables) as gateway:
        let_go(tables, 1.0)
        printed = gateway.run("""
            seen = []
            spark.registerProgressHandler(
                lambda stages, inflight_tasks, operation_id, done: seen.append(
                    (len(stages), sum(s.num_completed_tasks for s in stages))))
            spark.table("tax").groupBy().count().toPandas()
            print((3, 2) in seen)
        """)
    assert printed == "True\n"


def test_a_process_ends_quickly() -> None:
    with running_gateway() as gateway:
        started = time.monotonic()
        gateway.run("print(spark.version)")
        assert time.monotonic() - started < 15


def test_a_small_question_is_answered_within_the_time_that_a_person_does_not_notice(
    gateway: Gateway,
) -> None:
    printed = gateway.run("""
        df = spark.table("tax").filter("amount > 10").groupBy("district").count()
        df.toPandas()
        times = []
        for _ in range(15):
            started = time.perf_counter(); df.toPandas()
            times.append(time.perf_counter() - started)
        print(sorted(times)[7])
    """)
    assert float(printed) < 0.1


def test_a_user_may_speak_chinese_from_the_start() -> None:
    with running_gateway() as gateway:
        gateway.people.holders[TOKEN] = Person("analyst", language="zh")
        printed = gateway.run('attempt(lambda: spark.table("nope").toPandas())')
    assert "没有表 nope" in printed


def test_python_itself_is_a_stock_client() -> None:
    found = subprocess.run(
        [str(CLIENT_PYTHON), "-c", "import pyspark; print(pyspark.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "4.2.0"
