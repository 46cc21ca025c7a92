"""What an analyst does in a notebook: seven questions that are answered, ten attempts that are not.

Plain PySpark and nothing of the lab's own: the session comes from `SPARK_REMOTE` and
`SPARK_CONNECT_AUTHENTICATE_TOKEN`. With a file name as argument the outcome is also written there
as JSON, so that a test can read what a person saw.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812  # as every PySpark script writes it
from pyspark.sql.types import DoubleType

USABLE = 0.10
"""A cell is usable when its 95 % half-width is at most this share of its value."""

MONTH = 202606
CAP = 10_000_000
"""Yuan a year. A tighter bound than the contract's 200 million: larger firms count as this much,
and the noise is a twentieth."""
MONTHLY_CAP = 2_000_000

WIDTHS = 30, 20, 16, 8


@dataclass(frozen=True)
class Question:
    """One question, and which columns of its answer to read."""

    name: str
    title: str
    build: Callable[[SparkSession], DataFrame]
    key: str
    values: tuple[str, ...]
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One printed cell."""

    key: str
    column: str
    value: float | None
    half_width: float | None
    usable: bool
    instead: str
    """What would make it usable; empty where it is."""


def enterprises_by_district(spark: SparkSession) -> DataFrame:
    """Count firms in business."""
    firms = spark.table("ent_registration").filter("biz_status = '存续'")
    return firms.groupBy("district_code").count().orderBy("district_code")


def revenue_by_section(spark: SparkSession) -> DataFrame:
    """Sum capped revenue by section of industry, through two joins, at a price of its own."""
    reports = spark.table("annual_report").filter(F.col("year") == 2025)  # noqa: PLR2004
    firms = spark.table("ent_registration").select("uscc", "industry_code")
    industries = spark.table("industries").select("industry_code", "section")
    revenue = F.sum(F.least("revenue", F.lit(CAP))).alias("revenue")
    joined = reports.join(firms, "uscc").join(industries, "industry_code")
    return joined.groupBy("section").agg(revenue).hint("epsilon", 1.5).orderBy("section")


def tax_by_district(spark: SparkSession) -> DataFrame:
    """Sum and mean of one month's sales by district: two private tables joined on the firm."""
    month = spark.table("tax_summary").filter(F.col("tax_period") == MONTH)
    firms = spark.table("ent_registration").select("uscc", "district_code")
    sales = F.least("vat_sales", F.lit(MONTHLY_CAP))
    return (
        month.join(firms, "uscc")
        .groupBy("district_code")
        .agg(F.sum(sales).alias("sales"), F.avg(sales).alias("mean_sales"))
        .orderBy("district_code")
    )


def median_revenue_by_district(spark: SparkSession) -> DataFrame:
    """Return the median revenue by district; the cap is far above it and makes the grid finer."""
    reports = spark.table("annual_report").filter(F.col("year") == 2025)  # noqa: PLR2004
    firms = spark.table("ent_registration").select("uscc", "district_code")
    median = F.median(F.least("revenue", F.lit(CAP))).alias("median_revenue")
    return reports.join(firms, "uscc").groupBy("district_code").agg(median).orderBy("district_code")


def firms_by_founding_year(spark: SparkSession) -> DataFrame:
    """Count firms by year founded: no list of years is declared, so rare years stay hidden."""
    return spark.sql(
        "SELECT year(est_date) AS founded, count(*) AS firms FROM ent_registration "
        "GROUP BY year(est_date) ORDER BY founded"
    )


def real_loans_by_home(spark: SparkSession) -> DataFrame:
    """Count real loans, and their mean interest, by home ownership."""
    loans = spark.table("loans_full_schema")
    mean = F.avg("interest_rate").alias("mean_rate")
    return loans.groupBy("homeownership").agg(F.count("*").alias("loans"), mean)


def firms_by_section_on_spark(spark: SparkSession) -> DataFrame:
    """Count firms by section of industry, on the distributed engine."""
    firms = spark.table("ent_registration").join(spark.table("industries"), "industry_code")
    return firms.groupBy("section").agg(F.count("*").alias("firms")).orderBy("section")


