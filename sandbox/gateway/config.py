"""The settings of a session: what clients read, what users may set, checked when it is set.

Unknown keys are refused: a setting that is silently without effect would mislead, and Spark's own
settings must not reach the engines (attacks A9, D15).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn

from privacy.dp.types import Value
from privacy.errors import Refusal
from sandbox.gateway.answering import Settings
from sandbox.gateway.frames import MAX_FRAME_BYTES

LEAST_EPSILON: Final = Decimal("0.000001")
"""The ledger counts in millionths, so a smaller price cannot be kept."""

CONSTANTS: Final[Mapping[str, str]] = {
    "spark.app.name": "digital-lab",
    "spark.connect.session.planCompression.defaultAlgorithm": "NONE",
    "spark.connect.session.planCompression.threshold": "-1",
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    "spark.sql.ansi.enabled": "false",
    "spark.sql.caseSensitive": "false",
    "spark.sql.connect.serverStacktrace.enabled": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "10000",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.pyspark.fallback.enabled": "false",
    "spark.sql.execution.arrow.pyspark.selfDestruct.enabled": "false",
    "spark.sql.execution.arrow.useLargeVarTypes": "false",
    "spark.sql.execution.pandas.convertToArrowArraySafely": "false",
    "spark.sql.execution.pandas.inferPandasDictAsMap": "false",
    "spark.sql.execution.pandas.structHandlingMode": "legacy",
    "spark.sql.execution.pyspark.binaryAsBytes": "true",
    "spark.sql.execution.pythonUDF.arrow.enabled": "false",
    "spark.sql.execution.pythonUDTF.arrow.enabled": "false",
    "spark.sql.pyspark.inferNestedDictAsStruct.enabled": "false",
    "spark.sql.pyspark.jvmStacktrace.enabled": "false",
    "spark.sql.pyspark.legacy.inferArrayTypeFromFirstElement.enabled": "false",
    "spark.sql.pyspark.legacy.inferMapTypeFromFirstPair.enabled": "false",
    "spark.sql.repl.eagerEval.enabled": "false",
    "spark.sql.repl.eagerEval.maxNumRows": "20",
    "spark.sql.repl.eagerEval.truncate": "20",
    "spark.sql.session.localRelationBatchOfChunksSizeBytes": str(MAX_FRAME_BYTES),
    "spark.sql.session.localRelationCacheThreshold": str(MAX_FRAME_BYTES),
    "spark.sql.session.localRelationChunkSizeBytes": str(MAX_FRAME_BYTES),
    "spark.sql.session.localRelationChunkSizeRows": "10000",
    "spark.sql.session.localRelationSizeLimit": str(MAX_FRAME_BYTES),
    "spark.sql.session.timeZone": "Asia/Shanghai",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
}
"""Settings that clients read; nobody sets them, but setting the value that they have is no error.

