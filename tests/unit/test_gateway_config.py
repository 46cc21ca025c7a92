"""Settings: what clients ask is known, what users set is checked when it is set."""

from decimal import Decimal

import pytest
from pyspark.sql.connect.proto import base_pb2

from privacy.errors import Refusal
from sandbox.gateway.answering import Settings
from sandbox.gateway.config import CONSTANTS, Configuration, epsilon_of
from tests.support.gateway import AbortedError, direct

ASKED_BY_CREATE_DATA_FRAME = [
    "spark.sql.timestampType",
    "spark.sql.session.timeZone",
    "spark.sql.session.localRelationCacheThreshold",
    "spark.sql.session.localRelationSizeLimit",
    "spark.sql.session.localRelationChunkSizeRows",
    "spark.sql.session.localRelationChunkSizeBytes",
    "spark.sql.session.localRelationBatchOfChunksSizeBytes",
    "spark.sql.execution.pandas.convertToArrowArraySafely",
    "spark.sql.execution.pandas.inferPandasDictAsMap",
    "spark.sql.pyspark.inferNestedDictAsStruct.enabled",
    "spark.sql.pyspark.legacy.inferArrayTypeFromFirstElement.enabled",
    "spark.sql.pyspark.legacy.inferMapTypeFromFirstPair.enabled",
    "spark.sql.execution.arrow.useLargeVarTypes",
]


def configuration() -> Configuration:
    return Configuration("en")


@pytest.mark.parametrize(
    "text", ["0", "-1", "nan", "inf", "Infinity", "", "x", "1_0", "٣", "1e-9", "0.0"]
)
def test_a_bad_epsilon_is_refused_when_it_is_set(text: str) -> None:
    settings = configuration()
    with pytest.raises(Refusal) as refusal:
        settings.set([("lab.epsilon", text)], silent=False)
    assert refusal.value.code == "BAD_EPSILON"
    assert settings.settings.epsilon is None


@pytest.mark.parametrize(("text", "value"), [("0.5", "0.5"), ("1", "1"), (" 2e-1 ", "0.2")])
def test_an_epsilon_is_kept_exactly(text: str, value: str) -> None:
    settings = configuration()
    settings.set([("lab.epsilon", text)], silent=False)
    assert settings.settings.epsilon == Decimal(value)
    assert settings.require("lab.epsilon") == text


def test_truth_values_are_no_epsilon() -> None:
    with pytest.raises(Refusal):
        epsilon_of(value=True)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("lab.language", "fr"),
        ("lab.engine", "sparks"),
        ("lab.cohorts", "24"),
        ("lab.cohorts", "2024;2025"),
        ("lab.purpose", "a b"),
        ("lab.purpose", ""),
        ("lab.nothing", "1"),
        ("spark.sql.ansi.enabled", "true"),
        ("spark.sql.optimizer.excludedRules", "x"),
    ],
)
def test_a_bad_setting_is_refused_and_changes_nothing(key: str, text: str) -> None:
    settings = configuration()
    with pytest.raises(Refusal):
        settings.set([("lab.epsilon", "1"), (key, text)], silent=False)
    assert settings.settings == Settings(language="en")


def test_settings_of_a_question_are_read_as_values() -> None:
    settings = configuration()
    pairs = {
        "lab.epsilon": "0.25",
        "lab.purpose": "research",
        "lab.language": "zh",
        "lab.engine": "spark",
        "lab.cohorts": "2025, 2024",
    }
    settings.set(pairs.items(), silent=False)
    assert settings.settings == Settings(Decimal("0.25"), "research", "zh", "spark", (2024, 2025))
    settings.unset(pairs)
    assert settings.settings == Settings(language="en")


def test_the_language_starts_as_the_users_own() -> None:
    assert Configuration("zh").settings.language == "zh"


def test_setting_a_constant_to_its_value_is_no_error() -> None:
    assert configuration().set([("spark.sql.ansi.enabled", "false")], silent=False) == []


def test_tuning_has_no_effect_and_says_so() -> None:
    warnings = configuration().set([("spark.sql.shuffle.partitions", "8")], silent=False)
    assert "no effect" in warnings[0]


def test_what_a_session_builder_sets_silently_is_let_pass_unless_it_is_ours() -> None:
    settings = configuration()
    assert settings.set([("spark.anything", "x"), ("lab.epsilon", "2")], silent=True) == []
    assert settings.settings.epsilon == 2
    with pytest.raises(Refusal):
        settings.set([("lab.epsilon", "0")], silent=True)


@pytest.mark.parametrize("key", ASKED_BY_CREATE_DATA_FRAME)
def test_every_setting_that_create_data_frame_asks_for_has_a_value(key: str) -> None:
    assert configuration().require(key)


def test_sizes_are_numbers() -> None:
    assert all(int(v) for k, v in CONSTANTS.items() if "localRelation" in k)


def test_an_unknown_setting_is_refused_when_read_without_a_default() -> None:
    with pytest.raises(Refusal, match=r"lab\.cohorts"):
        configuration().require("spark.executor.memory")


def test_an_unset_price_is_decided_by_the_grant() -> None:
    with pytest.raises(Refusal, match="grant"):
        configuration().require("lab.epsilon")


def config(**operation: object) -> dict[str, str | None]:
    response = direct().unary("Config", operation=base_pb2.ConfigRequest.Operation(**operation))
    return {pair.key: pair.value if pair.HasField("value") else None for pair in response.pairs}


def test_a_default_is_used_where_nothing_is_set() -> None:
    pairs = [{"key": "lab.epsilon", "value": "7"}, {"key": "lab.engine"}, {"key": "unknown"}]
    got = config(get_with_default={"pairs": pairs})
    assert got == {"lab.epsilon": "7", "lab.engine": "auto", "unknown": None}


def test_optional_settings_come_without_a_value() -> None:
    assert config(get_option={"keys": ["lab.epsilon"]}) == {"lab.epsilon": None}


def test_all_settings_of_a_prefix_are_listed_without_it() -> None:
    got = config(get_all={"prefix": "lab."})
    assert got == {"cohorts": "all", "engine": "auto", "language": "en"}


def test_only_the_labs_own_settings_can_be_changed() -> None:
    keys = ["lab.epsilon", "spark.sql.ansi.enabled"]
    assert config(is_modifiable={"keys": keys}) == {keys[0]: "true", keys[1]: "false"}


def test_too_many_keys_are_refused() -> None:
    with pytest.raises(AbortedError):
        config(get_option={"keys": ["x"] * 501})
