"""Read a Catalyst syntax tree so that nothing in it can be overlooked.

`Reader.node` hands out each node once, as `Fields`. Whoever translates a node takes every field it
understands and requires the rest to have their defaults; a field or a subtree that nobody took is a
refusal. So a clause that Spark's grammar gains in a later version is refused, never dropped.
"""

import json
from collections.abc import Callable, Collection
from typing import Any, NoReturn, TypeVar

from privacy.errors import Refusal

Json = dict[str, Any]
Result = TypeVar("Result")

CATALYST = "org.apache.spark.sql.catalyst."
RESERVED_PREFIX = "__"
"""Names of the lab's own columns start so (`__unit`, `__rank`); no text may name them."""


class Fields:
    """One node: its class and the fields that are still to be taken."""

    def __init__(self, reader: "Reader", node: Json, tags: Collection[str]) -> None:
        """Refuse a node with parts that no class has, or with tags that are not expected."""
        self._reader = reader
        self.kind = class_name(node)
        self._left = dict(_object(node.get("fields"), self.kind))
        self._others: list[Any] = _array(node.get("others", []), self.kind)
        extra = node.keys() - {"class", "fields", "others", "tags"}
        if extra or any(tag not in tags for tag in _array(node.get("tags", []), self.kind)):
            refuse(self.kind)

    def take(self, name: str) -> Any:  # noqa: ANN401  # JSON
        """Return a field, whatever it holds."""
        if name not in self._left:
            refuse(self.kind)
        return self._left.pop(name)

    def text(self, name: str) -> str:
        """Return a field that holds a string."""
        return _string(self.take(name), self.kind)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a field that holds a list of strings."""
        return tuple(_string(value, self.kind) for value in self.array(name))

    def array(self, name: str) -> list[Any]:
        """Return a field that holds a list."""
        return _array(self.take(name), self.kind)

    def second_list(self) -> list[Any]:
        """Return the arguments that the class takes in a second list."""
        others, self._others = self._others, []
        return others

    def flag(self, name: str) -> bool:
        """Return a field that holds true or false."""
        value = self.take(name)
        if not isinstance(value, bool):
            refuse(self.kind)
        return value

    def index(self, name: str) -> int:
        """Return a field that refers to a node."""
        return self.reference(self.take(name))

    def optional_index(self, name: str) -> int | None:
        """Return a field that refers to a node or is empty."""
        value = self.take(name)
        return None if value is None else self.reference(value)

    def indexes(self, name: str) -> list[int]:
        """Return a field that holds a list of references to nodes."""
        return [self.reference(value) for value in self.array(name)]

    def product(self, value: object) -> tuple[str, Json]:
        """Return class and fields of a value that is no node, such as a join type."""
        node = _object(value, self.kind)
        if node.keys() != {"class", "fields"}:
            refuse(self.kind)
        return class_name(node), _object(node["fields"], self.kind)

    def reference(self, value: object) -> int:
        """Return the index in a reference to a node."""
        node = _object(value, self.kind)
        if node.keys() != {"node"} or type(node["node"]) is not int:
            refuse(self.kind)
        return int(node["node"])

    def require(self, name: str, *defaults: object) -> None:
        """Take a field and refuse the node unless it has one of these values."""
        # Compared as text: in Python `0 == False`, also inside of lists.
        if json.dumps(self.take(name)) not in map(json.dumps, defaults):
            refuse(self.kind)

    def finish(self) -> None:
        """Refuse the node if a field is left, or an argument of its second list."""
        if self._left or self._others:
            refuse(self.kind)


Handler = Callable[[Fields], Result]


class Reader:
    """A tree of which every node must be read, exactly once."""

    def __init__(self, nodes: list[Json]) -> None:
        """Read from `SyntaxTree.java`'s list of nodes, the root first."""
        self._nodes = nodes
        self._read: set[int] = set()

    def node(
        self, index: int, handlers: dict[str, Handler[Result]], tags: Collection[str] = ()
    ) -> Result:
        """Return what the handler of the node's class makes of it; refuse a class without one."""
        fields = self.fields(index, tags)
        handler = handlers.get(fields.kind)
        if handler is None:
            refuse(fields.kind)
        result = handler(fields)
        fields.finish()
        return result

    def fields(self, index: int, tags: Collection[str] = ()) -> Fields:
        """Return a node to be read now; refuse one that does not exist or was read before."""
        if not 0 <= index < len(self._nodes) or index in self._read:
            refuse("tree")
        self._read.add(index)
        return Fields(self, self._nodes[index], tags)

    def kind(self, index: int) -> str:
        """Return a node's class without reading it."""
        if not 0 <= index < len(self._nodes):
            refuse("tree")
        return class_name(self._nodes[index])

    def values(self, kind: str, name: str) -> list[object]:
        """Return what a field holds in all nodes of a class, without reading them."""
        nodes = [node for node in self._nodes if class_name(node) == kind]
        return [_object(node.get("fields"), kind).get(name) for node in nodes]

    def finish(self) -> None:
        """Refuse the tree if a node was not read."""
        for index in range(len(self._nodes)):
            if index not in self._read:
                refuse(self.kind(index))