Plans are not compressed: they are judged as they come, and small. A bare data frame at the end of
a notebook cell does not run (`eagerEval`), since running costs budget.
"""

WITHOUT_EFFECT: Final = frozenset(
    {
        "spark.sql.adaptive.enabled",
        "spark.sql.autoBroadcastJoinThreshold",
        "spark.sql.shuffle.partitions",
    }
)
"""Tuning that many notebooks begin with: accepted with a warning, since the lab tunes itself."""


def epsilon_of(value: Value | Decimal) -> Decimal:
    """Return a privacy price as an exact number; raise BAD_EPSILON unless it is a positive one."""
    number: Decimal | None = None
    if isinstance(value, Decimal):
        number = value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = Decimal(str(value))
    if number is None or not number.is_finite() or number < LEAST_EPSILON:
        _bad_epsilon()
    return number


def _bad_epsilon() -> NoReturn:
    raise Refusal(
        "BAD_EPSILON",
        f"epsilon is one finite number of at least {LEAST_EPSILON}, such as 0.5.",
        f"epsilon 必须是一个不小于 {LEAST_EPSILON} 的有限数值，例如 0.5。",
    )


def _epsilon(settings: Settings, text: str) -> Settings:
    # `Decimal` alone would also take NaN, Infinity, underscores and digits of other scripts.
    if not re.fullmatch(r"\+?[0-9]{1,9}(\.[0-9]{0,18})?([eE][+-]?[0-9]{1,2})?", text.strip()):
        _bad_epsilon()
    try:
        return replace(settings, epsilon=epsilon_of(Decimal(text.strip())))
    except InvalidOperation:
        _bad_epsilon()


def _purpose(settings: Settings, text: str) -> Settings:
    if not re.fullmatch(r"[\w.:-]{1,64}", text):
        raise _bad(
            "lab.purpose",
            "a purpose of your grant, such as `research`",
            "授权中的用途，例如 research",
        )
    return replace(settings, purpose=text)


def _language(settings: Settings, text: str) -> Settings:
    if text not in ("en", "zh"):
        raise _bad("lab.language", "`en` or `zh`", "en 或 zh")
    return replace(settings, language=text)


def _engine(settings: Settings, text: str) -> Settings:
    if text not in ("auto", "duckdb", "spark"):
        raise _bad("lab.engine", "`auto`, `duckdb` or `spark`", "auto、duckdb 或 spark")
    return replace(settings, engine=None if text == "auto" else text)


def _cohorts(settings: Settings, text: str) -> Settings:
    if text == "all":
        return replace(settings, cohorts=None)
    if not re.fullmatch(r"\s*[0-9]{4}\s*(,\s*[0-9]{4}\s*){0,49}", text):
        raise _bad(
            "lab.cohorts", "`all`, or years such as `2024,2025`", "all，或年份，例如 2024,2025"
        )
    return replace(settings, cohorts=tuple(sorted({int(year) for year in text.split(",")})))


LAB_KEYS: Final[Mapping[str, Callable[[Settings, str], Settings]]] = {
    "lab.cohorts": _cohorts,
    "lab.engine": _engine,
    "lab.epsilon": _epsilon,
    "lab.language": _language,
    "lab.purpose": _purpose,
}
"""Settings of a question, each with its check."""


class Configuration:
    """The settings of one session. Not safe for several threads at once: the session locks it."""

    def __init__(self, language: str) -> None:
        """Begin with the user's own language and nothing else set."""
        self._initial = Settings(language=language)
        self._texts: dict[str, str] = {}
        self.settings = self._initial

    def set(self, pairs: Iterable[tuple[str, str | None]], *, silent: bool) -> list[str]:
        """Set all pairs or none; return warnings. Silent setting skips keys that are not ours."""
        texts, warnings = dict(self._texts), list[str]()
        for key, value in pairs:
            if key in LAB_KEYS:
                if value is None:
                    texts.pop(key, None)
                else:
                    texts[key] = value
            elif key in WITHOUT_EFFECT:
                warnings.append(f"{key} has no effect: the lab tunes its own engines.")
            elif not silent and CONSTANTS.get(key) != value:
                _refuse_key(key)
        self.settings, self._texts = self._read(texts), texts
        return warnings

    def unset(self, keys: Iterable[str]) -> None:
        """Return settings to their defaults."""
        texts = dict(self._texts)
        for key in keys:
            if key not in LAB_KEYS and key not in WITHOUT_EFFECT:
                _refuse_key(key)
            texts.pop(key, None)
        self.settings, self._texts = self._read(texts), texts

    def get(self, key: str) -> str | None:
        """Return a setting as text, or None if it is unset or unknown."""
        if key == "lab.language":
            return self.settings.language
        defaults = {"lab.engine": "auto", "lab.cohorts": "all"}
        return self._texts.get(key) or CONSTANTS.get(key) or defaults.get(key)

    def require(self, key: str) -> str:
        """Return a setting as text; refuse one that is unset or unknown."""
        value = self.get(key)
        if value is None:
            known = key in LAB_KEYS
            raise Refusal(
                "UNSUPPORTED",
                f"The setting `{_shown(key)}` is not set; your grant decides."
                if known
                else f"The setting `{_shown(key)}` does not exist here. Those of the lab are "
                f"{', '.join(LAB_KEYS)}.",
                f"设置项 `{_shown(key)}` 未设置，由授权决定。"
                if known
                else f"此处没有设置项 `{_shown(key)}`。实验室的设置项为 {', '.join(LAB_KEYS)}。",
            )
        return value

    def all(self, prefix: str) -> list[tuple[str, str]]:
        """Return every setting that has a value and starts with `prefix`, by key."""
        keys = sorted({*CONSTANTS, *LAB_KEYS})
        pairs = [(key, self.get(key)) for key in keys if key.startswith(prefix)]
        return [(key, value) for key, value in pairs if value is not None]

    def _read(self, texts: Mapping[str, str]) -> Settings:
        settings = self._initial
        for key, text in texts.items():
            settings = LAB_KEYS[key](settings, text)
        return settings


def is_modifiable(key: str) -> bool:
    """Return whether a user may set `key`."""
    return key in LAB_KEYS or key in WITHOUT_EFFECT


def _bad(key: str, en: str, zh: str) -> Refusal:
    return Refusal("UNSUPPORTED", f"{key} is {en}.", f"{key} 应为{zh}。")


def _refuse_key(key: str) -> NoReturn:
    raise Refusal(
        "UNSUPPORTED",
        f"The setting `{_shown(key)}` cannot be changed here. You may set {', '.join(LAB_KEYS)}.",
        f"此处不能修改设置项 `{_shown(key)}`。可设置 {', '.join(LAB_KEYS)}。",
    )


def _shown(key: Any) -> str:  # noqa: ANN401  # text of a client
    return re.sub(r"[^\w.-]", "?", str(key))[:100]
