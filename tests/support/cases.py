"""Questions that the gateway and plain Spark must answer alike; imports nothing but PySpark.

Each case builds a DataFrame from a session. Tables: `ent_registration` (one row a firm),
`tax_summary` (a row a month), `annual_report` (a row a year), `districts`, `industries`. The plain
side reads the same rows as ordinary Parquet under the same names.
"""

import pandas as pd
from pyspark.sql import functions as F  # noqa: N812

MONTH = 202606


def tax(s):
    return s.table("tax_summary")


def firms(s):
    return s.table("ent_registration")


def reports(s):
    return s.table("annual_report")


def by_district(frame, *aggregates):
    return frame.groupBy("district_code").agg(*aggregates)


def n():
    return F.count("*").alias("n")


CAPPED = "least(vat_sales, 2000000D)"

CASES = {
    # relations
    "count by key": lambda s: firms(s).groupBy("district_code").count(),
    "literal keys": lambda s: (
        firms(s).groupBy(F.lit(None).alias("a"), F.lit("x").alias("b")).agg(n())
    ),
    "global count": lambda s: firms(s).agg(n()),
    "filter": lambda s: by_district(firms(s).filter(F.col("biz_status") == "存续"), n()),
    "filter by sql text": lambda s: by_district(
        firms(s).filter("reg_capital > 100 and currency is not null"), n()
    ),
    "select then group": lambda s: by_district(firms(s).select("uscc", "district_code"), n()),
    "withColumn": lambda s: (
        firms(s).withColumn("big", F.col("reg_capital") > 200).groupBy("big").agg(n())
    ),
    "withColumns twice": lambda s: by_district(
        tax(s)
        .withColumns({"a": F.least("vat_sales", F.lit(5e5)), "b": F.lit(2)})
        .withColumn("a", F.col("a") * F.col("b"))
        .join(firms(s).select("uscc", "district_code"), "uscc"),
        F.sum("a").alias("t"),
    ),
    "drop and rename": lambda s: (
        firms(s).drop("ent_name").withColumnRenamed("district_code", "d").groupBy("d").agg(n())
    ),
    "alias": lambda s: firms(s).alias("f").groupBy(F.col("f.district_code")).agg(n()),
    "toDF": lambda s: firms(s).select("uscc", "district_code").toDF("u", "d").groupBy("d").agg(n()),
    "200 columns": lambda s: (
        _chain(firms(s)).groupBy("district_code").agg(F.sum("c199").alias("t"))
    ),
    "two private tables": lambda s: by_district(
        tax(s).filter(F.col("tax_period") == MONTH).join(firms(s), "uscc"),
        n(),
        F.sum(F.expr(CAPPED)).alias("t"),
    ),
    "left join of private tables": lambda s: by_district(
        firms(s).join(
            tax(s).filter(F.col("tax_period") == MONTH).select("uscc", "vat_paid"), "uscc", "left"
        ),
        n(),
        F.count("vat_paid").alias("c"),
    ),
    "semi join": lambda s: by_district(
        firms(s).join(tax(s).filter(F.col("late_filing_cnt") > 0), "uscc", "left_semi"), n()
    ),
    "anti join": lambda s: by_district(
        firms(s).join(tax(s).filter(F.col("late_filing_cnt") > 0), "uscc", "left_anti"), n()
    ),
    "join with public": lambda s: (
        firms(s).join(s.table("industries"), "industry_code").groupBy("section").agg(n())
    ),
    "left join with public": lambda s: (
        firms(s)
        .join(s.table("districts"), "district_code", "left")
        .groupBy("district_name_en")
        .agg(n())
    ),
    "public on the left": lambda s: (
        s.table("industries").join(firms(s), "industry_code").groupBy("section").agg(n())
    ),
    "semi join with public": lambda s: by_district(
        firms(s).join(s.table("industries").filter("section = 'C'"), "industry_code", "left_semi"),
        n(),
    ),
    "own rows joined": lambda s: (
        firms(s)
        .join(
            s.createDataFrame(
                pd.DataFrame({"district_code": ["370202", "370203"], "zone": ["a", "b"]})
            ),
            "district_code",
        )
        .groupBy("zone")
        .agg(n())
    ),
    "union": lambda s: by_district(
        firms(s).select("uscc", "district_code").union(firms(s).select("uscc", "district_code")),
        n(),
    ),
    "union by name": lambda s: by_district(
        firms(s)
        .select("uscc", "district_code")
        .unionByName(firms(s).select("district_code", "uscc")),
        n(),
    ),
    "distinct units": lambda s: (
        tax(s).select("uscc", "taxpayer_type").distinct().groupBy("taxpayer_type").agg(n())
    ),
    "per-unit features": lambda s: (
        tax(s)
        .groupBy("uscc")
        .agg(F.sum("late_filing_cnt").alias("late"))
        .agg(F.sum("late").alias("t"), F.count("*").alias("n"))
    ),
    "per-unit then by key": lambda s: by_district(
        tax(s).groupBy("uscc").agg(F.max("late_filing_cnt").alias("worst")).join(firms(s), "uscc"),
        F.sum("worst").alias("t"),
    ),
    "self join on the unit": lambda s: (
        firms(s)
        .alias("a")
        .join(firms(s).alias("b"), F.col("a.uscc") == F.col("b.uscc"))
        .groupBy(F.col("a.district_code"))
        .agg(n())
    ),
    # above a release
    "sort and limit": lambda s: (
        firms(s).groupBy("district_code").count().orderBy(F.desc("count"), "district_code").limit(3)
    ),
    "having": lambda s: firms(s).groupBy("district_code").count().filter("count > 20"),
    "ratio of releases": lambda s: by_district(
        firms(s), n(), F.count_if(F.col("reg_capital") > 200).alias("k")
    ).withColumn("share", F.col("k") / F.col("n")),
    "release joined with public": lambda s: (
        firms(s)
        .groupBy("district_code")
        .count()
        .join(s.table("districts"), "district_code")
        .select("district_name_en", "count")
    ),
    "sum of a release": lambda s: (
        firms(s).groupBy("district_code").count().agg(F.sum("count").alias("t"))
    ),
    "two releases joined": lambda s: (
        firms(s)
        .groupBy("district_code")
        .agg(n())
        .join(
            by_district(firms(s).filter("reg_capital > 200"), F.count("*").alias("k")),
            "district_code",
        )
    ),
    # aggregates
    "sum": lambda s: by_district(
        reports(s).join(firms(s), "uscc"), F.sum(F.least("revenue", F.lit(1e7))).alias("t")
    ),
    "sum of whole numbers": lambda s: (
        tax(s).groupBy("tax_period").agg(F.sum("late_filing_cnt").alias("t"))
    ),
    "count of a column": lambda s: reports(s).groupBy("year").agg(F.count("profit").alias("c")),
    "count_if": lambda s: by_district(firms(s), F.count_if(F.col("reg_capital") >= 500).alias("c")),
    "distinct firms": lambda s: (
        tax(s).groupBy("taxpayer_type").agg(F.countDistinct("uscc").alias("c"))
    ),
    "avg": lambda s: by_district(
        firms(s).filter("reg_capital <= 1000"), F.avg("reg_capital").alias("m")
    ),
    "several": lambda s: by_district(
        firms(s),
        n(),
        F.count_if(F.col("reg_capital") > 100).alias("a"),
        F.sum(F.least("reg_capital", F.lit(1000.0))).alias("b"),
    ),
    "ratio inside agg": lambda s: by_district(
        firms(s), (F.count_if(F.col("reg_capital") > 100) / F.count("*")).alias("r")
    ),
    "var and stddev": lambda s: (
        firms(s)
        .filter("reg_capital <= 1000")
        .agg(F.var_pop("reg_capital").alias("v"), F.stddev_pop("reg_capital").alias("d"))
    ),
    # functions
    "arithmetic": lambda s: (
        tax(s)
        .groupBy("tax_period")
        .agg(
            F.sum(
                F.least((F.col("vat_sales") - F.col("vat_paid")) / 1000 + 1, F.lit(1000.0))
            ).alias("t")
        )
    ),
    "modulo": lambda s: tax(s).groupBy((F.col("tax_period") % 100).alias("m")).agg(n()),
    "comparison": lambda s: (
        tax(s).groupBy((F.col("vat_paid") >= F.col("cit_paid")).alias("k")).agg(n())
    ),
    "and or not": lambda s: (
        firms(s)
        .groupBy(
            (
                (F.col("reg_capital") > 100) & ~(F.col("biz_status") == "注销")
                | F.col("currency").isNull()
            ).alias("k")
        )
        .agg(n())
    ),
    "when otherwise": lambda s: (
        firms(s)
        .groupBy(
            F.when(F.col("reg_capital") > 500, "big")
            .when(F.col("reg_capital") > 100, "middle")
            .otherwise("small")
            .alias("k")
        )
        .agg(n())
    ),
    "coalesce": lambda s: (
        reports(s)
        .groupBy("year")
        .agg(
            F.sum(
                F.least(F.greatest(F.coalesce("profit", F.lit(0.0)), F.lit(-1e6)), F.lit(1e6))
            ).alias("t")
        )
    ),
    "isin": lambda s: by_district(
        firms(s).filter(F.col("district_code").isin("370202", "370203")), n()
    ),
    "between": lambda s: (
        tax(s).filter(F.col("tax_period").between(202601, 202603)).groupBy("tax_period").agg(n())
    ),
    "null tests": lambda s: reports(s).groupBy(F.col("profit").isNull().alias("k")).agg(n()),
    "cast": lambda s: firms(s).agg(
        F.sum(F.least("reg_capital", F.lit(1000.0)).cast("int")).alias("t")
    ),
    "round floor ceil": lambda s: firms(s).agg(
        *[
            F.sum(F.least(f(F.col("reg_capital") / 7), F.lit(100))).alias(a)
            for f, a in ((F.floor, "f"), (F.ceil, "c"))
        ]
    ),
    "greatest least": lambda s: firms(s).agg(
        F.sum(F.greatest(F.least("reg_capital", F.lit(300.0)), F.lit(50.0))).alias("t")
    ),
    "dates": lambda s: (
        firms(s)
        .groupBy((F.year("est_date") >= 2020).alias("young"), F.quarter("est_date").alias("q"))
        .agg(n())
    ),
    "month of a date": lambda s: (
        firms(s)
        .filter(F.col("est_date") >= "2015-01-01")
        .groupBy((F.month("est_date") > 6).alias("h2"))
        .agg(n())
    ),
    "datediff": lambda s: firms(s).agg(
        F.sum(
            F.least(F.datediff(F.lit("2026-07-01").cast("date"), "est_date"), F.lit(10_000))
        ).alias("t")
    ),
    "strings": lambda s: firms(s).groupBy(F.substring("district_code", 5, 2).alias("k")).agg(n()),
    "upper like": lambda s: firms(s).groupBy(F.upper("currency").like("C%").alias("k")).agg(n()),
    "rlike": lambda s: (
        firms(s).groupBy(F.col("district_code").rlike("^3702[08]").alias("k")).agg(n())
    ),
    "startswith": lambda s: (
        firms(s).groupBy(F.col("industry_code").startswith("5").alias("a")).agg(n())
    ),
    "length": lambda s: firms(s).agg(F.sum(F.least(F.length("ent_name"), F.lit(60))).alias("t")),
    # SQL
    "sql": lambda s: s.sql(
        "SELECT district_code, count(*) AS n FROM ent_registration WHERE biz_status = '存续' "
        "GROUP BY district_code"
    ),
    "sql join": lambda s: s.sql(
        "SELECT i.section, sum(least(r.revenue, 10000000D)) AS t FROM annual_report r JOIN "
        "ent_registration e ON r.uscc = e.uscc "
        "JOIN industries i ON e.industry_code = i.industry_code WHERE r.year = 2025 GROUP BY "
        "i.section"
    ),
    "sql having order": lambda s: s.sql(
        "SELECT district_code AS d, count(*) AS n FROM ent_registration GROUP BY district_code "
        "HAVING count(*) > 10 ORDER BY n DESC, d LIMIT 4"
    ),
    "sql case": lambda s: s.sql(
        "SELECT CASE WHEN reg_capital > 500 THEN 'big' ELSE 'small' END AS k, count(*) AS n FROM "
        "ent_registration GROUP BY 1"
    ),
    "sql cte": lambda s: s.sql(
        "WITH big AS (SELECT * FROM ent_registration WHERE reg_capital > 200) SELECT "
        "district_code, count(*) AS n FROM big GROUP BY district_code"
    ),
    "sql view": lambda s: _view(s),  # noqa: PLW0108  # defined below
    # grouping sets
    "rollup": lambda s: firms(s).rollup("district_code").agg(n()),
    "cube": lambda s: (
        firms(s).withColumn("big", F.col("reg_capital") > 200).cube("district_code", "big").agg(n())
    ),
    "pivot": lambda s: (
        firms(s)  # noqa: PD010  # Spark, not pandas
        .groupBy("district_code")
        .pivot("biz_status", ["存续", "注销"])
        .agg(F.count(F.lit(1)))
    ),
}


def _chain(frame):
    for i in range(200):
        frame = frame.withColumn(
            f"c{i}", (F.lit(1) if i == 0 else F.col(f"c{i - 1}") + (i % 3) - 1)
        )
    return frame


def _view(s):
    firms(s).filter("reg_capital > 200").createOrReplaceTempView("rich")
    return s.sql("SELECT district_code, count(*) AS n FROM rich GROUP BY district_code")


def rows_of(frame):
    """Return an answer as sorted rows of plain values, groups without data left out."""
    table = frame.toPandas()
    rows = []
    for row in table.itertuples(index=False):
        values = [
            None
            if pd.isna(v)
            else (float(v) if isinstance(v, (int, float)) and not isinstance(v, bool) else str(v))
            for v in row
        ]
        rows.append(values)
    return {
        "columns": list(table.columns),
        "types": [str(t) for t in table.dtypes],
        "rows": sorted(rows, key=repr),
    }
