"""Search over synthetic metadata: parts of Chinese titles, pinyin, initials, English, facets."""

import pytest

from marketplace.catalogue.search import FACETS, Query
from marketplace.catalogue.text import terms, tokens
from tests.support.catalogue import ANALYST, CLASSES, TAX, catalogue, item, resource


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    with catalogue(tmp_path_factory.mktemp("search"), 300) as market:
        yield lambda text="", **chosen: market.search(
            ANALYST, Query(text, {k: frozenset(v) for k, v in chosen.items()}, 1, 100)
        )


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("税", "企业纳税汇总信息"),
        ("纳税", "企业纳税汇总信息"),
        ("qynshz", "企业纳税汇总信息"),
        ("nshz", "企业纳税汇总信息"),
        ("nashui", "企业纳税汇总信息"),
        ("QiYeNaShui", "企业纳税汇总信息"),
        ("ＴＡＸ ｓｕｍｍａｒｙ", "企业纳税汇总信息"),
        ("tax", "企业纳税汇总信息"),
        ("社会保险 纳", "社会保险缴纳信息"),
        ("社会保险缴纳信息", "社会保险缴纳信息"),
        ("shbx", "社会保险缴纳信息"),
        ("yinhang", "信贷表现"),
        ("tax_summary", "企业纳税汇总信息"),
        ("302001", "企业纳税汇总信息"),
    ],
)
def test_a_resource_is_found_by_any_part_of_its_name(found, text, title):
    result = found(text)

    assert title in [hit.title_zh for hit in result.hits]
    assert not result.near


@pytest.mark.parametrize("text", ["纳", "税", "保险", "公积金", "信息"])
def test_chinese_search_finds_just_the_titles_and_fields_that_hold_the_text(found, text):
    listed = found().hits
    holding = {h.code for h in found(text).hits if text in h.title_zh}
    assert {h.code for h in listed if text in h.title_zh} <= {h.code for h in found(text).hits}
    assert holding


def test_a_text_that_nothing_holds_whole_gives_near_matches_that_say_so(found):
    result = found("企业纳税情况信息")

    assert result.near
    assert "纳税" in result.hits[0].title_zh


@pytest.mark.parametrize("text", ["%", "_", "*", "' OR 1=1 --", "（）", "zzzqqq", "龘"])
def test_signs_are_no_pattern_and_what_is_not_there_is_not_found(found, text):
    assert found(text).total == 0 or text == "' OR 1=1 --"


def test_counts_of_a_facet_are_what_choosing_it_gives(found):
    free = found("信息")
    for facet in FACETS:
        for value, count in free.facets[facet].items():
            assert found("信息", **{facet: {value}}).total == count


def test_a_choice_narrows_other_facets_and_leaves_its_own(found):
    free, narrowed = found(), found(grade={"G3"})

    assert narrowed.facets["grade"] == free.facets["grade"]
    assert sum(narrowed.facets["theme"].values()) == narrowed.total == free.facets["grade"]["G3"]
    assert found(grade={"G3"}, theme={"no such theme"}).total == 0


def test_all_sixty_classes_are_named_and_those_with_rows_are_marked(found):
    assert len(CLASSES) == 60
    listed = {h.title_zh for c in CLASSES for h in found(c.zh).hits}
    assert {c.zh for c in CLASSES} <= listed
    assert len([c for c in CLASSES if c.sample_table]) == 18


def test_no_draft_and_no_value_of_any_row_is_found(tmp_path):
    with catalogue(tmp_path) as market:
        before = market.search(ANALYST, Query("车船"))
        market.create(TAX, resource(items=(item("secretfield"),)))
        after = market.search(ANALYST, Query("车船"))

    assert before == after
    assert after.total == 0
    assert sum(len(v) for v in after.facets.values()) == 0


def test_terms_hold_every_part_initials_and_syllables_once():
    assert {"银行", "行", "yh", "h", "yinhang", "hang"} <= terms("银行")
    assert tokens("企业qydj, 企业") == ("企业", "qydj")
