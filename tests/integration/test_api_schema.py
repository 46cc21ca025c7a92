"""The interface keeps its word to every role: generated requests, checked against the document.

Requests that fit the document are refused for a reason or carried out; those that do not fit are
refused; no answer is a fault of the server or undocumented. Who may do what is `test_roles`.
"""

import os
from collections import Counter
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.every_route import CALLERS, bearer, objects
from tests.support.portal import Lab, opened

EXAMPLES = 60 if os.environ.get("LAB_FULL") else 2
"""Requests for each operation, kind (fitting or not) and caller."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    allow_header_conformance,
    negative_data_rejection,
]
ARRAYS = "GET /api/v1/catalogue/resources"
"""An array that becomes an object is exploded into other parameters, and nobody can tell."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, dict[str, str]]]:
    with opened(tmp_path_factory.mktemp("schema") / "home") as lab:
        yield lab, objects(lab)


@pytest.mark.parametrize("caller", CALLERS)
def test_every_answer_is_one_of_the_document(
    filled: tuple[Lab, dict[str, str]], caller: str
) -> None:
    lab, present = filled
    schema = schemathesis.openapi.from_url(f"{lab.url}/api/openapi.json")
    headers, seen = bearer(lab, caller), Counter[int]()

    def send(case: schemathesis.Case) -> None:
        response = case.call(headers=headers)
        seen[response.status_code] += 1
        case.validate_response(response, checks=CHECKS, headers=headers)

    for number, found in enumerate(schema.get_all_operations()):
        operation = found.ok()
        run = settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )

        @seed(number)
        @run
        @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
        def fitting(case: schemathesis.Case) -> None:
            send(case)
            if case.path_parameters:  # and once more, to something that is there
                case.path_parameters = {name: present[name] for name in case.path_parameters}
                send(case)

        @seed(number)
        @run
        @given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        def unfitting(case: schemathesis.Case) -> None:
            send(case)

        fitting()
        if operation.label != ARRAYS:
            try:
                unfitting()
            except Unsatisfiable:  # nothing can be wrong about what takes nothing
                assert not any(
                    parameter.definition.get("required")
                    for parameter in operation.iter_parameters()
                )
    assert sum(seen.values()) > 300
    assert seen[401] > 0 or caller != "nobody"
    assert seen[200] > 0
