"""Questions that try to learn of one unit without an answer: by memory, or by groups of one."""

import pyarrow as pa
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
    facts = PublicFacts(FACTS, PublicEngine(database(), small_lake, {FRAME: THOUSAND}), None)
    known = NamedRelations(FACTS, {}, {FRAME: (("k", STRING),)})
    return analyse(resolve(query, known).node, facts)


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


@pytest.mark.parametrize(
    "pattern",
    [
        "a*a*b",
        ".*.*x",
        "(?:a|aa){10}",
        "(?:(?:a|b){5}){10}",
        "(?:a{0,9}){5}",
        "^.*.*.*x",
        "a?" * 20,
    ],
)
def test_no_pattern_makes_one_text_take_long(pattern: str) -> None:
    found = call("rlike", name("note"), e.Literal(pattern, STRING))
    assert refused(counted(q.Filter(TAX, found))).code == "TOO_LARGE"
    assert refused(q.Aggregate(TAX, (), (call("count_if", found),))).code == "TOO_LARGE"
    short = call("rlike", call("left", name("note"), number(3)), e.Literal(".*.*x", STRING))
    assert judge(counted(q.Filter(TAX, short))).releases


LONG_PATTERN = e.Literal("%" + "_" * 480 + "c", STRING)
SHORT_PATTERN = e.Literal("%" + "汉" * 12 + "%_", STRING)


@pytest.mark.parametrize(
    ("function", "times", "pattern", "usual"),
    [
        ("like", 30, LONG_PATTERN, SHORT_PATTERN),
        ("contains", 15, call("repeat", name("note"), number(15)), SHORT_PATTERN),
        ("instr", 15, call("repeat", name("note"), number(15)), name("note")),
    ],
    ids=["like", "contains", "instr"],
)
def test_searching_the_long_texts_of_one_unit_does_not_take_long(
    function: str, times: int, pattern: e.Expression, usual: e.Expression
) -> None:
    text = call("repeat", name("note"), number(times))

    def searched(wanted: e.Expression, often: int) -> q.Query:
        question: q.Query = TAX
        for each in range(often):
            found = call("==", call(function, text, wanted), call(function, text, wanted))
            question = q.Filter(question, found if each % 2 else call("not", found))
        return counted(question)

    assert refused(searched(pattern, 4)).code == "TOO_LARGE"
    assert judge(searched(usual, 4)).releases


def test_many_patterns_count_together() -> None:
    found = [call("rlike", name("note"), e.Literal(f"a.*{i}", STRING)) for i in range(8)]
    question: q.Query = TAX
    for each in found:
        question = q.Filter(question, each)
    assert refused(counted(question)).code == "TOO_LARGE"
    sums = tuple(call("count_if", each) for each in found)
    assert refused(q.Aggregate(TAX, (), sums)).code == "TOO_LARGE"
    assert judge(counted(q.Filter(TAX, found[0]))).releases


@pytest.mark.parametrize("kind", [q.JoinKind.SEMI, q.JoinKind.ANTI], ids=["semi", "anti"])
def test_no_unit_decides_how_many_pairs_are_compared(kind: q.JoinKind) -> None:
    public = q.ToNames(q.Frame(FRAME, (("k", STRING),)), ("region",))
    inside = call("contains", name("note"), name("region"))
    assert refused(counted(q.Join(TAX, public, kind, inside))).code == "TOO_LARGE"
    looked_up = call("==", name("note"), name("region"))
    assert judge(counted(q.Join(TAX, public, kind, looked_up))).releases
    wide, other = exploding(TAX, "a"), exploding(TAX, "b")
    same = call("==", name("uscc"), name("u"))
    both = call("and", same, call("<", name("n"), name("m")))
    assert refused(counted(q.Join(wide, other, kind, both))).code == "TOO_LARGE"
    assert judge(counted(q.Join(wide, other, kind, same))).releases


def exploding(child: q.Query, side: str) -> q.Query:
    """Return 144 rows of each unit: under `uscc` and `n`, or under `u` and `m`."""
    names = ("uscc", "n") if side == "a" else ("u", "m")
    left = q.SubqueryAlias(child, "l")
    right = q.Select(child, (name("uscc"), e.Alias(name("staff"), "more")))
    joined = q.Join(left, right, q.JoinKind.INNER, using=("uscc",))
    return q.ToNames(q.Select(joined, (name("uscc"), name("more"))), names)


@pytest.mark.parametrize(
    "pattern", ["a.*b", "^a.*b.*c", "[0-9]{3}-[0-9]{4}", "(?:foo|bar|baz)", "^[a-z]{2,10}$", "汉?"]
)
def test_patterns_of_usual_size_are_fine(pattern: str) -> None:
    found = call("rlike", name("note"), e.Literal(pattern, STRING))
    assert judge(counted(q.Filter(TAX, found))).releases


