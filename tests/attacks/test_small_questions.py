"""Questions that try to learn of one unit without an answer: by memory, or by groups of one."""

import pytest

from privacy.dp import expr as e
from privacy.dp import query as q
from privacy.dp.analysis import analyse
from privacy.dp.draw import Program
from privacy.dp.facts import PublicFacts
from privacy.dp.resolve import NamedRelations, resolve
from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.engine.public import PublicEngine
from tests.support.engine import FACTS
from tests.support.engine_room import database, small_lake

STRING, INTEGER = DataType.STRING, DataType.INTEGER
TAX, REGISTRATION = q.Table(("tax",)), q.Table(("registration",))
ONE_UNIT = "91" + "9".zfill(16)


def name(*parts: str) -> e.Name:
    return e.Name(parts)


def call(function: str, *args: e.Expression) -> e.Call:
    return e.Call(function, args)


def number(value: int) -> e.Literal:
    return e.Literal(value, INTEGER)


def counted(child: q.Query, *keys: e.Expression) -> q.Query:
    return q.Aggregate(child, keys, (call("count", number(1)),))


def judge(query: q.Query) -> Program:
    facts = PublicFacts(FACTS, PublicEngine(database(), small_lake), None)
    return analyse(resolve(query, NamedRelations(FACTS)).node, facts)


def refused(query: q.Query) -> Refusal:
    with pytest.raises(Refusal) as caught:
        judge(query)
    return caught.value


def repeated(text: e.Expression, times: int) -> e.Expression:
    for _ in range(times):
        text = call("repeat", text, number(1000))
    return text


LONG = repeated(call("concat", e.Literal("x", STRING), name("uscc")), 2)
CHOSEN = call("when", call("==", name("uscc"), e.Literal(ONE_UNIT, STRING)), LONG)
WIDE = q.WithColumns(TAX, (("x", call("repeat", name("note"), number(50))),))


MEMORY = [
    counted(q.Filter(TAX, call("like", CHOSEN, e.Literal("%zz", STRING)))),
    counted(q.Filter(q.WithColumns(TAX, (("x", CHOSEN),)), call("isnotnull", name("x")))),
    counted(TAX, CHOSEN),
    q.Aggregate(TAX, (), (call("count", CHOSEN),)),
    q.Aggregate(TAX, (), (call("sum", call("length", CHOSEN)),)),
    counted(counted(TAX, name("uscc"), CHOSEN)),
    counted(q.WithColumns(WIDE, (("y", call("repeat", name("x"), number(50))),)), name("y")),
    counted(q.WithColumns(WIDE, (("y", call("concat", name("x"), name("x"))),)), name("y")),
    counted(
        q.Join(
            TAX,
            q.Table(("areas",)),
            q.JoinKind.SEMI,
            call("==", name("region"), CHOSEN),
        )
    ),
    counted(
        q.Join(q.SubqueryAlias(TAX, "t"), REGISTRATION, q.JoinKind.INNER, using=("uscc",)),
        call("repeat", name("note"), number(66)),
    ),
]


@pytest.mark.parametrize("query", MEMORY, ids=range(len(MEMORY)))
def test_a_text_that_could_fill_the_memory_is_refused(query: q.Query) -> None:
    assert refused(query).code == "TOO_LARGE"


def test_texts_of_usual_length_are_fine() -> None:
    label = call("concat_ws", e.Literal("/", STRING), name("district"), call("upper", name("note")))
    assert judge(counted(q.WithColumns(TAX, (("x", label),)), name("x"))).releases


def derived(expr: e.Expression) -> q.Query:
    return q.WithColumns(TAX, (("k", expr),))


OF_UNIT = [
    derived(call("upper", name("uscc"))),
    derived(call("when", call("==", name("uscc"), e.Literal(ONE_UNIT, STRING)), number(1))),
    q.WithColumns(derived(call("reverse", name("uscc"))), (("k", call("length", name("k"))),)),
    q.Aggregate(TAX, (name("uscc"),), (e.Alias(call("max", name("uscc")), "k"),)),
    q.Aggregate(TAX, (name("uscc"), e.Alias(call("lower", name("uscc")), "k")), ()),
    q.Union(derived(call("upper", name("uscc"))), derived(name("note"))),
    q.Filter(derived(call("left", name("uscc"), number(17))), call("isnotnull", name("k"))),
    q.Join(
        TAX,
        q.Select(REGISTRATION, (name("uscc"), e.Alias(call("trim", name("uscc")), "k"))),
        q.JoinKind.LEFT,
        using=("uscc",),
    ),
    q.Distinct(derived(call("upper", name("uscc"))), ("uscc", "period")),
]


@pytest.mark.parametrize("child", OF_UNIT, ids=range(len(OF_UNIT)))
def test_groups_made_from_the_unit_are_refused_however_they_are_made(child: q.Query) -> None:
    assert refused(counted(child, name("k"))).code == "UNIT_KEY"


def test_what_counts_units_is_not_made_from_them() -> None:
    features = q.Aggregate(TAX, (name("uscc"),), (e.Alias(call("count", name("uscc")), "k"),))
    assert judge(counted(features, name("k"))).releases
