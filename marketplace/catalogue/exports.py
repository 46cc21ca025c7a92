"""The catalogue in the forms that others read: DCAT-AP 3 (JSON-LD), ODCS 3.1, CSV.

Sources: DCAT-AP 3.0.0 (SEMIC) with the EU's code lists of frequencies and access rights; Open Data
Contract Standard v3.1.0; RFC 4180. Texts go out exactly as they are: they are values, never markup.
Only in CSV an apostrophe stands before what a spreadsheet would run as a formula (attack H4).
"""

import csv
import io
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from marketplace.catalogue.model import Condition, Cycle, Resource
from marketplace.catalogue.page import Page
from marketplace.catalogue.search import Listed
from marketplace.grading.authority import Bodies

API_VERSION = "v3.1.0"
_EU = "http://publications.europa.eu/resource/authority"
_FREQUENCY = {
    Cycle.REALTIME: "UPDATE_CONT",
    Cycle.DAILY: "DAILY",
    Cycle.WEEKLY: "WEEKLY",
    Cycle.MONTHLY: "MONTHLY",
    Cycle.QUARTERLY: "QUARTERLY",
    Cycle.YEARLY: "ANNUAL",
    Cycle.OTHER: "OTHER",
}
_ACCESS = {
    Condition.UNCONDITIONAL: "PUBLIC",
    Condition.CONDITIONAL: "RESTRICTED",
    Condition.NOT: "NON_PUBLIC",
}
_PHYSICAL = {
    "string": "string",
    "integer": "bigint",
    "number": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}
