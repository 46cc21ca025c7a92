"""Runs every case on one session and prints the answers as JSON lines; a stock PySpark script.

`python ask_all.py plain DIR` reads DIR/*.parquet with ordinary Spark; `python ask_all.py lab
ENGINE`
connects by `SPARK_REMOTE`.
"""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from cases import CASES, rows_of
from pyspark.sql import SparkSession


def main() -> None:
    """Ask, and print what came."""
    if sys.argv[1] == "plain":
        spark = (
            SparkSession.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.ansi.enabled", "false")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.shuffle.partitions", "2")
            .getOrCreate()
        )
        for path in pathlib.Path(sys.argv[2]).glob("[a-z]*.parquet"):
            spark.read.parquet(str(path)).createOrReplaceTempView(path.stem)
    else:
        spark = SparkSession.builder.getOrCreate()
        spark.conf.set("lab.engine", sys.argv[2])
    wanted = set(sys.argv[3:])
    for name, build in CASES.items():
        if wanted and name not in wanted:
            continue
        began = time.monotonic()
        try:
            told = rows_of(build(spark))
        except Exception as error:  # noqa: BLE001 - reported as the case's outcome
            told = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        print(
            json.dumps(
                {"case": name, "seconds": time.monotonic() - began, **told}, ensure_ascii=False
            ),
            flush=True,
        )
    spark.stop()


if __name__ == "__main__":
    main()