def class_name(node: Json) -> str:
    """Return a class as the tables of handlers name it: without the prefix of Catalyst."""
    return _string(_object(node, "tree").get("class"), "tree").removeprefix(CATALYST)


def name_parts(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return a column's or table's name, refusing more than two parts and the lab's own names."""
    if not parts or len(parts) > 2:  # noqa: PLR2004  # qualifier and name
        raise Refusal(
            "UNSUPPORTED",
            f"The name {'.'.join(parts)} has {len(parts)} parts; write `table.column` or `column`.",
            f"名称 {'.'.join(parts)} 有 {len(parts)} 段；请写成 `表.列` 或 `列`。",
        )
    for part in parts:
        check_name(part)
    return parts


def check_name(name: str) -> str:
    """Return a name that a text may use; refuse the lab's own."""
    if name.startswith(RESERVED_PREFIX):
        raise Refusal(
            "UNKNOWN_COLUMN",
            f"Names that start with `{RESERVED_PREFIX}` are reserved; choose another.",
            f"以 `{RESERVED_PREFIX}` 开头的名称为系统保留，请换用其他名称。",
        )
    return name


def refuse(kind: str) -> NoReturn:
    """Refuse a class of syntax by its name, with the nearest allowed form where there is one."""
    short = kind.rpartition(".")[2].rstrip("$")
    en, zh = _NEAREST.get(
        short, ("Use the supported subset of SELECT.", "请使用受支持的 SELECT 子集。")
    )
    raise Refusal(
        "UNSUPPORTED",
        f"SQL `{short}` is not supported here. {en}",
        f"此处不支持 SQL `{short}`。{zh}",
    )


def _object(value: object, kind: str) -> Json:
    if not isinstance(value, dict):
        refuse(kind)
    return value


def _array(value: object, kind: str) -> list[Any]:
    if not isinstance(value, list):
        refuse(kind)
    return value


def _string(value: object, kind: str) -> str:
    if not isinstance(value, str):
        refuse(kind)
    return value


_SELECT = ("Use the supported subset of SELECT.", "请使用受支持的 SELECT 子集。")
_SUBQUERY = (
    "Compute the inner question first, or write a LEFT SEMI or LEFT ANTI join.",
    "请先计算内层查询，或改写为 LEFT SEMI 或 LEFT ANTI 连接。",
)
_ONLY_QUESTIONS = (
    "Write SELECT, or use `spark.conf.set` and `spark.catalog.listTables()`.",
    "请写 SELECT，或使用 `spark.conf.set` 与 `spark.catalog.listTables()`。",
)
_WINDOW = (
    "Aggregate with GROUP BY, then join the answer back.",
    "请改用 GROUP BY 汇总，再与结果连接。",
)
_PIPE = (
    "Write it as SELECT … FROM … WHERE … GROUP BY ….",
    "请改写为 SELECT … FROM … WHERE … GROUP BY …。",
)
_ROWS = (
    "Make a small public table with `spark.createDataFrame` and register it as a view.",
    "请用 `spark.createDataFrame` 创建公开小表并注册为视图。",
)
_VERSION = ("The current version of a table is the only one to ask.", "只能查询数据表的当前版本。")
_PIVOT = (
    "Use `groupBy(...).pivot(column, values)`, or one sum(CASE WHEN …) per value.",
    "请用 `groupBy(...).pivot(列, 取值)`，或对每个取值写 sum(CASE WHEN …)。",
)
_NEAREST: dict[str, tuple[str, str]] = {
    "ScalarSubquery": _SUBQUERY,
    "Exists": _SUBQUERY,
    "InSubquery": _SUBQUERY,
    "ListQuery": _SUBQUERY,
    "LateralJoin": _SUBQUERY,
    "LateralSubquery": _SUBQUERY,
    "WindowExpression": _WINDOW,
    "UnresolvedWindowExpression": _WINDOW,
    "WithWindowDefinition": _WINDOW,
    "UnresolvedQualify": _WINDOW,
    "PipeOperator": _PIPE,
    "PipeExpression": _PIPE,
    "LocalRelation": _ROWS,
    "UnresolvedInlineTable": _ROWS,
    "OneRowRelation": ("Add a FROM clause.", "请添加 FROM 子句。"),
    "RelationTimeTravel": _VERSION,
    "Pivot": _PIVOT,
    "Sample": (
        "All rows are used; the noise is what protects them.",
        "查询使用全部行，由噪声提供保护。",
    ),
    "SetCommand": _ONLY_QUESTIONS,
    "ResetCommand": _ONLY_QUESTIONS,
    "ShowTables": _ONLY_QUESTIONS,
    "ShowColumns": _ONLY_QUESTIONS,
    "DescribeRelation": (
        "Use `spark.table(name).printSchema()`.",
        "请用 `spark.table(name).printSchema()`。",
    ),
    "ExplainCommand": ("Use `spark.sql(…).explain()`.", "请用 `spark.sql(…).explain()`。"),
    "Intersect": ("Use a LEFT SEMI join.", "请用 LEFT SEMI 连接。"),
    "Except": ("Use a LEFT ANTI join.", "请用 LEFT ANTI 连接。"),
    "NaturalJoin": ("Name the columns with USING.", "请用 USING 写明列名。"),
}