QUESTIONS = (
    Question(
        "districts",
        "How many firms are in business in each district?",
        enterprises_by_district,
        "district_code",
        ("count",),
    ),
    Question(
        "revenue",
        "What revenue (yuan, capped at 10 million a firm) did each section of industry report?",
        revenue_by_section,
        "section",
        ("revenue",),
    ),
    Question(
        "tax",
        "Taxable sales of June 2026 by district: a join of tax and registration",
        tax_by_district,
        "district_code",
        ("sales", "mean_sales"),
    ),
    Question(
        "median",
        "What is the median yearly revenue (yuan) of the firms of each district?",
        median_revenue_by_district,
        "district_code",
        ("median_revenue",),
    ),
    Question(
        "open",
        "Firms by the year of their founding: an open key, asked in SQL",
        firms_by_founding_year,
        "founded",
        ("firms",),
    ),
    Question(
        "loans",
        "Real loans: number and mean interest rate by home ownership",
        real_loans_by_home,
        "homeownership",
        ("loans", "mean_rate"),
    ),
    Question(
        "spark",
        "Firms by section of industry, computed on Spark",
        firms_by_section_on_spark,
        "section",
        ("firms",),
        {"lab.engine": "spark"},
    ),
)


def attempts(spark: SparkSession) -> tuple[tuple[str, Callable[[], object]], ...]:
    """Return ten ways to reach a row, each of which any Spark without the lab would serve."""
    tax = spark.table("tax_summary")
    by_month = tax.groupBy("tax_period")
    peek = F.udf(lambda value: value, DoubleType())
    largest = F.max("vat_sales").over(Window.partitionBy("tax_period"))
    return (
        ("collect()", tax.collect),
        ("show()", tax.show),
        ("toPandas() of chosen rows", lambda: tax.filter("vat_sales > 1000000").toPandas()),
        ("limit(5)", lambda: tax.limit(5).toPandas()),
        ("first()", tax.first),
        ("collect_list", lambda: by_month.agg(F.collect_list("vat_sales")).collect()),
        ("a Python UDF", lambda: tax.select(peek("vat_sales")).collect()),
        ("groupBy(uscc)", lambda: tax.groupBy("uscc").agg(F.sum("vat_sales")).collect()),
        ("max over a window", lambda: tax.select(largest).collect()),
        ("write", lambda: tax.write.mode("overwrite").saveAsTable("my_copy")),
    )


def facts_of(answer: pd.DataFrame) -> dict[str, Any]:
    """Return what the lab says about an answer: receipt, cost, remaining budget, intervals."""
    for observed in answer.attrs.get("observed_metrics", ()):
        if observed.name == "lab":
            return dict(observed.pairs)
    return {}


def half_widths(facts: dict[str, Any], column: str, rows: int) -> list[float | None]:
    """Return one half-width for each row; the lab sends one number where all are equal."""
    told = facts.get(f"interval_{column}")
    if isinstance(told, str):
        told = json.loads(told)
    if isinstance(told, int | float):
        return [float(told)] * rows
    if told is None or len(told) != rows:
        return [None] * rows
    return [None if width is None else float(width) for width in told]


def cells_of(question: Question, answer: pd.DataFrame, facts: dict[str, Any]) -> list[Cell]:
    """Return the answer's cells, judged."""
    cells = []
    for column in question.values:
        widths = half_widths(facts, column, len(answer))
        for key, raw, half in zip(answer[question.key], answer[column], widths, strict=True):
            value = None if pd.isna(raw) else float(raw)
            usable = value is not None and half is not None and half <= USABLE * abs(value)
            instead = "" if usable else usable_form(value, half, float(facts.get("epsilon", 0)))
            cells.append(Cell(str(key), column, value, half, usable, instead))
    return cells


