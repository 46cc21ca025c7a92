"""How long patterns can search one unit's texts, over a whole question.

A text that keeps an engine busy would tell of its unit by how long a run takes, so the steps are
bounded from contracts before a row is read.
"""

from collections.abc import Iterable

from privacy.dp.facts import MAX_ROWS_PER_UNIT
from privacy.dp.patterns import like_steps, steps_of
from privacy.dp.plan import Apply, Const, Expr
from privacy.dp.textlength import Lengths, longest
from privacy.errors import Refusal

MAX_STEPS = 100_000_000
"""Steps of all patterns over all rows of one unit: about a second in Java."""

FINDING = ("contains", "instr", "replace")
"""Functions that look for one text in another: at each place all but the end may fit."""

COMPARED_AT_ONCE = 100
"""Characters that they compare in the time of one step (measured in Java)."""


class Searches:
    """What the patterns of one question can take, summed while it is analysed."""

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
            if part.function not in _ADVICE:
                continue
            text, pattern = part.args[:2]
            size = longest(text, lengths)
            if part.function in FINDING:
                steps = size * longest(pattern, lengths) // COMPARED_AT_ONCE
                self._count(part.function, steps, size, rows)
            elif isinstance(pattern, Const) and isinstance(pattern.value, str):
                steps = (steps_of if part.function == "rlike" else like_steps)(pattern.value, size)
                self._count(part.function, steps, size, rows)

    def _count(self, function: str, steps: int, size: int, rows: int | None) -> None:
        rows = MAX_ROWS_PER_UNIT if rows is None else max(rows, 1)
        self.steps += steps * rows
        if self.steps > MAX_STEPS:
            advice, advice_zh = _ADVICE[function]
            raise Refusal(
                "TOO_LARGE",
                f"The patterns of this question could take {self.steps:.1g} steps over one "
                f"unit's rows (this `{function}` {steps:.1g} on each of {rows} texts of {size} "
                f"characters); at most {MAX_STEPS:.0e} are allowed. {advice}",
                f"此问题的模式在一个主体的行上可能需要 {self.steps:.1g} 步"
                f"（此 `{function}` 在 {rows} 条长 {size} 的文本上每条 {steps:.1g} 步），上限为 "
                f"{MAX_STEPS:.0e}。{advice_zh}",
            )


_SHORTER = (
    "Use a shorter pattern, or cut the text with substring.",
    "请缩短模式，或用 substring 截短文本。",
)
_ADVICE = {
    "rlike": (
        "Begin a pattern with ^, use fewer of *, + and ?, cut its text by substring, or use like.",
        "请以 ^ 开头，减少 *、+、?，用 substring 截短文本，或使用 like。",
    ),
    **dict.fromkeys(("like", *FINDING), _SHORTER),
}
