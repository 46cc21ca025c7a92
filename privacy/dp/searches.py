"""How long regular expressions can search one unit's texts, over a whole question.

A text that keeps an engine busy would tell of its unit by how long a run takes, so the steps are
bounded from contracts before a row is read.
"""

from collections.abc import Iterable

from privacy.dp.facts import MAX_ROWS_PER_UNIT
from privacy.dp.patterns import steps_of
from privacy.dp.plan import Apply, Const, Expr
from privacy.dp.textlength import Lengths, longest
from privacy.errors import Refusal

MAX_STEPS = 100_000_000
"""Steps of all regular expressions over all rows of one unit: about a second in Java."""


class Searches:
    """What the regular expressions of one question can take, summed while it is analysed."""

    def __init__(self) -> None:
        """Begin with none."""
        self.steps = 0

    def add(self, exprs: Iterable[Expr], lengths: Lengths, rows: int | None) -> None:
        """Count what these take over `rows` rows; raise `Refusal(TOO_LARGE)` above the limit."""
        pending = list(exprs)
        while pending:
            part = pending.pop()
            if not isinstance(part, Apply):
                continue
            pending.extend(part.args)
            if part.function == "rlike":
                text, pattern = part.args
                if isinstance(pattern, Const) and isinstance(pattern.value, str):
                    size = longest(text, lengths)
                    self._count(steps_of(pattern.value, size), size, rows)

    def _count(self, steps: int, size: int, rows: int | None) -> None:
        rows = MAX_ROWS_PER_UNIT if rows is None else max(rows, 1)
        self.steps += steps * rows
        if self.steps > MAX_STEPS:
            raise Refusal(
                "TOO_LARGE",
                f"The `rlike` patterns of this question could take {self.steps:.1g} steps over one "
                f"unit's rows (this one {steps:.1g} on each of {rows} texts of {size} characters); "
                f"at most {MAX_STEPS:.0e} are allowed. Begin a pattern with ^, use fewer of *, + "
                "and ?, cut the text with substring(name, 1, 100), or use like.",
                f"此问题的 `rlike` 模式在一个主体的行上可能需要 {self.steps:.1g} 步"
                f"（此模式在 {rows} 条长 {size} 的文本上每条 {steps:.1g} 步），上限为 "
                f"{MAX_STEPS:.0e}。请以 ^ 开头，减少 *、+、?，"
                "用 substring(name, 1, 100) 截短文本，或使用 like。",
            )
