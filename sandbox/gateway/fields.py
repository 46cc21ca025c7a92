"""Read a protobuf message so that nothing in it can be overlooked.

`Fields` hands out each field that the sender set; whoever translates a message takes what it
understands, and a field that nobody took is a refusal, never dropped.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, TypeVar

from google.protobuf.message import Message

from privacy.errors import Refusal
from sandbox.gateway.wire import too_large

Source = TypeVar("Source")
Result = TypeVar("Result")

MAX_NAME: Final = 255
"""Characters of a name of a column, table or view."""

Step = tuple[Sequence[Source], Callable[[list[Result]], Result]]
"""The inputs of one node, and how to build it from what its inputs became."""


class Fields:
    """The fields of one message that are still to be taken."""

    def __init__(self, message: Message, kind: str) -> None:
        """Read `message`; `kind` is what a refusal calls it."""
        self.kind = kind
        self._left: dict[str, Any] = {field.name: value for field, value in message.ListFields()}

    def take(self, name: str, default: Any = None) -> Any:  # noqa: ANN401  # any field type
        """Return a field, or `default` where the sender left it out."""
        return self._left.pop(name, default)

    def need(self, name: str) -> Any:  # noqa: ANN401  # any field type
        """Return a field without which the message says nothing."""
        if name not in self._left:
            incomplete(self.kind, name)
        return self._left.pop(name)

    def text(self, name: str) -> str:
        """Return a string field that must be there and may not hold control characters."""
        return check_text(str(self.need(name)))

    def require(self, name: str, *allowed: object) -> None:
        """Take a field and refuse the message unless it is unset or has one of these values."""
        if name in self._left and self._left.pop(name) not in allowed:
            refuse_field(self.kind, name)

    def finish(self) -> None:
        """Refuse the message if a field is left."""
        for name in self._left:
            refuse_field(self.kind, name)


def fold(root: Source, expand: Callable[[Source], Step[Source, Result]], limit: int) -> Result:
    """Build a tree bottom up without recursion; refuse one nested deeper than `limit`."""
    results: list[Result] = []
    todo: list[tuple[Source | None, Callable[[list[Result]], Result] | None, int]]
    todo = [(root, None, 0)]
    while todo:
        source, build, number = todo.pop()
        if build is not None:
            # `number` is how many inputs the node has: they are the newest results.
            cut = len(results) - number
            results[cut:] = [build(results[cut:])]
        elif source is not None:
            if number > limit:
                raise too_large(f"nesting up to {limit} deep", f"嵌套至多 {limit} 层")
            inputs, make = expand(source)
            todo.append((None, make, len(inputs)))
            todo += [(each, None, number + 1) for each in reversed(inputs)]
    return results[0]


def check_text(text: str) -> str:
    """Return a name; refuse control characters, which would corrupt messages and tables."""
    if len(text) > MAX_NAME or any(ord(c) < 0x20 or ord(c) == 0x7F for c in text):  # noqa: PLR2004
        raise Refusal(
            "UNSUPPORTED",
            f"A name holds control characters or more than {MAX_NAME} characters; choose another.",
            f"名称含有控制字符或超过 {MAX_NAME} 个字符，请换用其他名称。",
        )
    return text


def refuse_field(kind: str, name: str) -> NoReturn:
    """Refuse an option of a message that is otherwise supported."""
    raise Refusal(
        "UNSUPPORTED",
        f"`{kind}` with `{name}` is not supported here; leave that option out.",
        f"此处不支持 `{kind}` 的 `{name}` 选项，请去掉该选项。",
    )


def incomplete(kind: str, name: str) -> NoReturn:
    """Refuse a message that lacks a part."""
    raise Refusal(
        "UNSUPPORTED",
        f"`{kind}` lacks its `{name}`. Use an unmodified PySpark client.",
        f"`{kind}` 缺少 `{name}`。请使用未修改的 PySpark 客户端。",
    )
