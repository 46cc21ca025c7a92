"""Spark's own SQL parser in a small JVM of its own: text in, syntax tree out, nothing executed.

The JVM has no SparkContext, no session and no data; it runs `SyntaxTree.java`, which calls
`SparkSqlParser` and writes the tree down without loss. It listens on loopback with a token that
only this process knows, gets no environment of ours, and ends when this process ends (its standard
input closes). A text that takes too long costs the JVM, not the gateway: it is killed and the next
text starts another.
"""

import contextlib
import datetime as dt
import json
import logging
import os
import subprocess
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final, Literal

import pyspark
from py4j.java_gateway import GatewayParameters, JavaGateway
from py4j.protocol import Py4JError

from privacy.errors import Refusal
from sandbox.java import find_java_home

Json = dict[str, Any]
Kind = Literal["plan", "expression"]

MAX_CHARACTERS: Final = 50_000
"""Longest text accepted. Source: attacks D21."""
MAX_DEPTH: Final = 150
"""Deepest nesting accepted: the translation and what follows recurse over the tree."""
MAX_NODES: Final = 20_000
MAX_OPEN_BRACKETS: Final = 400
"""Brackets and comments opened and not closed: the grammar takes exponential time over them."""
PARSE_SECONDS: Final = 20.0
START_SECONDS: Final = 60.0
CACHED_TEXTS: Final = 256

_JAVA_OPTIONS: Final = (
    "-Xmx256m",
    "-Xss16m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Dfile.encoding=UTF-8",
)
_WARM_UP: Final = (
    "SELECT a.k, count(*) AS n, sum(CASE WHEN v > 1.5 THEN v ELSE 0 END) FROM a JOIN b "
    "ON a.k = b.k WHERE a.d >= DATE '2024-01-01' AND b.s IN ('x', 'y') AND v BETWEEN 1 "
    "AND 2 GROUP BY a.k HAVING count(*) > 1 ORDER BY n DESC LIMIT 3"
)


class SparkParser:
    """A parser that may be called from any thread; it starts its JVM at the first need."""

    def __init__(self, java_home: Path | None = None, parse_seconds: float = PARSE_SECONDS) -> None:
        """Use this JAVA_HOME; without one, look for Java at the first parse."""
        # py4j logs a dead JVM as a stack trace; what matters is reported by refusals.
        logging.getLogger("py4j").setLevel(logging.CRITICAL)
        self._java_home, self._parse_seconds = java_home, parse_seconds
        self._private = tempfile.TemporaryDirectory(prefix="lab-parser-")
        self._lock = threading.Lock()
        self._jvm: _Jvm | None = None
        self._known: OrderedDict[tuple[Kind, str, dt.date], Json] = OrderedDict()

    def warm(self) -> threading.Thread:
        """Start the JVM and load its classes in the background."""
        thread = threading.Thread(target=self._warm, name="sql-parser-warm-up", daemon=True)
        thread.start()
        return thread

    def plan(self, text: str) -> list[Json]:
        """Return the nodes of a statement's tree, the root first; Refusal if it is no SQL."""
        return self._parse("plan", text)

    def expression(self, text: str) -> list[Json]:
        """Return the nodes of an expression's tree, the root first; Refusal if it is none."""
        return self._parse("expression", text)

    @property
    def pid(self) -> int | None:
        """Process id of the JVM, if one is running."""
        return self._jvm.pid if self._jvm is not None and self._jvm.is_alive else None

    def close(self) -> None:
        """End the JVM; a later parse would start another."""
        with self._lock:
            self._stop()
            self._private.cleanup()

    def _warm(self) -> None:
        # A machine without Java says so at the first SQL text, not here.
        with contextlib.suppress(Refusal):
            self.plan(_WARM_UP)

    def _parse(self, kind: Kind, text: str) -> list[Json]:
        if len(text) > MAX_CHARACTERS:
            raise _too_large(f"it has {len(text)} characters, {MAX_CHARACTERS} are accepted")
        if _open_brackets(text) > MAX_OPEN_BRACKETS:
            raise _too_large(f"more than {MAX_OPEN_BRACKETS} brackets or comments are open at once")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _not_sql("the text is not valid Unicode") from None
        # The day is part of the key because the parser itself turns DATE 'today' into a constant.
        key = (kind, text, dt.datetime.now(dt.UTC).date())
        if not self._lock.acquire(timeout=START_SECONDS + 2 * self._parse_seconds):
            raise _unavailable()
        try:
            answer = self._known.pop(key, None) or self._ask(kind, text)
            self._known[key] = answer
            while len(self._known) > CACHED_TEXTS:
                self._known.popitem(last=False)
        finally:
            self._lock.release()
        return _nodes(answer)

    def _ask(self, kind: Kind, text: str) -> Json:
        """Return the JVM's answer; a JVM that died between two texts is replaced once."""
        for _ in range(2):
            jvm = self._running()
            try:
                answer: Json = json.loads(jvm.parse(kind, text, self._parse_seconds))
            except TimeoutError:
                self._stop()
                return {"refused": "TOO_LARGE", "message": "parsing it takes too long"}
            except _JvmDiedError:
                self._stop()
            else:
                return answer
        return {"refused": "TOO_LARGE", "message": "parsing it takes too much memory"}

    def _running(self) -> "_Jvm":
        if self._jvm is None or not self._jvm.is_alive:
            self._stop()
            try:
                if self._java_home is None:
                    self._java_home = find_java_home(Path(self._private.name))
                self._jvm = _Jvm(self._java_home)
            except (OSError, _JvmDiedError, Py4JError) as error:
                raise _unavailable() from error
        return self._jvm

    def _stop(self) -> None:
        if self._jvm is not None:
            self._jvm.stop()
            self._jvm = None


