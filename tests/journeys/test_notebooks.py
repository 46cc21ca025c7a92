"""The notebooks do what they say, run by a real kernel against a real marketplace."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from marketplace.audit.entry import Event
from marketplace.catalogue.search import Query
from tests.support.catalogue import ANALYST
from tests.support.notebooks import NOTEBOOKS, printed
from tests.support.portal import answered, opened

ALL = sorted(p.name for p in NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("name", ALL)
def test_a_committed_notebook_holds_no_output_and_no_place_of_ours(name: str) -> None:
    text = (NOTEBOOKS / name).read_text(encoding="utf-8")
    found = nbformat.reads(text, 4)
    nbformat.validate(found)
    for cell in found.cells:
        assert cell.metadata == {}
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert not re.search(
                r"^\s*(from|import) (privacy|sandbox|marketplace|infra)", cell.source
            )
        else:
            assert re.search(r"[一-鿿]", cell.source), "in Chinese"
            assert re.search(r"[a-z]{3}", cell.source), "and in English"
    assert "/home/" not in text
    assert "/root/" not in text


def test_the_log_is_verified_and_a_change_and_an_old_copy_are_found(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as lab:
        answered(lab.market)
        tokens = lab.settings.home / "tokens"
        first = lab.entries()
        cells = printed(
            "05-verify-the-log.ipynb",
            tmp_path,
            LAB_URL=lab.url,
            LAB_TOKEN_FILE=str(tokens / "regulator"),
            LAB_CUSTOMER_TOKEN_FILE=str(tokens / "analyst"),
        )
        looked = lab.events(Event.LOG_READ)
    assert "['cryptography']" in cells[1]
    assert cells[2] == f"verified: True | entries covered by the signed checkpoint: {first}\n"
    assert f"verified offline: True | entries hashed: {first}" in cells[3]
    assert cells[4] == f"verified: True | from {first} to {first + looked} entries\n"
    assert looked > 0, "that an auditor read entries is an entry"
    assert f"verified: True | entry {first - 1}" in cells[5]
    assert "release:record | charged: 100 micro-rho" in cells[5]
    assert [c.split("verified: ")[1] for c in cells[6:9]] == [
        "False | WRONG_ANSWER\n",
        "False | WRONG_ENTRIES\n",
        "False | ROLLED_BACK\n",
    ]


def test_a_dataset_is_published_by_two_organisations(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as lab:
        tokens = lab.settings.home / "tokens"
        cells = printed(
            "06-publish-a-dataset.ipynb",
            tmp_path,
            LAB_URL=lab.url,
            LAB_PROVIDER_TOKEN_FILE=str(tokens / "tax-provider"),
            LAB_REVIEWER_TOKEN_FILE=str(tokens / "bureau-reviewer"),
        )
        found = lab.market.catalogue.search(ANALYST, Query("monthly tax summary", {}, 1, 20))
    assert "before: grade None | ways of use: []\nafter: grade G3 | ways of use: ['dp']" in cells[2]
    wrong = json.loads(cells[3].splitlines()[1])
    assert (wrong["stored"], wrong["quarantined"]) == (0, {"no readable record": 120})
    report = json.loads(cells[4])
    assert (report["rows_in"], report["stored"]) == (120, 117)
    assert report["quarantined"] == {
        "missing: vat_sales": 1,
        "not in domain: tax_period": 1,
        "unit id invalid": 1,
    }
    assert cells[5].startswith("403 OWN_REQUEST\n")
    assert cells[6] == "examined: approved\nstate: published | version: 1\n"
    assert cells[7].count("-> True") == 3
    assert cells[8].split()[-1] == "publish"
    assert [hit.title_en for hit in found.hits] == ["Monthly tax summary of enterprises (sample)"]
