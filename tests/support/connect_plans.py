"""Real client plans without a server: what pyspark's own classes build for everyday code."""

import atexit
import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

import pandas as pd
from pyspark.sql.connect import functions as F  # noqa: N812  # the name that everybody uses
from pyspark.sql.connect import proto
from pyspark.sql.connect.client.core import ConfigResult
from pyspark.sql.connect.session import SparkSession
from pyspark.sql.connect.window import Window
from pyspark.sql.types import LongType, StructField, StructType

from sandbox.gateway.config import CONSTANTS

COLUMNS = ["a", "b", "c", "d", "e", "k", "m", "u", "x"]


@cache
def offline_session() -> Any:
    """Return a stock session that answers its own questions about settings and schemas."""
    session = SparkSession(connection="sc://localhost:1")
    client: Any = session._client
    atexit.unregister(client._on_exit)

    def config(operation: Any) -> ConfigResult:
        asked = [(pair.key, pair.value) for pair in operation.get_with_default.pairs]
        asked += [(key, None) for key in operation.get.keys]
        return ConfigResult([(key, CONSTANTS.get(key, value)) for key, value in asked], [])

    client.config = config
    client.schema = lambda *_, **__: StructType([StructField(c, LongType()) for c in COLUMNS])
    return session


def plan_of(frame: Any) -> Any:
    """Return the plan that a client sends for a data frame."""
    return frame._plan.to_proto(offline_session()._client)


def recorded_plans() -> dict[str, Any]:
    """Return plans that the gateway decodes, by name."""
    return {name: plan_of(make(offline_session())) for name, make in _ACCEPTED.items()}


def refused_plans() -> dict[str, Any]:
    """Return plans that the gateway refuses, by name."""
    return {name: plan_of(make(offline_session())) for name, make in _REFUSED.items()}


def long_chain(length: int) -> Any:
    """Return a plan of many withColumn calls."""
    frame = offline_session().table("t")
    for number in range(length):
        frame = frame.withColumn(f"c{number}", F.col("a") + number)
    return plan_of(frame)


def _t(session: Any) -> Any:
    return session.table("t")


Make = Callable[[Any], Any]

_ACCEPTED: dict[str, Make] = {
    "table": _t,
    "filter": lambda s: _t(s).filter(F.col("a") > 3),
    "filter text": lambda s: _t(s).filter("a > 3"),
    "select": lambda s: _t(s).select("a", F.col("b").alias("z"), _t(s)["c"], "*", "t.*"),
    "casts": lambda s: _t(s).select(F.col("a").cast("double"), F.col("b").cast("string")),
    "literals": lambda s: _t(s).select(
        *map(F.lit, (1, 2**40, 1.5, "x", True, None, dt.date(2026, 1, 31), Decimal("1.25")))
    ),
    "functions": lambda s: _t(s).select(
        F.when(F.col("a") > 1, "x").otherwise("z"),
        F.col("a").isin(1, 2),
        F.col("a").between(1, 2),
        F.col("b").like("x%"),
        F.coalesce("a", "b").alias("first"),
        F.call_function("abs", "a"),
        -F.col("a"),
        ~(F.col("a") == 1),
    ),
    "count": lambda s: _t(s).groupBy("d").count(),
    "aggregates": lambda s: (
        _t(s)
        .groupBy("d", "m")
        .agg(F.sum("x"), F.avg("x"), F.countDistinct("u"), F.percentile_approx("x", [0.5, 0.9]))
    ),
    "global": lambda s: _t(s).agg(F.count("*").alias("n")),
    "rollup": lambda s: _t(s).rollup("d", "m").count(),
    "cube": lambda s: _t(s).cube("d", "m").count(),
    "pivot": lambda s: _t(s).groupBy("d").pivot("m", [1, 2]).sum("x"),  # noqa: PD010  # not pandas
    "having": lambda s: _t(s).groupBy("d").count().filter("count > 5").orderBy(F.desc("count")),
    "join using": lambda s: _t(s).join(s.table("b"), "k"),
    "join on": lambda s: (
        _t(s).alias("l").join(s.table("b").alias("r"), F.col("l.k") == F.col("r.k"), "left")
    ),
    "semi": lambda s: _t(s).join(s.table("b"), "k", "left_semi"),
    "cross": lambda s: _t(s).crossJoin(s.table("b")),
    "union": lambda s: _t(s).union(_t(s)).unionByName(_t(s), allowMissingColumns=True),
    "distinct": lambda s: _t(s).distinct().dropDuplicates(["a"]),
    "sort": lambda s: _t(s).orderBy("a", F.col("b").desc_nulls_first()).limit(3).offset(1),
    "columns": lambda s: (
        _t(s).withColumn("y", F.col("a") + 1).withColumnRenamed("b", "bb").drop("c", F.col("d"))
    ),
    "names": lambda s: _t(s).select("a", "b").toDF("p", "q"),
    "hint": lambda s: _t(s).groupBy("d").count().hint("epsilon", 0.5),
    "own rows": lambda s: s.createDataFrame(pd.DataFrame({"k": [1, 2], "n": ["x", None]})),
    "own rows joined": lambda s: _t(s).join(s.createDataFrame([(1, "x")], ["k", "n"]), "k"),
}