FRAME = "ab" * 32
THOUSAND = pa.table({"k": pa.array([ONE_UNIT] * 1000)})


def exploded(times: int) -> q.Query:
    """Give one unit a thousand times its rows, again and again."""
    query: q.Query = q.Filter(TAX, call("==", name("uscc"), e.Literal(ONE_UNIT, STRING)))
    for number_ in range(times):
        frame = q.ToNames(q.Frame(FRAME, (("k", STRING),)), (f"k{number_}",))
        same = call("==", name("uscc"), name(f"k{number_}"))
        query = q.Join(query, frame, q.JoinKind.INNER, same)
    return query


def multiplied(times: int) -> q.Query:
    query: q.Query = q.SubqueryAlias(TAX, "t")
    for number_ in range(times):
        other = q.Select(TAX, (name("uscc"), e.Alias(name("staff"), f"s{number_}")))
        query = q.Join(query, other, q.JoinKind.INNER, using=("uscc",))
    return query


def doubled(times: int) -> q.Query:
    query: q.Query = TAX
    for _ in range(times):
        query = q.Union(query, query)
    return query


@pytest.mark.parametrize(
    "child", [exploded(1), exploded(3), multiplied(4), doubled(9)], ids=["1", "3", "self", "union"]
)
def test_one_unit_cannot_explode_into_rows(child: q.Query) -> None:
    assert refused(counted(child)).code == "TOO_LARGE"
    assert refused(counted(q.Aggregate(child, (name("uscc"),), ()))).code == "TOO_LARGE"


def monthly(times: int) -> q.Query:
    query: q.Query = q.SubqueryAlias(TAX, "t")
    for number_ in range(times):
        other = q.Select(TAX, (name("uscc"), name("period"), e.Alias(name("staff"), f"s{number_}")))
        query = q.Join(query, other, q.JoinKind.INNER, using=("uscc", "period"))
    return query


def test_joins_that_stay_small_are_fine() -> None:
    assert judge(counted(multiplied(2))).releases
    assert judge(counted(monthly(6))).releases
    assert judge(counted(doubled(2))).releases


def test_open_keys_cannot_be_long_texts() -> None:
    long = call("repeat", name("note"), number(5))
    assert refused(counted(TAX, long)).code == "TOO_LARGE"


def test_texts_of_many_steps_count_together() -> None:
    long, steps = call("repeat", name("note"), number(20)), 4
    query: q.Query = TAX
    for i in range(steps):
        query = q.WithColumns(query, ((f"x{i}", long),))
    present = [call("isnotnull", name(f"x{i}")) for i in range(steps)]
    both = call("and", call("and", *present[:2]), call("and", *present[2:]))
    assert refused(counted(q.Filter(query, both))).code == "TOO_LARGE"
    assert judge(counted(q.Filter(query, call("and", *present[:2])))).releases


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


def test_a_key_made_from_the_unit_hides_behind_no_open_key() -> None:
    shouted = call("upper", name("uscc"))
    for keys in ((name("note"), shouted), (shouted, name("note"))):
        assert refused(counted(TAX, *keys)).code == "UNIT_KEY"


def test_what_counts_units_is_not_made_from_them() -> None:
    features = q.Aggregate(TAX, (name("uscc"),), (e.Alias(call("count", name("uscc")), "k"),))
    assert judge(counted(features, name("k"))).releases


@pytest.mark.parametrize("value", [1e308, 1.7e308, -1e300])
def test_numbers_beyond_any_sum_are_refused_not_crashed_on(value: float) -> None:
    huge = e.Literal(value, DataType.DOUBLE)
    for function in ("sum", "avg", "stddev"):
        question = q.Aggregate(TAX, (), (call(function, huge),))
        assert refused(question).code == "OVERFLOW_POSSIBLE"


LARGEST = e.Literal(2**31 - 1, INTEGER)


@pytest.mark.parametrize("digits", [-1, -3, -9])
def test_no_rounded_number_leaves_its_type(digits: int) -> None:
    """Only a unit of which something is true would have had it, and failed the answer."""
    chosen = call("when", call(">", name("staff"), number(400)), LARGEST, number(1))
    rounded = call("round", chosen, number(digits))
    per_unit = q.Aggregate(TAX, (name("uscc"),), (e.Alias(call("max", rounded), "s"),))
    assert refused(counted(per_unit, name("s"))).code == "OVERFLOW_POSSIBLE"
    assert refused(counted(TAX, rounded)).code == "OVERFLOW_POSSIBLE"
    fine = call("round", call("least", chosen, number(10**9)), number(-1))
    assert judge(counted(TAX, fine)).releases
