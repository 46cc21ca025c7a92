"""The seven benchmark queries, in PySpark that both sides run unchanged.

With `SPARK_REMOTE` set they go through the lab; without it they run on plain Spark over the raw
Parquet files of the directory that is the first argument. One JSON command a line comes in
(`{"query": "Q1", "settings": {…}}`), one JSON result a line goes out.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # as every PySpark script writes it

MONTHLY_CAP = 2_000_000
CAPITAL_CAP = 1_000
"""Of the registered capital in ten thousand yuan: what an analyst who wants a mean would set."""
TABLES = ("tax_summary", "ent_registration")


def q1(spark: SparkSession) -> DataFrame:
    """Count rows by a declared key."""
    return spark.table("tax_summary").groupBy("tax_credit_grade").count()


def q2(spark: SparkSession) -> DataFrame:
    """Sum and mean of a capped amount by two keys, one of them the month."""
    sales = F.least("vat_sales", F.lit(MONTHLY_CAP))
    grouped = spark.table("tax_summary").groupBy("taxpayer_type", "tax_period")
    return grouped.agg(F.sum(sales).alias("total"), F.avg(sales).alias("mean"))


def q3(spark: SparkSession) -> DataFrame:
    """Count distinct enterprises by two keys."""
    grouped = spark.table("tax_summary").groupBy("tax_credit_grade", "taxpayer_type")
    return grouped.agg(F.countDistinct("uscc").alias("firms"))


def q4(spark: SparkSession) -> DataFrame:
    """Return a median by a declared key."""
    sales = F.least("vat_sales", F.lit(MONTHLY_CAP))
    return (
        spark.table("tax_summary").groupBy("tax_credit_grade").agg(F.median(sales).alias("median"))
    )


def q5(spark: SparkSession) -> DataFrame:
    """Count distinct enterprises by an open key."""
    return (
        spark.table("tax_summary").groupBy("known_date").agg(F.countDistinct("uscc").alias("firms"))
    )


def q6(spark: SparkSession) -> DataFrame:
    """Mean on the table with one row for each enterprise, by two keys."""
    grouped = spark.table("ent_registration").groupBy("district_code", "industry_code")
    return grouped.agg(F.avg(F.least("reg_capital", F.lit(CAPITAL_CAP))).alias("mean"))


def q7(spark: SparkSession) -> DataFrame:
    """Join both tables on the enterprise, sum by district."""
    firms = spark.table("ent_registration").select("uscc", "district_code")
    sales = F.sum(F.least("vat_sales", F.lit(MONTHLY_CAP))).alias("total")
    return spark.table("tax_summary").join(firms, "uscc").groupBy("district_code").agg(sales)


def sql(spark: SparkSession) -> DataFrame:
    """Count in SQL: what `lab bench` asks first of all."""
    return spark.sql("SELECT district_code, count(*) AS count FROM ent_registration GROUP BY 1")


QUERIES: dict[str, Callable[[SparkSession], DataFrame]] = {
    "Q1": q1,
    "Q2": q2,
    "Q3": q3,
    "Q4": q4,
    "Q5": q5,
    "Q6": q6,
    "Q7": q7,
    "SQL": sql,
}
VALUES = frozenset({"count", "total", "mean", "firms", "median"})


def plain_spark(raw: Path) -> SparkSession:
    """Return ordinary Spark on two cores, with the raw files as tables."""
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    settings = {
        "spark.driver.memory": "4g",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.ansi.enabled": "false",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    for table in TABLES:
        spark.read.parquet(str(raw / f"{table}.parquet")).createOrReplaceTempView(table)
    return spark


def run(spark: SparkSession, query: str, settings: dict[str, str]) -> dict[str, Any]:
    """Run one query and return its time and cells."""
    for name, value in settings.items():
        spark.conf.set(name, value)
    frame = QUERIES[query](spark)
    began = time.perf_counter()
    answer = frame.toPandas()
    seconds = time.perf_counter() - began
    values = [name for name in answer.columns if name in VALUES]
    keys = [name for name in answer.columns if name not in VALUES]
    rows = answer.set_index(keys)[values].astype(float)
    cells = {
        "|".join([*map(str, key if isinstance(key, tuple) else (key,)), name]): value
        for name in values
        for key, value in rows[name].items()
        if value == value  # noqa: PLR0124  # not a number: an empty group has no mean
    }
    return {"seconds": seconds, "cells": cells}


def main() -> int:
    """Answer commands until the input ends."""
    remote = "SPARK_REMOTE" in os.environ
    spark = SparkSession.builder.getOrCreate() if remote else plain_spark(Path(sys.argv[1]))
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what Spark prints must not come between the results
    for line in sys.stdin:
        command = json.loads(line)
        if command["query"] == "explain":
            text = QUERIES[command["of"]](spark)._explain_string()  # noqa: SLF001  # the text itself
            result: dict[str, Any] = {"text": text}
        else:
            result = run(spark, command["query"], command.get("settings", {}))
        out.write(json.dumps(result) + "\n")
        out.flush()
    spark.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
