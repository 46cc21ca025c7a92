"""No text gets longer than the analysis says, whatever functions are put around each other."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from privacy.dp.functions import FUNCTIONS, call
from privacy.dp.plan import Column, Const, Expr, Local, Project, Ref
from privacy.dp.textlength import longest
from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.engine.public import PublicEngine
from tests.support.engine_room import database

STRING, INTEGER = DataType.STRING, DataType.INTEGER
COLUMNS = (Column(1, "a", STRING), Column(2, "b", STRING), Column(3, "n", INTEGER))
TEXTS: tuple[Expr, ...] = (
    *(Ref(c.id, c.type) for c in COLUMNS[:2]),
    *(Const(text, STRING) for text in ("", "a", "ab", None)),
)
COUNTS: tuple[Expr, ...] = tuple(Const(n, INTEGER) for n in (-3, 0, 2, 5, None))
FORMS = {
    **dict.fromkeys(("upper", "lower", "trim", "ltrim", "rtrim", "reverse", "string"), "s"),
    **dict.fromkeys(("concat", "coalesce", "nullif", "greatest", "least"), "ss"),
    **dict.fromkeys(("substring", "left", "right"), "si"),
    **dict.fromkeys(("lpad", "rpad"), "sip"),
    "concat_ws": "pss",
    "replace": "sss",
    "repeat": "sn",
    "if": "bss",
    "substr": "sii",
}
"""Arguments: text, literal text, number, literal number, condition."""


def grown(texts: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    numbers = st.one_of(st.sampled_from(COUNTS), st.just(Ref(3, INTEGER)))
    kinds: dict[str, st.SearchStrategy[Expr]] = {
        "s": texts,
        "p": st.sampled_from([t for t in TEXTS if isinstance(t, Const)]),
        "i": numbers,
        "n": st.sampled_from(COUNTS),
        "b": st.builds(lambda a, b: call("<", (a, b)), texts, texts),
    }

    def of(form: tuple[str, str]) -> st.SearchStrategy[Expr]:
        name, letters = form
        return st.tuples(*(kinds[x] for x in letters)).map(lambda args: applied(name, args))

    return st.sampled_from(sorted(FORMS.items())).flatmap(of)


def applied(function: str, args: tuple[Expr, ...]) -> Expr:
    """Apply a function where it takes such arguments (pads have limits); else give the first."""
    try:
        return call(function, args)
    except Refusal:
        return args[0]


exprs = st.recursive(st.sampled_from(TEXTS), grown, max_leaves=8)
words = st.one_of(st.none(), st.text(st.sampled_from("aaB ßŉ存ΐ"), max_size=6))


@given(expr=exprs, a=words, b=words, n=st.one_of(st.none(), st.integers(-9, 9)))
def test_a_text_is_no_longer_than_is_said(
    expr: Expr, a: str | None, b: str | None, n: int | None
) -> None:
    if expr.type is not STRING:
        return
    said = longest(expr, {1: len(a or ""), 2: len(b or "")})
    if said > 100_000:
        return
    frame = pa.table({"a": pa.array([a], pa.string()), "b": pa.array([b], pa.string())})
    frame = frame.append_column("n", pa.array([n], pa.int32()))
    engine = PublicEngine(database(), dict, {"ab" * 32: frame})
    local = Local("ab" * 32, COLUMNS, ("a", "b", "n"))
    try:
        ((found,),) = engine.evaluate(Project(local, ((Column(9, "x", STRING), expr),)))
    except Refusal:
        return  # No engine makes a text of it.
    assert found is None or len(str(found)) <= said


def test_every_function_that_gives_text_has_a_bound() -> None:
    candidates = [
        [STRING],
        [STRING, STRING],
        [STRING, INTEGER],
        [STRING, STRING, STRING],
        [STRING, INTEGER, STRING],
        [DataType.BOOLEAN, STRING],
    ]
    literals = {STRING: Const("ab", STRING), INTEGER: Const(2, INTEGER)}
    giving: set[str] = set()
    for function in FUNCTIONS:
        for types in candidates:
            args = [literals.get(t, Const(value=True, type=DataType.BOOLEAN)) for t in types]
            try:
                expr = call(function, tuple(args))
            except Refusal:
                continue
            if expr.type is STRING:
                giving.add(function)
                assert longest(expr, {}) >= 0
    assert giving >= {"concat", "repeat", "replace", "lpad", "upper", "when", "greatest"}
