"""One SELECT block and what HAVING and ORDER BY may say about it.

HAVING and ORDER BY may use expressions that the select list does not show. Here they become hidden
items, `__sql_0`, `__sql_1`, …, which the filter or sort names and a last `Drop` removes, so that
name resolution sees only columns of the input below. Names are looked up as Spark does: HAVING
takes a grouping key first, then the select list; ORDER BY takes the select list first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from privacy.dp.expr import Alias, Call, Cast, Expression, Literal, Name, SortKey, Star
from privacy.dp.query import Aggregate, Distinct, Drop, Filter, Hint, Query, Select, Sort
from privacy.errors import Refusal
from sandbox.gateway.sql_expr import AGGREGATES, is_aggregate
from sandbox.gateway.sql_tree import RESERVED_PREFIX

HIDDEN = RESERVED_PREFIX + "sql_"


@dataclass(slots=True)
class Block:
    """A SELECT that is still being read: later clauses may add hidden items to its core."""

    core: Select | Aggregate
    wrappers: list[Filter | Distinct | Hint] = field(default_factory=list)
    """What stands above the core, the innermost first; their `child` is filled at the end."""
    hidden: list[Alias] = field(default_factory=list)

    def query(self, order: Sequence[SortKey] = ()) -> Query:
        """Return the finished block, sorted if an order is given, with only its shown columns."""
        result: Query = replace(self.core, items=(*self.core.items, *self.hidden))
        for wrapper in self.wrappers:
            result = replace(wrapper, child=result)
        if order:
            result = Sort(result, tuple(order))
        if self.hidden:
            result = Drop(result, tuple(Name((item.name,)) for item in self.hidden))
        return result

    def having(self, condition: Expression) -> None:
        """Filter the groups."""
        rewritten = _Rewriter(self, keys_first=True).rewrite(condition)
        self.wrappers.append(Filter(self.core, rewritten))

    def sort(self, keys: Sequence[tuple[SortKey, int | None]]) -> Query:
        """Return the block in this order."""
        order = []
        for key, position in keys:
            operand: Expression
            if position is not None:
                operand = self._shown(item_at(self.core.items, position, "ORDER BY"))
            else:
                operand = _Rewriter(self, keys_first=False).rewrite(key.operand)
            order.append(replace(key, operand=operand))
        return self.query(order)

    def reference(self, expression: Expression) -> Name:
        """Return a hidden column with this value."""
        for item in self.hidden:
            if item.operand == expression:
                return Name((item.name,))
        if any(isinstance(wrapper, Distinct) for wrapper in self.wrappers):
            raise Refusal(
                "UNSUPPORTED",
                "With SELECT DISTINCT, ORDER BY can use only columns of the select list.",
                "SELECT DISTINCT 之后，ORDER BY 只能使用选择列表中的列。",
            )
        name = f"{HIDDEN}{len(self.hidden)}"
        self.hidden.append(Alias(expression, name))
        return Name((name,))

    def _shown(self, item: Expression) -> Name:
        """Return a name for an item of the select list."""
        name = output_name(item)
        if (
            name is not None
            and not self.has_star
            and sum(same(n or "", name) for n in self.names) == 1
        ):
            return Name((name,))
        return self.reference(item.operand if isinstance(item, Alias) else item)

    @property
    def names(self) -> list[str | None]:
        """Names of the shown columns, None where Spark invents one."""
        return [output_name(item) for item in self.core.items]

    def is_unique(self, name: str) -> bool:
        """Whether exactly one shown column has this name."""
        return not self.has_star and sum(same(n or "", name) for n in self.names) == 1

    @property
    def has_star(self) -> bool:
        """Whether the select list shows columns that the text does not name."""
        return any(isinstance(item, Star) for item in self.core.items)


@dataclass(frozen=True, slots=True)
class _Rewriter:
    """Puts output names and hidden columns into an expression of HAVING or ORDER BY."""

    block: Block
    keys_first: bool

    def rewrite(self, expression: Expression) -> Expression:
        """Return the expression over the columns of the block's output."""
        block = self.block
        keys = block.core.keys if isinstance(block.core, Aggregate) else ()
        if isinstance(expression, Name):
            return self._name(expression, keys)
        if any(alike(expression, key) for key in keys):
            return self._item(expression)
        match expression:
            case Call(function) if function in AGGREGATES:
                return self._item(expression)
            case Call(function, args, distinct):
                return Call(function, tuple(map(self.rewrite, args)), distinct)
            case Cast(operand, type_):
                return Cast(self.rewrite(operand), type_)
            case _:
                return expression

    def _name(self, name: Name, keys: Sequence[Expression]) -> Expression:
        is_key = any(_may_be(name, key) for key in keys)
        if self.keys_first and is_key:
            alias = self._defining(name, keys)
            return self._item(name) if alias is None else Name((alias.name,))
        shown = [n for n in self.block.names if n and same(n, name.parts[-1])]
        if len(name.parts) == 1 and shown:
            # Several of one name: the resolver says that it is ambiguous.
            return Name((shown[0],))
        if self.block.has_star and not keys:
            return name
        return self._item(name)

    def _defining(self, name: Name, keys: Sequence[Expression]) -> Alias | None:
        """Return the item that a key of this name must mean: `year(d) AS y … GROUP BY y`.

        Spark takes a column of the input first. An item over an input column that is no key is
        valid only where it is itself the key, so there the input has no column of that name.
        """
        for item in self.block.core.items:
            if not isinstance(item, Alias) or not self.block.is_unique(item.name):
                continue
            ungrouped = [n for n in _names(item) if not any(_may_be(n, key) for key in keys)]
            if len(name.parts) == 1 and same(item.name, name.parts[0]) and ungrouped:
                return None if is_aggregate(item) else item
        return None

    def _item(self, expression: Expression) -> Name:
        """Return the shown column with this value, else a hidden one."""
        for item in self.block.core.items:
            operand = item.operand if isinstance(item, Alias) else item
            name = output_name(item)
            if name and alike(operand, expression) and self.block.is_unique(name):
                return Name((name,))
        return self.block.reference(expression)


