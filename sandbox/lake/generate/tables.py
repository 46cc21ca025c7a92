"""All tables of the city by name, in the order in which they are made."""

from collections.abc import Callable, Mapping

import pyarrow as pa

from sandbox.lake.generate import reference
from sandbox.lake.generate.conduct import admin_penalty, admin_permit, env_credit, judicial_case
from sandbox.lake.generate.loans import loan_performance
from sandbox.lake.generate.registration import annual_report, ent_change, ent_registration
from sandbox.lake.generate.rows import Part
from sandbox.lake.generate.social import housing_fund, social_insurance
from sandbox.lake.generate.standing import (
    bid_record,
    customs_credit,
    honour,
    ip_rights,
    land_property,
)
from sandbox.lake.generate.tax import tax_summary
from sandbox.lake.generate.utility import utility_usage

CODE_LISTS: Mapping[str, Callable[[], pa.Table]] = {
    "districts": reference.districts,
    "district_history": reference.district_history,
    "industries": reference.industries,
}
"""Public, and the same for every city."""

ENTERPRISE_TABLES: Mapping[str, Callable[[Part], pa.Table]] = {
    "ent_registration": ent_registration,
    "ent_change": ent_change,
    "annual_report": annual_report,
    "tax_summary": tax_summary,
    "social_insurance": social_insurance,
    "housing_fund": housing_fund,
    "utility_usage": utility_usage,
    "admin_penalty": admin_penalty,
    "admin_permit": admin_permit,
    "judicial_case": judicial_case,
    "env_credit": env_credit,
    "ip_rights": ip_rights,
    "honour": honour,
    "land_property": land_property,
    "bid_record": bid_record,
    "customs_credit": customs_credit,
    "loan_performance": loan_performance,
}
"""A part of the city in, its rows out; the columns are those of the table's contract, in order."""

MARKET_REGULATION = "market_regulation"
REAL_LOANS = "loans_full_schema"
TABLES = (*CODE_LISTS, *ENTERPRISE_TABLES, MARKET_REGULATION, REAL_LOANS)