_REFUSED: dict[str, Make] = {
    "sample": lambda s: _t(s).sample(0.1),
    "describe": lambda s: _t(s).describe(),
    "summary": lambda s: _t(s).summary(),
    "crosstab": lambda s: _t(s).crosstab("a", "b"),
    "freqItems": lambda s: _t(s).freqItems(["a"]),
    "sampleBy": lambda s: _t(s).sampleBy("a", {1: 0.5}),
    "na.fill": lambda s: _t(s).na.fill(0),
    "na.drop": lambda s: _t(s).na.drop(),
    "replace": lambda s: _t(s).replace(1, 2),
    "observe": lambda s: _t(s).observe("n", F.count(F.lit(1)).alias("n")),
    "repartition": lambda s: _t(s).repartition(3),
    "intersect": lambda s: _t(s).intersect(_t(s)),
    "subtract": lambda s: _t(s).subtract(_t(s)),
    "window": lambda s: _t(s).select(F.sum("a").over(Window.partitionBy("u"))),
    "regex column": lambda s: _t(s).select(_t(s).colRegex("`a.*`")),
    "nested field": lambda s: _t(s).select(F.col("a").getItem("x")),
    "lambda": lambda s: _t(s).select(F.transform("a", lambda v: v + 1)),
    "udf": lambda s: _t(s).select(F.udf(lambda v: v)("a")),
    "binary literal": lambda s: _t(s).select(F.lit(b"x")),
    "timestamp literal": lambda s: _t(s).select(F.lit(dt.datetime(2026, 1, 1))),  # noqa: DTZ001
    "unknown hint": lambda s: _t(s).hint("broadcast"),
    "grouping sets": lambda s: _t(s).groupingSets([["a"], ["b"]], "a", "b").count(),
    "pivot without values": lambda s: _t(s).groupBy("d").pivot("m").sum("x"),  # noqa: PD010
    "sort in partitions": lambda s: _t(s).sortWithinPartitions("a"),
    "range": lambda s: s.range(10),
    "files": lambda s: s.read.parquet("/etc"),
    "table options": lambda s: s.read.option("versionAsOf", 1).table("t"),
    "subquery": lambda s: _t(s).where(F.col("a").isin(s.table("b").select("x"))),
    "exists": lambda s: _t(s).where(s.table("b").exists()),
    "to schema": lambda s: _t(s).to(StructType([StructField("a", LongType())])),
    "alias metadata": lambda s: _t(s).select(F.col("a").alias("z", metadata={"x": 1})),
    "metadata column": lambda s: _t(s).select(_t(s).metadataColumn("_metadata")),
    "unpivot": lambda s: _t(s).unpivot("a", ["b"], "v", "w"),
    "mapInPandas": lambda s: _t(s).mapInPandas(
        lambda it: it, StructType([StructField("a", LongType())])
    ),
    "three parts": lambda s: s.table("other.db.t"),
    "reserved name": lambda s: _t(s).select("__unit"),
    "dup function": lambda s: _t(s).select(F.call_function("system.bad name", "a")),
}

__all__ = ["long_chain", "offline_session", "plan_of", "proto", "recorded_plans", "refused_plans"]
