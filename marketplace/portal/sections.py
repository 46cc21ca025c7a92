"""All pages that stand in files of their own, by noun."""

from fastapi import FastAPI

from marketplace.portal.access_pages import add_access_pages
from marketplace.portal.bureau_pages import add_bureau_pages
from marketplace.portal.catalogue_pages import add_catalogue_pages
from marketplace.portal.contract_pages import add_contract_pages
from marketplace.portal.demand_pages import add_demand_pages
from marketplace.portal.grading_pages import add_grading_pages
from marketplace.portal.grant_pages import add_grant_pages
from marketplace.portal.home_pages import add_home_pages


def add_sections(app: FastAPI) -> None:
    """Add these pages to the portal."""
    add_home_pages(app)
    add_catalogue_pages(app)
    add_access_pages(app)
    add_grant_pages(app)
    add_contract_pages(app)
    add_demand_pages(app)
    add_grading_pages(app)
    add_bureau_pages(app)
