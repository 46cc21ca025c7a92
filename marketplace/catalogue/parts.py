"""The services around the catalogue, as the application holds them."""

from dataclasses import dataclass

from marketplace.catalogue.deliveries import Deliveries
from marketplace.catalogue.regrading import Regradings
from marketplace.catalogue.reviews import Reviews
from marketplace.catalogue.synthetic import Kind


@dataclass(frozen=True, slots=True)
class Publishing:
    """What lies between a draft and what everybody finds, and what changes it afterwards."""

    reviews: Reviews
    regradings: Regradings
    deliveries: Deliveries
    classes: tuple[Kind, ...]
