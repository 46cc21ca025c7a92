"""Market regulation: an open table of inspections, public and of any size."""

import numpy as np
import pyarrow as pa

from sandbox.lake.generate.city import TODAY
from sandbox.lake.generate.reference import DISTRICTS, division_shares
from sandbox.lake.generate.rows import (
    DISTRICT_CODES,
    DIVISION_CODES,
    chosen,
    dates,
    integers,
)

INSPECTIONS = ("双随机", "专项检查", "投诉核查", "年报抽查")
RESULTS = ("合格", "责令改正", "移送处理")


def market_regulation(first: int, count: int, draw: np.random.Generator) -> pa.Table:
    """Return `count` inspections, numbered from `first`; they name no enterprise."""
    shares = np.array([share for *_, share in DISTRICTS])
    items = draw.integers(3, 40, count)
    problems = draw.binomial(items, 0.04)
    result = np.where(problems == 0, 0, np.where(problems > 4, 2, 1))  # noqa: PLR2004
    return pa.table(
        {
            "inspection_id": pa.array(np.arange(first, first + count), pa.int64()),
            "inspection_date": dates(
                TODAY - draw.integers(1, 1096, count).astype("timedelta64[D]")
            ),
            "district_code": chosen(DISTRICT_CODES, draw.choice(len(shares), count, p=shares)),
            "industry_code": chosen(
                DIVISION_CODES, draw.choice(len(DIVISION_CODES), count, p=division_shares())
            ),
            "inspection_type": chosen(
                INSPECTIONS, draw.choice(len(INSPECTIONS), count, p=[0.5, 0.25, 0.15, 0.1])
            ),
            "items_checked": integers(items),
            "problems_found": integers(problems),
            "result": chosen(RESULTS, result),
        }
    )
