r"""Literal patterns: the part of `like` and of regular expressions on which all engines agree.

`rlike` patterns are parsed and written anew: RE2 (DuckDB) takes linear time and knows no
look-around, Java (Spark) backtracks and could take exponential time or overflow its stack, so an
unbounded repetition stands only on a single character, at most three times, and groups repeat a
bounded number of times. `.`, `$` and `\s` are written as the characters that Java means by them.
What backtracking could take on the longest possible text is counted before a row is read: nobody
learns of a text by how long a run takes.
"""

import math
from dataclasses import dataclass

from privacy.errors import Refusal

MAX_UNBOUNDED = 3
"""Unbounded repetitions in one pattern: backtracking stays polynomial of low degree."""

MAX_BOUND = 100
"""Largest count in `{m,n}`; 10 for groups."""

MAX_GROUP_BOUND = 10

MAX_NESTED = 1000
"""Product of the counts of repetitions inside each other: RE2 takes no more."""

MAX_WRITTEN = 50_000
"""Characters of a pattern with its bounded repetitions written out: RE2 compiles them like that,
within 8 MB (https://github.com/google/re2/blob/main/re2/re2.h, `max_mem`)."""

MOST_CHOICES = 10**12
"""Where counting of choices stops."""

LATIN = "\xff"
"""Last character for which Java has a table of its own in each class."""

LINE_BREAKS = "\\n\\r\\x{85}\\x{2028}\\x{2029}"
"""Characters that Java's `.` does not match."""

_CLASSES = {"d": "0-9", "w": "a-zA-Z0-9_", "s": " \\t\\n\\x0B\\f\\r"}
_CONTROLS = {"t": "\\t", "n": "\\n", "r": "\\r", "f": "\\f"}
_SPECIAL = frozenset("\\^$.|?*+()[]{}")


def like_is_valid(pattern: str) -> bool:
    """Whether every escape character stands before `%`, `_` or itself, as Spark demands."""
    position = 0
    while position < len(pattern):
        if pattern[position] == "\\":
            if pattern[position + 1 : position + 2] not in ("%", "_", "\\"):
                return False
            position += 1
        position += 1
    return True


def like_for_java(pattern: str) -> str:
    r"""Return a Java expression, to be searched for, that does what the valid `like` pattern does.

    The first place where a segment between two `%` fits is as good as any later one, so it is never
    taken back: time is linear in the text, where a `.*` for each `%` could take any power of it.

    >>> like_for_java("a%b_%c")
    '(?s)\\Aa(?>.*?b.).*c\\z'
    """
    segments, position = [""], 0
    while position < len(pattern):
        char = pattern[position]
        if char == "%":
            segments.append("")
        elif char == "_":
            segments[-1] += "."
        else:
            position += char == "\\"
            segments[-1] += _verbatim(pattern[position])
        position += 1
    first, *others = segments
    if not others:
        return f"(?s)\\A{first}\\z"
    between = "".join(f"(?>.*?{each})" for each in others[:-1] if each)
    last = f".*{others[-1]}\\z" if others[-1] else ""
    return f"(?s)\\A{first}{between}{last}"