def aggregate_keys(
    keys: Sequence[tuple[Expression, int | None]], items: Sequence[Expression]
) -> tuple[Expression, ...]:
    """Return grouping keys with ordinals (`GROUP BY 1`) replaced by what they name."""
    result = []
    for key, position in keys:
        if position is None:
            result.append(key)
            continue
        item = item_at(items, position, "GROUP BY")
        if is_aggregate(item):
            raise Refusal(
                "UNSUPPORTED",
                f"GROUP BY {position} names an aggregate; group by columns or expressions of them.",
                f"GROUP BY {position} 指向聚合函数；请按列或列的表达式分组。",
            )
        result.append(item.operand if isinstance(item, Alias) else item)
    return tuple(result)


def item_at(items: Sequence[Expression], position: int, clause: str) -> Expression:
    """Return the item that an ordinal names; Refusal if it is outside or its place is unknown."""
    before = items[:position]
    if not 1 <= position <= len(items) or any(isinstance(item, Star) for item in before):
        raise Refusal(
            "UNSUPPORTED",
            f"{clause} {position} does not name one of the {len(items)} written items of the "
            "select list; write the column's name.",
            f"{clause} {position} 未指向选择列表中明确写出的 {len(items)} 项之一；请写列名。",
        )
    return items[position - 1]


def output_name(item: Expression) -> str | None:
    """Return the name that an item of a select list shows, None if the text gives it none."""
    match item:
        case Alias(_, name):
            return name
        case Name(parts):
            return parts[-1]
        case _:
            return None


def same(left: str, right: str) -> bool:
    """Whether two names are the same to Spark, which ignores case."""
    return left.lower() == right.lower()


def alike(left: Expression, right: Expression) -> bool:
    """Whether two expressions are equal but for the case of names."""
    match left, right:
        case Name(), Name():
            return [p.lower() for p in left.parts] == [p.lower() for p in right.parts]
        case Literal(), Literal():
            # `1 == True == 1.0` in Python.
            return left == right and type(left.value) is type(right.value)
        case Call(), Call():
            return (
                (left.function, left.distinct) == (right.function, right.distinct)
                and len(left.args) == len(right.args)
                and all(map(alike, left.args, right.args))
            )
        case Cast(), Cast():
            return left.type == right.type and alike(left.operand, right.operand)
        case _:
            return left == right


def _names(expression: Expression) -> list[Name]:
    """Return the names in an expression."""
    match expression:
        case Name():
            return [expression]
        case Call(_, args):
            return [name for arg in args for name in _names(arg)]
        case Cast(operand) | Alias(operand):
            return _names(operand)
        case _:
            return []


def _may_be(name: Name, key: Expression) -> bool:
    """Whether a name may stand for a grouping key: `g` for `t.g`; the resolver decides."""
    if not isinstance(key, Name):
        return False
    return alike(name, key) or (len(name.parts) == 1 and same(name.parts[0], key.parts[-1]))
