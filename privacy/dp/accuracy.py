"""The error to expect, before anything is spent: 95 % half-widths from public parameters only.

Half-widths are absolute: a relative one would need the true value (soundness B.20). They cover the
noise and nothing else, neither clamping nor row caps nor faults of the data.
"""

import math
from statistics import NormalDist

CONFIDENCE = 0.95


def gaussian_half_width(scale: float, confidence: float = CONFIDENCE) -> float:
    """Return h with P(|Z| ≤ h) ≥ `confidence` for discrete Gaussian noise, in whole steps.

    The discrete Gaussian is sub-Gaussian with its scale as parameter (Canonne et al. 2020,
    Theorem 7); the rounding up by one step covers small scales, where it differs from the normal.
    """
    return float(math.ceil(NormalDist().inv_cdf((1 + confidence) / 2) * scale))


def selection_rank_error(scale: float, candidates: int, miss: float) -> float:
    """Return t so that the chosen candidate's score is within t of the best, but for chance `miss`.

    Report-noisy-max adds one-sided noise with this scale to each score: by a union bound the chosen
    score falls short by more than scale·ln(candidates / miss) with probability at most `miss`
    (McSherry & Talwar 2007, Theorem 6; Permute-and-flip never does worse: McKenna & Sheldon 2020).
    """
    return scale * math.log(candidates / miss)


def ratio_half_width(
    *, value: float, count: float, sum_half: float, count_half: float, low: float, high: float
) -> float:
    """Return a conservative half-width of sum/count, given noised parts and their half-widths.

    If both parts are within their half-widths, |S/N − S̃/Ñ| ≤ (h_S + |S̃/Ñ|·h_N) / (Ñ − h_N).
    `value` is S̃/Ñ, and the answer never needs to exceed the width of [low, high].
    """
    width = high - low
    if count <= count_half:
        return width
    return min(width, (sum_half + abs(value) * count_half) / (count - count_half))


def epsilon_factor(half_width: float, wished: float) -> float:
    """Return by which factor epsilon must grow, about, for the half-width to fall to `wished`."""
    return half_width / wished
