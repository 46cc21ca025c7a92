"""Made-up metadata of a city's catalogue, for demos and measurements: titles and fields, no rows.

The same seed gives the same catalogue. Every resource says `origin: synthetic`.
"""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from marketplace.catalogue.model import Condition, Cycle, Item, Resource
from marketplace.grading.model import Degree, Impact, ImpactObject, Lane, Level

_AREAS = (
    *(("全市", "City-wide"), ("市南区", "Shinan"), ("市北区", "Shibei"), ("黄岛区", "Huangdao")),
    *(("崂山区", "Laoshan"), ("李沧区", "Licang"), ("城阳区", "Chengyang"), ("即墨区", "Jimo")),
    *(("胶州市", "Jiaozhou"), ("平度市", "Pingdu"), ("莱西市", "Laixi")),
)
_KINDS = (
    *(("明细", "details"), ("汇总", "summary"), ("统计月报", "monthly statistics")),
    *(("变更记录", "change records"), ("历史归档", "archive"), ("名录", "register")),
)
_FIELDS = (
    *(("uscc", "统一社会信用代码", "Unified social credit code", "string"),),
    *(("ent_name", "企业名称", "Enterprise name", "string"),),
    *(("district_code", "行政区划代码", "Division code", "string"),),
    *(("industry_code", "行业代码", "Industry code", "string"),),
    *(("period", "所属期", "Period", "integer"), ("amount", "金额", "Amount", "number")),
    *(("status", "状态", "Status", "string"), ("valid_until", "有效期至", "Valid until", "date")),
    *(("doc_no", "文书编号", "Document number", "string"), ("count", "数量", "Count", "integer")),
    *(("issued_by", "发证机关", "Issuing body", "string"), ("score", "评分", "Score", "number")),
    *(("event_date", "发生日期", "Date of event", "date"), ("flag", "标志", "Flag", "boolean")),
)
_HARM = {
    Level.G1: Degree.NONE,
    Level.G2: Degree.GENERAL,
    Level.G3: Degree.SERIOUS,
    Level.G4: Degree.EXTREME,
}
_FIRST_YEAR, _YEARS = 2015, 12


@dataclass(frozen=True, slots=True)
class Kind:
    """One class of enterprise data."""

    code: str
    zh: str
    en: str
    theme: str
    provider: str
    grade: Level
    cycle: Cycle
    sample_table: str


def load_classes(path: Path) -> tuple[Kind, ...]:
    """Return the classes in `catalogue_classes.yaml`."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))["classes"]
    return tuple(
        Kind(
            code=str(c["code"]),
            zh=str(c["zh"]),
            en=str(c["en"]),
            theme=str(c["theme"]),
            provider=str(c["provider"]),
            grade=Level(c["grade"]),
            cycle=Cycle(c["cycle"]),
            sample_table=c.get("sample_table", ""),
        )
        for c in found
    )


def sample_codes(classes: tuple[Kind, ...]) -> dict[str, str]:
    """Return the resource code under which each sample table is listed."""
    return {k.sample_table: f"{k.code}/000001" for k in classes if k.sample_table}


def generate(classes: tuple[Kind, ...], count: int, seed: int) -> Iterator[tuple[str, Resource]]:
    """Yield ids and resources: first each class itself, then its parts by area, kind and year."""
    chance = random.Random(seed)  # noqa: S311  # repeatable on purpose, and no secret
    for number in range(count):
        kind = classes[number % len(classes)]
        round_ = number // len(classes)
        name = uuid.uuid5(uuid.NAMESPACE_URL, f"digital-lab/synthetic/{seed}/{number}")
        yield name.hex, _resource(kind, round_, chance)


def _resource(kind: Kind, round_: int, chance: random.Random) -> Resource:
    suffix_zh, suffix_en, table = "", "", kind.sample_table
    if round_:
        place, rest = round_ % len(_AREAS), round_ // len(_AREAS)
        form, year = rest % len(_KINDS), _FIRST_YEAR + rest // len(_KINDS) % _YEARS
        (area_zh, area_en), (form_zh, form_en) = _AREAS[place], _KINDS[form]
        suffix_zh, suffix_en = f"({area_zh}{year}年{form_zh})", f" ({area_en} {year}, {form_en})"
        table = ""
    more = chance.sample(_FIELDS[1:], chance.randint(3, 8))
    items = tuple(
        Item(name, zh, en, type_, "元" if name == "amount" else "", (_impact(kind, name),), "示例")
        for name, zh, en, type_ in (_FIELDS[0], *more)
    )
    open_type = Condition.UNCONDITIONAL if kind.grade is Level.G1 else Condition.NOT
    return Resource(
        code=f"{kind.code}/{round_ + 1:06d}",
        title_zh=kind.zh + suffix_zh,
        title_en=kind.en + suffix_en,
        provider=kind.provider,
        abstract_zh=f"合成示例元数据:{kind.zh},按{len(items)}个信息项编目。",
        abstract_en=f"Synthetic sample metadata: {kind.en}, {len(items)} fields.",
        theme=kind.theme,
        update_cycle=kind.cycle,
        share_type=Condition.CONDITIONAL if kind.grade.rank else Condition.UNCONDITIONAL,
        open_type=open_type,
        items=items,
        lanes=tuple(lane for lane in Lane if chance.random() < 0.7),  # noqa: PLR2004  # any share
        table_name=table,
        price_fen=chance.choice((None, 0, 100, 500, 2_000)),
        wait_working_days=chance.choice((None, 1, 3, 5, 10, 20)),
        origin="synthetic",
    )


def _impact(kind: Kind, name: str) -> Impact:
    public = name in ("uscc", "ent_name", "district_code", "industry_code")
    return Impact(ImpactObject.ORGANISATION, Degree.NONE if public else _HARM[kind.grade])
