"""A resource of the catalogue as values.

Source of the fields: 政务信息资源目录编制指南(试行), core metadata; grade, lanes, price and waiting
time are added. Texts are data: they are kept exactly as given and never taken for markup.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from marketplace.grading.model import Impact, Lane


class Cycle(StrEnum):
    """How often a resource is brought up to date."""

    REALTIME = "realtime"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    YEARLY = "yearly"
    OTHER = "other"


class Condition(StrEnum):
    """Whether sharing, or opening, is free, on conditions, or not done."""

    UNCONDITIONAL = "unconditional"
    CONDITIONAL = "conditional"
    NOT = "not"


class DataClass(StrEnum):
    """Whom or what a field describes (数据分类); a person's is personal information."""

    ORGANISATION = "organisation"
    PERSONAL = "personal"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Item:
    """One field of a resource."""

    name: str
    title_zh: str
    title_en: str
    logical_type: str
    """An ODCS logical type: string, integer, number, boolean, date or timestamp."""
    unit: str = ""
    impacts: tuple[Impact, ...] = ()
    """The findings that its grade is computed from; none: ungraded, and so closed."""
    reason: str = ""
    data_class: DataClass = DataClass.ORGANISATION


@dataclass(frozen=True, slots=True)
class Resource:
    """What a version of a resource says."""

    code: str
    """Such as `301001/000001`: class, item, sub-class, and a sequence number."""
    title_zh: str
    title_en: str
    provider: str
    """The providing organisation's id in the register of bodies."""
    abstract_zh: str
    abstract_en: str
    theme: str
    update_cycle: Cycle
    share_type: Condition
    open_type: Condition
    items: tuple[Item, ...]
    share_condition: str = ""
    open_condition: str = ""
    format: str = "database"
    lanes: tuple[Lane, ...] = ()
    """Ways of use that the provider offers; the grade may leave fewer."""
    related_codes: tuple[str, ...] = ()
    table_name: str = ""
    """The table of the lab that holds its rows, if there is one."""
    price_fen: int | None = None
    """For one call or answer; None: not priced yet, 0: free."""
    wait_working_days: int | None = None
    """Usual working days from request to grant; None: not known yet."""
    licence: str = ""
    """An http(s) address."""
    registration_no: str = ""
    origin: str = "provider"
    """`synthetic` marks made-up metadata."""

    def __post_init__(self) -> None:
        """Refuse what no page or export could show safely; ValueError says which field."""
        for name in ("title_zh", "title_en", "provider", "theme"):
            if not getattr(self, name):
                raise ValueError(f"{name} is missing")
        for code in (self.code, *self.related_codes):
            if not _CODE.fullmatch(code):
                raise ValueError("a code is six digits, a slash and six digits: 301001/000001")
        for name, text in self.texts().items():
            if fault := fault_of(text):
                raise ValueError(f"{name} {fault}")
        if self.licence and not _WEB.fullmatch(self.licence):
            raise ValueError("licence must be an http or https address without spaces")
        if self.table_name and not _NAME.fullmatch(self.table_name):
            raise ValueError("table_name must be lower-case letters, digits and _")
        for name, most in (("price_fen", MAX_PRICE_FEN), ("wait_working_days", MAX_WAIT)):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= most:
                raise ValueError(f"{name} must be from 0 to {most}")
        self._check_items()

    def _check_items(self) -> None:
        if not 1 <= len(self.items) <= MAX_ITEMS:
            raise ValueError(f"items are {len(self.items)}; from 1 to {MAX_ITEMS} are kept")
        if len({i.name for i in self.items}) != len(self.items):
            raise ValueError("items must have different names")
        for item in self.items:
            if not _NAME.fullmatch(item.name) or item.logical_type not in LOGICAL_TYPES:
                raise ValueError(
                    f"an item needs a lower-case name and a type of {sorted(LOGICAL_TYPES)}"
                )

    @property
    def reasons(self) -> Mapping[str, str]:
        """Return why fields have their grades, as a person wrote it, by field."""
        return {item.name: item.reason for item in self.items if item.reason}

    def with_reasons(self, reasons: Mapping[str, str]) -> "Resource":
        """Return the resource with other reasons; a field without one has none."""
        items = (replace(item, reason=reasons.get(item.name, "")) for item in self.items)
        return replace(self, items=tuple(items))

    def texts(self) -> Mapping[str, str]:
        """Return every text that people write, by the name of its field."""
        own: dict[str, str] = {name: getattr(self, name) for name in _TEXTS}
        for number, item in enumerate(self.items):
            for name in ("title_zh", "title_en", "unit", "reason"):
                own[f"items.{number}.{name}"] = getattr(item, name)
        return own


LOGICAL_TYPES = frozenset({"string", "integer", "number", "boolean", "date", "timestamp"})
MAX_ITEMS = 500
MAX_TEXT = 2_000
MAX_PRICE_FEN = 10**12
MAX_WAIT = 1_000
_CODE = re.compile(r"[0-9]{6}/[0-9]{6}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_WEB = re.compile(r"https?://[A-Za-z0-9.-]{1,200}(:[0-9]{1,5})?(/[A-Za-z0-9._~/?#&=+%-]{0,500})?")
_TEXTS = (
    *("title_zh", "title_en", "provider", "abstract_zh", "abstract_en", "theme"),
    *("share_condition", "open_condition", "format", "registration_no", "origin"),
)


def fault_of(text: str) -> str:
    """Return what is wrong with a text that people write, or nothing.

    Control characters and marks that turn the direction of writing would let one line of a log or
    page pass for another (attack K17); `<` and `=` are ordinary characters.
    """
    if len(text) > MAX_TEXT:
        return f"has {len(text)} characters; at most {MAX_TEXT} are kept"
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text):
        return "holds a control, line or direction mark; write one line of plain text"
    return ""