_CONTEXT = {
    "dcat": "http://www.w3.org/ns/dcat#",
    "dct": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "dcatap": "http://data.europa.eu/r5r/",
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What makes a spreadsheet take a cell for a formula, full-width forms included."""


def dcat(pages: Iterable[Page], bodies: Bodies, base: str) -> dict[str, Any]:
    """Return a DCAT-AP catalogue of published resources; `base` is where their pages are."""
    return {
        "@context": _CONTEXT,
        "@id": f"{base}/catalogue",
        "@type": "dcat:Catalog",
        "dct:title": _both("数字实验室资源目录", "Catalogue of the Digital Lab"),
        "dct:description": _both("可申请使用的数据资源", "Data resources that may be asked for"),
        "dct:publisher": {
            "@id": "urn:digital-lab:bureau",
            "@type": "foaf:Agent",
            "foaf:name": _both("数字实验室", "Digital Lab"),
        },
        "dcat:dataset": [_dataset(page, bodies, base) for page in pages],
    }


def _dataset(page: Page, bodies: Bodies, base: str) -> dict[str, Any]:
    resource, id_ = page.resource, page.version.resource
    body = bodies.get(resource.provider)
    where = f"{base}/resources/{id_}"
    distribution: dict[str, Any] = {
        "@id": f"{where}#access",
        "@type": "dcat:Distribution",
        "dcat:accessURL": {"@id": where, "@type": "http://www.w3.org/2000/01/rdf-schema#Resource"},
        "dct:description": _both("在目录页面申请使用", "Ask for its use on its page"),
    }
    if resource.licence:
        distribution["dct:license"] = {"@id": resource.licence, "@type": "dct:LicenseDocument"}
    return {
        "@id": where,
        "@type": "dcat:Dataset",
        "dct:identifier": resource.code,
        "dct:title": _both(resource.title_zh, resource.title_en),
        "dct:description": _both(
            resource.abstract_zh or resource.title_zh, resource.abstract_en or resource.title_en
        ),
        "dct:publisher": {
            "@id": f"urn:digital-lab:body:{resource.provider}",
            "@type": "foaf:Agent",
            "foaf:name": _both(body.name_zh, body.name_en) if body else resource.provider,
        },
        "dcat:theme": {
            "@id": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, resource.theme)}",
            "@type": "skos:Concept",
            "skos:prefLabel": {"@value": resource.theme, "@language": "en"},
        },
        "dct:accrualPeriodicity": {
            "@id": f"{_EU}/frequency/{_FREQUENCY[resource.update_cycle]}",
            "@type": "dct:Frequency",
        },
        "dct:accessRights": {
            "@id": f"{_EU}/access-right/{_ACCESS[resource.open_type]}",
            "@type": "dct:RightsStatement",
        },
        "dcat:version": str(page.version.number),
        "dcat:distribution": distribution,
    }


def odcs(page: Page, bodies: Bodies) -> dict[str, Any]:
    """Return a version as a data contract document of ODCS v3.1.0."""
    resource, body = page.resource, bodies.get(page.resource.provider)
    more = [{"property": k, "value": v} for k, v in _custom(page).items() if v not in ("", None)]
    found: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": str(uuid.UUID(page.version.resource)),
        "name": resource.title_en,
        "version": f"{page.version.number}.0.0",
        "status": "active" if page.version.state == "published" else "draft",
        "domain": resource.theme,
        "tenant": body.name_zh if body else resource.provider,
        "tags": [resource.title_zh],
        "description": {
            "purpose": f"{resource.abstract_zh} {resource.abstract_en}".strip(),
            "limitations": resource.share_condition or resource.share_type.value,
        },
        "slaProperties": [{"property": "frequency", "value": resource.update_cycle.value}],
        "schema": [
            {
                "name": resource.table_name or f"r{resource.code.replace('/', '_')}",
                "businessName": resource.title_zh,
                "logicalType": "object",
                "physicalType": "table",
                "properties": [_property(page, resource, at) for at in range(len(resource.items))],
            }
        ],
        "customProperties": more,
    }
    if resource.price_fen is not None:
        yuan, fen = divmod(resource.price_fen, 100)
        amount = yuan if fen == 0 else resource.price_fen / 100
        found["price"] = {"priceAmount": amount, "priceCurrency": "CNY", "priceUnit": "answer"}
    return found


def _custom(page: Page) -> Mapping[str, Any]:
    resource = page.resource
    return {
        "resourceCode": resource.code,
        "grade": page.level.value if page.level else "",
        "lanes": " ".join(sorted(page.lanes)),
        "shareType": resource.share_type.value,
        "openType": resource.open_type.value,
        "openCondition": resource.open_condition,
        "waitWorkingDays": resource.wait_working_days,
        "registrationNo": resource.registration_no,
        "relatedCodes": " ".join(resource.related_codes),
        "origin": resource.origin,
    }


def _property(page: Page, resource: Resource, at: int) -> dict[str, Any]:
    item = resource.items[at]
    grade = page.grades.get(item.name)
    found: dict[str, Any] = {
        "name": item.name,
        "businessName": item.title_zh,
        "description": item.title_en,
        "logicalType": item.logical_type,
        "physicalType": _PHYSICAL[item.logical_type],
        "classification": grade.value if grade else "ungraded",
    }
    found["customProperties"] = [{"property": "dataClass", "value": item.data_class.value}]
    if item.unit:
        found["customProperties"] += [{"property": "unitOfMeasure", "value": item.unit}]
    return found


def table(listed: Iterable[Listed]) -> str:
    """Return what search found as CSV, with a byte order mark so that spreadsheets read UTF-8."""
    head = ("code", "title_zh", "title_en", "provider", "grade", "lanes", "theme", "cycle")
    output = io.StringIO()
    writer = csv.writer(output)
    writer.writerow(head)
    for one in listed:
        cells = (one.code, one.title_zh, one.title_en, one.provider, one.grade)
        writer.writerow([plain(c) for c in (*cells, " ".join(one.lanes), one.theme, one.cycle)])
    return "\ufeff" + output.getvalue()


def plain(cell: str) -> str:
    """Return a cell that no spreadsheet runs.

    >>> plain("=HYPERLINK(1)")
    "'=HYPERLINK(1)"
    """
    return f"'{cell}" if cell.lstrip(" \u00a0\u3000").startswith(_FORMULA) else cell


def _both(zh: str, en: str) -> list[dict[str, str]]:
    return [{"@value": zh, "@language": "zh"}, {"@value": en, "@language": "en"}]
