"""A session belongs to its authenticated user, and what is lost is said to be lost."""

import uuid

import pytest
from pyspark.sql.connect.proto import base_pb2, relations_pb2

from privacy.dp.query import SubqueryAlias
from sandbox.gateway.session import MAX_SESSIONS_PER_USER
from tests.support.gateway import (
    NAMESAKE_TOKEN,
    OTHER_TOKEN,
    TOKEN,
    AbortedError,
    DirectClient,
    People,
    Person,
    Tables,
    counted,
    direct,
    named,
    rows_of,
)


def epsilon(client: DirectClient) -> str | None:
    response = client.unary("Config", operation={"get_option": {"keys": ["lab.epsilon"]}})
    (pair,) = response.pairs
    return pair.value if pair.HasField("value") else None


def view(client: DirectClient, name: str, source: str = "districts", **options: bool) -> None:
    plan = base_pb2.Plan()
    plan.command.create_dataframe_view.input.CopyFrom(named(source))
    plan.command.create_dataframe_view.name = name
    for option, value in options.items():
        setattr(plan.command.create_dataframe_view, option, value)
    client.execute(plan)


def rows(client: DirectClient, name: str) -> list[dict[str, object]]:
    return rows_of(client.execute(base_pb2.Plan(root=named(name))))


@pytest.mark.parametrize("token", [OTHER_TOKEN, NAMESAKE_TOKEN], ids=["other", "namesake"])
def test_the_same_session_id_of_two_users_is_two_sessions(token: str) -> None:
    mine = direct()
    theirs = DirectClient(mine.service, token)
    mine.set(lab_epsilon="0.5")
    view(mine, "mine")
    assert epsilon(theirs) is None
    with pytest.raises(AbortedError) as aborted:
        rows(theirs, "mine")
    assert aborted.value.condition == "LAB.UNKNOWN_TABLE"
    theirs.unary("ReleaseSession")
    assert epsilon(mine) == "0.5"


def test_who_the_client_says_it_is_does_not_matter() -> None:
    mine = direct()
    mine.set(lab_epsilon="0.5")
    response = DirectClient(mine.service, OTHER_TOKEN).unary(
        "Config",
        user_context={"user_id": "analyst", "user_name": "analyst"},
        operation={"get_option": {"keys": ["lab.epsilon"]}},
    )
    assert not response.pairs[0].HasField("value")


def test_two_sessions_of_one_user_share_nothing() -> None:
    first = direct()
    second = DirectClient(first.service, session_id=str(uuid.uuid4()))
    first.set(lab_epsilon="0.5")
    assert epsilon(second) is None


def test_every_response_names_both_ids_of_the_session() -> None:
    client = direct()
    known = client.unary("Config", operation={"get_option": {}})
    responses = [
        *client.execute(counted("tax")),
        client.unary("AnalyzePlan", spark_version={}),
        client.unary("Interrupt", interrupt_type=1),
        client.unary("ArtifactStatus", names=["cache/x"]),
        client.unary("FetchErrorDetails", error_id="x"),
        client.unary("ReleaseExecute", operation_id=str(uuid.uuid4()), release_all={}),
        client.unary("ReleaseSession"),
    ]
    assert {r.session_id for r in responses} == {client.session_id}
    assert {r.server_side_session_id for r in responses} == {known.server_side_session_id}


def test_a_client_that_saw_another_session_is_told_that_it_is_gone() -> None:
    old, fresh = direct(), direct()
    seen = old.unary("Config", operation={"get_option": {}}).server_side_session_id
    with pytest.raises(AbortedError) as aborted:
        fresh.unary("AnalyzePlan", spark_version={}, client_observed_server_side_session_id=seen)
    assert aborted.value.condition == "INVALID_HANDLE.SESSION_CHANGED"


def test_a_closed_session_stays_closed_and_forgets_everything() -> None:
    client = direct()
    view(client, "mine")
    client.unary("ReleaseSession")
    with pytest.raises(AbortedError) as aborted:
        client.set(lab_epsilon="1")
    assert aborted.value.condition == "INVALID_HANDLE.SESSION_CLOSED"


def test_a_client_may_keep_its_id_for_a_new_session() -> None:
    client = direct()
    client.set(lab_epsilon="0.5")
    client.unary("ReleaseSession", allow_reconnect=True)
    assert epsilon(client) is None


def test_closing_the_session_of_another_user_does_nothing_to_it() -> None:
    mine = direct()
    mine.set(lab_epsilon="0.5")
    DirectClient(mine.service, OTHER_TOKEN).unary("ReleaseSession")
    assert epsilon(mine) == "0.5"


def test_the_session_that_was_idle_longest_makes_room() -> None:
    oldest = direct()
    oldest.set(lab_epsilon="0.5")
    for _ in range(MAX_SESSIONS_PER_USER):
        DirectClient(oldest.service, session_id=str(uuid.uuid4())).set(lab_epsilon="1")
    rival = DirectClient(oldest.service, OTHER_TOKEN)
    rival.set(lab_epsilon="2")
    assert epsilon(oldest) is None
    assert epsilon(rival) == "2"


