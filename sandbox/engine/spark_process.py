"""The Java process behind a Spark session: whether it still lives, and how to be rid of a dead one.

PySpark keeps its process in class attributes and has no public way to start a second one after the
first was killed (by the kernel for memory, say), so this module reaches for them, alone.
"""

import contextlib
from typing import Any

from py4j.protocol import Py4JError


def is_alive(session: Any) -> bool:  # noqa: ANN401 - pyspark is untyped here
    """Return whether the session's process runs and its context was not stopped."""
    context = session.sparkContext
    if context._jsc is None or context._gateway.proc.poll() is not None:  # noqa: SLF001
        return False
    try:
        return not context._jsc.sc().isStopped()  # noqa: SLF001
    except (Py4JError, OSError):
        return False


def bury(session: Any) -> None:  # noqa: ANN401 - pyspark is untyped here
    """Forget a session and its process, so that the next one starts anew."""
    # Imported here: it takes half a second, which a lab without Spark need not spend.
    from pyspark import SparkContext  # noqa: PLC0415
    from pyspark.sql import SparkSession  # noqa: PLC0415
    from pyspark.sql.context import SQLContext  # noqa: PLC0415

    context = session.sparkContext
    gateway, server = context._gateway, context._accumulatorServer  # noqa: SLF001
    context._jsc = context._accumulatorServer = None  # noqa: SLF001
    if server is not None:
        server.shutdown()
    with contextlib.suppress(Py4JError, OSError):
        gateway.shutdown()
    if gateway.proc.poll() is None:
        gateway.proc.kill()
    gateway.proc.wait()
    SparkContext._active_spark_context = None  # noqa: SLF001
    SparkContext._gateway = SparkContext._jvm = None  # noqa: SLF001
    SparkSession._instantiatedSession = SparkSession._activeSession = None  # noqa: SLF001
    SQLContext._instantiatedContext = None  # noqa: SLF001
