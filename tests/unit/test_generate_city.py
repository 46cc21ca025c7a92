"""The recipe of the made-up city, held to its published figures.

They were computed for 200,000 enterprises; here the city is smaller, so each tolerance is about
four standard errors of the smaller sample.
"""

import numpy as np
import pytest

from sandbox.lake.generate.city import GRADES, LIMIT, City, make_city
from sandbox.lake.generate.identifiers import is_social_credit_code
from sandbox.lake.generate.reference import DISTRICTS, INDUSTRIES, SECTIONS

ENTERPRISES = 80_000
MEAN_LOAN = 20e9 / 36_000


@pytest.fixture(scope="module")
def city() -> City:
    return make_city(ENTERPRISES, 20260701)


def test_three_in_a_hundred_default(city: City) -> None:
    assert city.defaults.mean() == pytest.approx(0.0300, abs=0.0025)


@pytest.mark.parametrize(
    ("grade", "share", "defaults"),
    [
        ("A", 0.074, 0.0065),
        ("B", 0.498, 0.017),
        ("M", 0.283, 0.039),
        ("C", 0.079, 0.051),
        ("D", 0.066, 0.090),
    ],
)
def test_tax_grades_have_the_published_shares_and_default_rates(
    city: City, grade: str, share: float, defaults: float
) -> None:
    members = city.grade == GRADES.index(grade)
    error = np.sqrt(defaults * (1 - defaults) / members.sum())
    assert members.mean() == pytest.approx(share, abs=0.005)
    assert city.defaults[members].mean() == pytest.approx(defaults, abs=4 * error + 0.002)


@pytest.mark.parametrize(
    ("attribute", "share", "tolerance"),
    [
        ("tax_arrears", 0.038, 0.003),
        ("social_arrears", 0.094, 0.004),
        ("utility_arrears", 0.207, 0.006),
        ("penalties", 0.15, 0.006),
        ("suits", 0.196, 0.006),
        ("dishonest", 0.011, 0.0015),
    ],
)
def test_trouble_is_as_frequent_as_published(
    city: City, attribute: str, share: float, tolerance: float
) -> None:
    assert (getattr(city, attribute) > 0).mean() == pytest.approx(share, abs=tolerance)


def test_medians_are_the_published_ones(city: City) -> None:
    assert np.median(city.staff) == 8
    assert np.median(city.revenue) == pytest.approx(3.4e6, rel=0.03)
    assert np.median(city.capital) == 100


def test_loans_have_the_mean_of_the_reported_programme(city: City) -> None:
    assert city.principal[city.borrows].mean() == pytest.approx(MEAN_LOAN, rel=0.002)
    assert city.borrows.mean() == pytest.approx(0.36, abs=0.01)


def test_ten_districts_and_97_divisions_have_their_shares(city: City) -> None:
    shares = np.bincount(city.district, minlength=len(DISTRICTS)) / ENTERPRISES
    assert shares == pytest.approx([share for *_, share in DISTRICTS], abs=0.006)
    assert len(INDUSTRIES) == 97
    sections = np.array([section for _, _, section in INDUSTRIES])[city.industry]
    for section, (_, _, percent) in SECTIONS.items():
        share = percent / 100
        error = np.sqrt(share * (1 - share) / ENTERPRISES)
        assert (sections == section).mean() == pytest.approx(share, abs=4 * error), section


def test_what_the_tables_show_predicts_default_as_well_as_published(city: City) -> None:
    shown = (
        np.log1p(city.age),
        *(city.grade == grade for grade in range(1, len(GRADES))),
        city.tax_arrears,
        city.social_arrears,
        city.utility_arrears,
        city.power_growth,
        np.minimum(city.suits, 4),
        np.minimum(city.penalties, 4),
        city.dishonest,
    )
    assert _auc(_logistic(np.column_stack(shown), city.defaults), city.defaults) == pytest.approx(
        0.730, abs=0.03
    )


def test_every_enterprise_has_its_own_valid_code(city: City) -> None:
    assert len(np.unique(city.uscc)) == ENTERPRISES
    assert all(is_social_credit_code(code.decode()) for code in city.uscc[::997])


def test_the_same_seed_gives_the_same_city_and_another_seed_another() -> None:
    first, again, other = make_city(500, 7), make_city(500, 7), make_city(500, 8)
    assert np.array_equal(first.revenue, again.revenue)
    assert not np.array_equal(first.revenue, other.revenue)


@pytest.mark.parametrize("enterprises", [1, 2, 30])
def test_a_very_small_city_can_be_made(enterprises: int) -> None:
    assert len(make_city(enterprises, 1)) == enterprises


@pytest.mark.parametrize("enterprises", [0, LIMIT + 1])
def test_a_city_beyond_the_reserved_band_is_refused(enterprises: int) -> None:
    with pytest.raises(ValueError, match="923,520"):
        make_city(enterprises, 1)


def _logistic(shown: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Scores of a logistic regression by Newton's method."""
    x = np.column_stack((np.ones(len(label)), shown.astype(float)))
    weights = np.zeros(x.shape[1])
    for _ in range(8):
        chance = 1 / (1 + np.exp(-(x @ weights)))
        curvature = (x * (chance * (1 - chance))[:, None]).T @ x
        weights += np.linalg.solve(curvature, x.T @ (label - chance))
    return x @ weights


def _auc(score: np.ndarray, label: np.ndarray) -> float:
    rank = np.argsort(np.argsort(score)) + 1
    bad = int(label.sum())
    return float((rank[label].sum() - bad * (bad + 1) / 2) / (bad * (len(label) - bad)))