@pytest.mark.parametrize("session_id", ["", "x", "1" * 36, "../../../../etc/passwd", "A" * 10_000])
def test_a_session_id_is_a_uuid(session_id: str) -> None:
    with pytest.raises(AbortedError) as aborted:
        DirectClient(direct().service, session_id=session_id).set(lab_epsilon="1")
    assert aborted.value.condition == "INVALID_HANDLE.FORMAT"


def test_views_are_kept_replaced_and_dropped() -> None:
    client = direct()
    view(client, "Mine")
    assert len(rows(client, "mine")) == 3
    with pytest.raises(AbortedError, match="exists already"):
        view(client, "MINE")
    view(client, "MINE", replace=True)
    drop = relations_pb2.Relation()
    drop.catalog.drop_temp_view.view_name = "mine"
    assert rows_of(client.execute(base_pb2.Plan(root=drop))) == [{"value": True}]
    assert rows_of(client.execute(base_pb2.Plan(root=drop))) == [{"value": False}]


@pytest.mark.parametrize("name", ["tax", "TAX", "districts"])
def test_a_view_cannot_hide_a_table(name: str) -> None:
    with pytest.raises(AbortedError, match="hide"):
        view(direct(), name, replace=True)


@pytest.mark.parametrize("name", ["__v", "a\0b", "x" * 300])
def test_a_view_has_an_ordinary_name(name: str) -> None:
    with pytest.raises(AbortedError):
        view(direct(), name)


def test_global_views_are_refused() -> None:
    with pytest.raises(AbortedError, match="is_global"):
        view(direct(), "v", is_global=True)


def test_a_view_over_a_missing_table_is_refused_when_it_is_made() -> None:
    with pytest.raises(AbortedError) as aborted:
        view(direct(), "v", "nope")
    assert aborted.value.condition == "LAB.UNKNOWN_TABLE"


def test_a_view_keeps_the_meaning_that_it_had_when_it_was_made() -> None:
    client = direct()
    view(client, "first", "districts")
    view(client, "second", "first")
    view(client, "first", "tax", replace=True)
    assert len(rows(client, "second")) == 3


def test_labels_of_the_session_that_made_a_view_mean_nothing_later() -> None:
    tables = Tables()
    client = direct(tables)
    plan = base_pb2.Plan()
    plan.command.create_dataframe_view.input.CopyFrom(named("districts"))
    plan.command.create_dataframe_view.input.common.plan_id = 7
    plan.command.create_dataframe_view.name = "v"
    client.execute(plan)
    rows(client, "v")
    (question,) = tables.questions
    assert isinstance(question, SubqueryAlias)
    assert question.child.plan_id is None


def test_a_user_context_with_extensions_is_refused() -> None:
    with pytest.raises(AbortedError, match="extensions"):
        direct().unary("AnalyzePlan", spark_version={}, user_context={"extensions": [{}]})


def test_a_revoked_user_is_refused_on_the_next_request() -> None:
    people = People()
    now = [0.0]
    client = direct(people=people, clock=lambda: now[0])
    client.set(lab_epsilon="1")
    del people.holders[TOKEN]
    now[0] = 10
    with pytest.raises(AbortedError) as aborted:
        client.execute(counted("tax"))
    assert aborted.value.condition == "LAB.AUTHENTICATION"


def test_errors_speak_the_language_of_the_session_or_the_user() -> None:
    client = direct(people=People({TOKEN: Person("analyst", language="zh")}))
    with pytest.raises(AbortedError, match="没有表"):
        rows(client, "nope")
    client.set(lab_language="en")
    with pytest.raises(AbortedError, match="There is no table"):
        rows(client, "nope")


def test_long_errors_are_fetched_by_their_id_and_only_by_their_session() -> None:
    client = direct()
    plan = base_pb2.Plan()
    plan.root.sql.query = "not sql " + "长" * 3_000
    with pytest.raises(AbortedError) as aborted:
        client.execute(plan)
    assert len(str(aborted.value)) < 1_100
    error_id = aborted.value.info.metadata["errorId"]
    details = client.unary("FetchErrorDetails", error_id=error_id)
    assert "长" * 3_000 in details.errors[0].message
    other = DirectClient(client.service, session_id=str(uuid.uuid4()))
    assert not other.unary("FetchErrorDetails", error_id=error_id).errors


@pytest.mark.parametrize("name", ["CloneSession", "GetStatus"])
def test_calls_that_reach_for_other_sessions_are_refused(name: str) -> None:
    with pytest.raises(AbortedError) as aborted:
        direct(Tables()).unary(name)
    assert aborted.value.condition == "LAB.UNSUPPORTED"