class _JvmDiedError(Exception):
    """The JVM ended or does not answer as agreed."""


class _Jvm:
    """One parser process and the connection to it."""

    def __init__(self, java_home: Path) -> None:
        jars = Path(pyspark.__file__).parent / "jars"
        command = [str(java_home / "bin" / "java"), *_JAVA_OPTIONS, "-cp", f"{jars}/*"]
        command += ["py4j.GatewayServer", "--die-on-broken-pipe", "--enable-auth", "0"]
        self._process = subprocess.Popen(  # noqa: S603  # fixed command, no text of a client in it
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
        )
        self._gateway: JavaGateway | None = None
        try:
            self._trees = self._connect()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def parse(self, kind: Kind, text: str, seconds: float) -> str:
        """Return the JVM's JSON; TimeoutError, at the JVM's cost, if it takes longer."""
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            return str(getattr(self._trees, kind)(text))
        except (Py4JError, OSError) as error:
            if late.is_set():
                raise TimeoutError from None
            raise _JvmDiedError from error
        finally:
            timer.cancel()

    def stop(self) -> None:
        """End the process by its id and close what belongs to it."""
        self._process.kill()
        self._process.wait()
        if self._gateway is not None:
            self._gateway.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _connect(self) -> Any:  # noqa: ANN401  # a py4j proxy
        """Read port and token from the JVM, then compile `SyntaxTree.java` inside it."""
        timer = threading.Timer(START_SECONDS, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            output = self._process.stdout
            if output is None:
                raise AssertionError("the process was started with a pipe")
            port, token = output.readline().strip(), output.readline().strip()
            if not port.isdigit() or not token:
                raise _JvmDiedError
            # Java objects live as long as the process: no finaliser may use the connection.
            parameters = GatewayParameters(
                port=int(port), auth_token=token.decode(), enable_memory_management=False
            )
            self._gateway = JavaGateway(gateway_parameters=parameters)
            return _compile(self._gateway)
        except OSError as error:
            raise _JvmDiedError from error
        finally:
            timer.cancel()


def _compile(gateway: JavaGateway) -> Any:  # noqa: ANN401  # a py4j proxy
    """Compile `SyntaxTree.java` with the compiler that Spark ships and return one instance."""
    compiler = gateway.jvm.org.codehaus.janino.SimpleCompiler()
    compiler.cook(Path(__file__).with_name("SyntaxTree.java").read_text(encoding="utf-8"))
    constructor = compiler.getClassLoader().loadClass("SyntaxTree").getConstructors()[0]
    arguments = gateway.new_array(gateway.jvm.Object, 2)
    arguments[0], arguments[1] = MAX_DEPTH, MAX_NODES
    return constructor.newInstance(arguments)


def _open_brackets(text: str) -> int:
    """Return the deepest nesting, counted without regard to quotes: a bound, not a parse."""
    depth = deepest = 0
    for character in text.replace("/*", "(").replace("*/", ")"):
        if character == "(":
            depth += 1
            deepest = max(deepest, depth)
        elif character == ")":
            depth -= 1
    return deepest


def _nodes(answer: Json) -> list[Json]:
    """Return the nodes, or raise what the JVM refused."""
    if "refused" in answer:
        message = str(answer["message"]).strip()
        raise _too_large(message) if answer["refused"] == "TOO_LARGE" else _not_sql(message)
    nodes: list[Json] = answer["nodes"]
    return nodes


def _too_large(reason: str) -> Refusal:
    return Refusal(
        "TOO_LARGE",
        f"This SQL text is too large: {reason}. Split the question.",
        f"SQL 文本过大：{reason}。请拆分查询。",
    )


def _not_sql(message: str) -> Refusal:
    """Return Spark's own message: it quotes nothing but the user's text."""
    return Refusal("PARSE", message, message)


def _unavailable() -> Refusal:
    return Refusal(
        "SERVICE_UNAVAILABLE",
        "The SQL parser cannot start: Java 17 or newer is needed. `lab doctor` says what is "
        "missing; DataFrame calls without SQL text still work.",
        "SQL 解析器无法启动：需要 Java 17 或更高版本。请运行 `lab doctor` 查看缺失项；"
        "不含 SQL 文本的 DataFrame 调用仍可使用。",
    )