def usable_form(value: float | None, half: float | None, epsilon: float) -> str:
    """Say what would bring the half-width to a tenth of the value."""
    if half is None or value is None:
        return "no interval"
    smallest = f"merge until a cell is {half / USABLE:,.0f} or more"
    if value <= half:
        return smallest
    # The half-width falls as epsilon grows, in proportion at these sizes.
    needed = epsilon * half / (USABLE * value)
    return f"{smallest}, or lab.epsilon={needed:.1f}" if epsilon else smallest


def ask(spark: SparkSession, number: int, question: Question) -> dict[str, Any]:
    """Ask one question, print its answer, return both."""
    for name, value in question.settings.items():
        spark.conf.set(name, value)
    began = time.monotonic()
    answer = question.build(spark).toPandas()
    seconds = time.monotonic() - began
    for name in question.settings:
        spark.conf.unset(name)
    facts = facts_of(answer)
    cells = cells_of(question, answer, facts)
    print(f"\n[{number}] {question.title}")
    print_cells(question, cells)
    shown = {name: facts.get(name, "?") for name in ("epsilon", "cost_micro_rho", "receipt")}
    print(
        f"    epsilon {shown['epsilon']} (cost {shown['cost_micro_rho']} micro-rho), "
        f"left after it: epsilon {facts.get('remaining_epsilon', '?')}; {seconds:.2f} s"
    )
    print(f"    receipt {shown['receipt']}")
    plain = {k: v for k, v in facts.items() if not k.startswith("interval_")}
    return {
        "name": question.name,
        "title": question.title,
        "seconds": round(seconds, 3),
        "facts": plain,
        "cells": [asdict(cell) for cell in cells],
    }


def print_cells(question: Question, cells: list[Cell]) -> None:
    """Print one line for each cell."""
    first, second, third, fourth = WIDTHS
    print(f"    {question.key:<{first}}{'value':>{second}}{'± (95 %)':>{third}}  usable")
    several = len(question.values) > 1
    for cell in cells:
        name = f"{cell.key} {cell.column}" if several else cell.key
        value = "-" if cell.value is None else figure(cell.value)
        half = "-" if cell.half_width is None else figure(cell.half_width)
        word = "yes" if cell.usable else f"{'no':<{fourth}}{cell.instead}"
        print(f"    {name:<{first}}{value:>{second}}{half:>{third}}  {word}")


def figure(number: float) -> str:
    """Return a number with as many decimals as a reader can use."""
    return f"{number:,.0f}" if abs(number) >= 100 or number == int(number) else f"{number:,.2f}"  # noqa: PLR2004


def attempt(number: int, title: str, act: Callable[[], object]) -> dict[str, Any]:
    """Try one thing that must not work."""
    code, reason = None, "ANSWERED: this must not happen"
    try:
        act()
    except PySparkException as refusal:
        code = refusal.getCondition()
        reason = str(refusal).splitlines()[0].removeprefix(f"[{code}] ")
    print(f"    {number:>2} {title:<28}{code or 'no code':<22}{reason}")
    return {"title": title, "code": code, "refused": bool(code and code.startswith("LAB."))}


def main() -> int:
    """Play the whole part; 0 when every question was answered and every attempt refused."""
    spark = SparkSession.builder.getOrCreate()
    print(f"Spark {spark.version}, an ordinary client")
    answers = [ask(spark, number, question) for number, question in enumerate(QUESTIONS, 1)]

    print("\nTen attempts at raw data")
    refusals = [attempt(n, *each) for n, each in enumerate(attempts(spark), 1)]

    print("\nThe first question once more: the stored answer, which costs nothing")
    again = ask(spark, 1, QUESTIONS[0])

    spark.stop()
    if len(sys.argv) > 1:
        outcome = {"answers": answers, "refusals": refusals, "again": again}
        with open(sys.argv[1], "w", encoding="utf-8") as file:  # noqa: PTH123  # a plain script
            json.dump(outcome, file, ensure_ascii=False, indent=1)
    return 0 if all(each["refused"] for each in refusals) else 1


if __name__ == "__main__":
    sys.exit(main())