def like_steps(pattern: str, longest: int) -> int:
    """Return how long a search of a text of `longest` characters can take, in steps of `rlike`.

    At each place of the text all but the end of a segment may fit; comparing two characters takes
    about a tenth of such a step.
    """
    widest = max(map(len, pattern.split("%")))
    return -(-(longest + 1) * max(widest, 1) // 10)


def _verbatim(char: str) -> str:
    return f"\\{char}" if char.isascii() and not char.isalnum() else char


def translated(pattern: str) -> str:
    """Return a pattern that means the same in RE2 and Java; raise `Refusal` for anything else."""
    return _parsed(pattern)[0]


def steps_of(pattern: str, longest: int) -> int:
    """Return how many steps a search of a text of `longest` characters can take by backtracking."""
    _, parser = _parsed(pattern)
    cuts = parser.unbounded if parser.anchored else parser.unbounded + 1
    ways: int = -(-((longest + 1) ** cuts) // math.factorial(cuts)) * parser.choices
    return ways * max(parser.atoms, 1)


def _parsed(pattern: str) -> tuple[str, "_Parser"]:
    parser = _Parser(pattern)
    text = parser.alternatives(top=True)
    if parser.position != len(pattern):
        raise parser.refused("an unmatched `)`", "多余的 `)`")
    return text, parser


@dataclass(frozen=True, slots=True)
class _Item:
    """What may be repeated: its size written out, its comparisons, the ways through it."""

    written: int
    atoms: int
    choices: int


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.position = 0
        self.unbounded = 0
        self.written = 0
        """Characters so far of the pattern, its repetitions written out."""
        self.nested = 1
        """Largest product of counts so far, within the innermost open group."""
        self.atoms = 0
        """Comparisons with one character so far, repetitions written out."""
        self.choices = 1
        """Ways through the innermost open branch so far, those of `*` and `+` apart."""
        self.anchored = True
        """Whether every branch so far begins with `^`."""

    def refused(self, en: str, zh: str) -> Refusal:
        return Refusal(
            "UNSUPPORTED",
            f"This `rlike` pattern holds {en} at character {self.position + 1}. Characters, "
            "classes "
            "like [a-z0-9] and \\d, groups, | and repetitions of single characters are supported.",
            f"该 `rlike` 模式在第 {self.position + 1} 个字符处含有{zh}。"
            "支持普通字符、[a-z0-9] 与 \\d 等字符类、分组、| 以及对单个字符的重复。",
        )

    def peek(self) -> str:
        return self.pattern[self.position : self.position + 1]

    def take(self) -> str:
        char = self.peek()
        self.position += 1
        return char

    def alternatives(self, *, top: bool) -> str:
        branches, choices = [], 0
        while True:
            self.choices = 1
            branches.append(self.branch(top=top))
            choices += self.choices
            if self.peek() != "|":
                break
            self.take()
        self.choices = min(choices, MOST_CHOICES)
        return "|".join(branches)

    def branch(self, *, top: bool) -> str:
        text = ""
        if top and self.peek() != "^":
            self.anchored = False
        while self.peek() not in ("", "|", ")"):
            char = self.peek()
            if char == "^":
                self.take()
                if text or not top:
                    raise self.refused("`^` inside the pattern", "位于中间的 `^`")
                text += "^"
            elif char == "$":
                self.take()
                if self.peek() not in ("", "|") or not top:
                    raise self.refused("`$` inside the pattern", "位于中间的 `$`")
                # Java lets one final line break follow the place where `$` stands.
                text += f"(?:\\r\\n|[{LINE_BREAKS}])?\\z"
            elif char == "(":
                text += self.group()
            else:
                atom, nested = self.atom(), self.nested
                self.nested = 1
                # Java looks at the wide characters of a class one after the other.
                looks = 1 + sum(char > LATIN for char in atom)
                text += self.repeated(atom, _Item(len(atom), looks, 1), single=True)
                self.nested = max(self.nested, nested)
        return text

    def group(self) -> str:
        self.take()
        if self.peek() == "?":
            self.take()
            if self.take() != ":":
                raise self.refused("an option or look-around `(?`", "选项或环视 `(?`")
        before, written, nested = self.unbounded, self.written, self.nested
        atoms, choices = self.atoms, self.choices
        self.nested = 1
        body = self.alternatives(top=False)
        if self.take() != ")":
            raise self.refused("a group that is not closed", "未闭合的分组")
        open_inside = self.unbounded > before
        item = _Item(self.written - written, self.atoms - atoms, self.choices)
        self.written, self.atoms, self.choices = written, atoms, choices
        text = self.repeated(f"(?:{body})", item, single=False, open_inside=open_inside)
        self.nested = max(self.nested, nested)
        return text

    def atom(self) -> str:
        char = self.take()
        if char == ".":
            return f"[^{LINE_BREAKS}]"
        if char == "[":
            return self.character_class()
        if char == "\\":
            escaped = self.take()
            if escaped in _CLASSES:
                return f"[{_CLASSES[escaped]}]"
            if escaped.lower() in _CLASSES:
                return f"[^{_CLASSES[escaped.lower()]}]"
            return self.escaped(escaped)
        if char in _SPECIAL:
            raise self.refused(f"`{char}` in a place without meaning", f"位置无意义的 `{char}`")
        return self.plain(char)

    def escaped(self, char: str) -> str:
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "" or char.isalnum() or ord(char) > 126 or ord(char) < 32:  # noqa: PLR2004 - ASCII
            raise self.refused("an escape without common meaning", "含义不统一的转义")
        return "\\" + char

    def plain(self, char: str) -> str:
        if char == "\0":
            raise self.refused("a zero character", "零字符")
        return char

    def character_class(self) -> str:
        text = "["
        if self.peek() == "^":
            text += self.take()
        empty = True
        while self.peek() != "]" or empty:
            char = self.take()
            empty = False
            if char == "\\":
                escaped = self.take()
                text += _CLASSES[escaped] if escaped in _CLASSES else self.escaped(escaped)
            elif char in ("", "[", "]", "&", "^"):
                raise self.refused(
                    "a character class that engines read differently", "各引擎理解不同的字符类"
                )
            elif char == "-":
                # A range needs both ends; a lone hyphen is written with an escape.
                text += "-" if self.range_ends(text) else "\\-"
            else:
                text += self.plain(char)
        self.take()
        return text + "]"

    def range_ends(self, text: str) -> bool:
        before, after = self.pattern[self.position - 2], self.peek()
        if text in ("[", "[^") or after == "]":
            return False
        if not (before.isalnum() and after.isalnum() and before <= after):
            raise self.refused(
                "a range that is not between letters or digits", "非字母数字之间的范围"
            )
        return True

    def repeated(self, atom: str, item: "_Item", *, single: bool, open_inside: bool = False) -> str:
        char = self.peek()
        if char not in ("*", "+", "?", "{"):
            self.count(item, 1, 1)
            return atom
        self.take()
        low = high = 1
        if char == "?":
            text, low = "?", 0
        elif char in ("*", "+"):
            if not single:
                raise self.refused("an unbounded repetition of a group", "对分组的无界重复")
            self.count_unbounded()
            text = char
        else:
            text, low, high = self.bounds(single=single)
            if open_inside:
                raise self.refused("nested repetitions", "嵌套的重复")
        if self.peek() == "?":
            self.take()  # Reluctant or greedy: the same answer to "is there a match".
        if self.peek() in ("*", "+", "?", "{"):
            raise self.refused("a repetition of a repetition", "重复的重复")
        self.count(item, low, high)
        return atom + text

    def count(self, item: "_Item", low: int, high: int) -> None:
        """Count an item that stands from `low` to `high` times."""
        ways = sum(item.choices**times for times in range(low, high + 1))
        self.choices = min(self.choices * ways, MOST_CHOICES)
        self.nested *= max(high, 1)
        self.written += item.written * max(high, 1)
        self.atoms += item.atoms * max(high, 1)
        if self.nested > MAX_NESTED:
            raise self.refused(
                f"nested repetitions of more than {MAX_NESTED}",
                f"总计超过 {MAX_NESTED} 次的嵌套重复",
            )
        if self.written > MAX_WRITTEN:
            raise self.refused(
                f"more than {MAX_WRITTEN} characters with repetitions written out",
                f"重复展开后超过 {MAX_WRITTEN} 个字符的内容",
            )

    def count_unbounded(self) -> None:
        self.unbounded += 1
        if self.unbounded > MAX_UNBOUNDED:
            raise self.refused(
                f"more than {MAX_UNBOUNDED} of `*` and `+`", f"多于 {MAX_UNBOUNDED} 个 `*`、`+`"
            )

    def bounds(self, *, single: bool) -> tuple[str, int, int]:
        end = self.pattern.find("}", self.position)
        text = self.pattern[self.position : end] if end >= 0 else ""
        low, comma, high = text.partition(",")
        limit = MAX_BOUND if single else MAX_GROUP_BOUND
        numbers = [n for n in (low, high) if n]
        if not low or not all(n.isascii() and n.isdigit() and int(n) <= limit for n in numbers):
            raise self.refused(
                f"a count that is not between 0 and {limit}", f"不在 0 到 {limit} 之间的次数"
            )
        if high and int(high) < int(low):
            raise self.refused("a count whose ends are reversed", "上下限颠倒的次数")
        self.position = end + 1
        if comma and not high:
            if not single:
                raise self.refused("an unbounded repetition of a group", "对分组的无界重复")
            self.count_unbounded()
        return "{" + text + "}", int(low), int(high or low)
