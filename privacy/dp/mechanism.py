"""Noise, and the only importer of OpenDP: three allow-listed, versioned mechanisms.

`discrete-gaussian/1`: OpenDP's discrete Gaussian on 64-bit integers under zCDP (Canonne, Kamath &
Steinke, *The Discrete Gaussian for Differential Privacy*, 2020, Theorem 4: Δ²/(2σ²)-zCDP).
`noisy-max/1`: OpenDP's report-noisy-max, ε = 2Δ/scale pure DP, charged ε²/2 zCDP (Bun & Steinke
2016, Proposition 1.4), the cautious charge of soundness B.15.
`gaussian-threshold/1`: keys of an open group-by, kept where the noised count of distinct units is
strictly above a threshold; delta computed here exactly, since OpenDP 0.16.0 understates its own
(opendp issue 2922).
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version

import opendp.prelude as dp

from privacy.dp.bounding import root_up

dp.enable_features("contrib")

VERSIONS = {
    "gaussian": "discrete-gaussian/1",
    "noisy_max": "noisy-max/1",
    "threshold": "gaussian-threshold/1",
}
LIBRARY = f"opendp {version('opendp')}"

MICRO = 1_000_000

WIDEST_APART = 2.0**57
"""A draw beyond 64 bits is then 64 standard deviations away: OpenDP cuts what it returns to those.
"""

SUMMED = 1000.0
"""Largest scale whose tail is summed term by term; a bound above is within 1 % of the truth."""


def gaussian_scale(squared_l2: int, micro_rho: int) -> float:
    """Return the smallest scale found for which OpenDP itself certifies at most this rho.

    `squared_l2` is the exact square of the L2 sensitivity, `micro_rho` the charge in millionths.
    """
    if squared_l2 < 1 or micro_rho < 1:
        raise ValueError("sensitivity and charge are at least 1")
    sensitivity = root_up(squared_l2)
    scale = sensitivity / math.sqrt(2 * micro_rho / MICRO)
    while not _certified(scale, sensitivity, micro_rho):
        scale = math.nextafter(scale * (1 + 2**-50), math.inf)
    return scale


def _certified(scale: float, sensitivity: float, micro_rho: int) -> bool:
    # The map answers in doubles rounded up; micro_rho / MICRO is rounded down by one place.
    granted = math.nextafter(micro_rho / MICRO, 0.0)
    return gaussian_rho(scale, sensitivity) <= granted


def gaussian_rho(scale: float, sensitivity: float) -> float:
    """Return the rho that OpenDP certifies for this scale and L2 sensitivity."""
    return float(_gaussian(scale).map(sensitivity))  # type: ignore[no-untyped-call]  # OpenDP is untyped


@lru_cache(maxsize=256)
def _gaussian(scale: float) -> dp.Measurement:
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
    return dp.m.make_gaussian(*space, scale=scale, MO="ZeroConcentratedDivergence")


def add_gaussian(values: Sequence[int], scale: float) -> list[int]:
    """Return `values` with discrete Gaussian noise of this scale on each, drawn by OpenDP."""
    if not values:
        return []
    return [int(v) for v in _gaussian(scale)(list(values))]


def may_be_drawn_apart(scale: float) -> bool:
    """Whether noise of this scale is itself never cut to 64 bits, but for chances below 2^-2900.

    Noise that was cut is the same for every value: added to one, it would show it exactly.
    """
    return scale <= WIDEST_APART


def added(values: Sequence[int], noise: Sequence[int]) -> list[int]:
    """Return the sums, kept within 64 bits as OpenDP keeps those of `add_gaussian`.

    A discrete Gaussian that `may_be_drawn_apart`, drawn on zeros and added here, is distributed as
    one drawn on `values`.
    """
    return [min(max(v + z, -(2**63)), 2**63 - 1) for v, z in zip(values, noise, strict=True)]


def selection_scale(sensitivity: int, micro_rho: int, cells: int) -> float:
    """Return the noisy-max scale at which a unit's `cells` selections cost at most this rho."""
    granted = math.nextafter(micro_rho / MICRO / cells, 0.0)
    scale = 2 * sensitivity / math.sqrt(2 * granted)
    while selection_rho(scale, sensitivity) > granted:
        scale = math.nextafter(scale * (1 + 2**-50), math.inf)
    return scale


def selection_rho(scale: float, sensitivity: int) -> float:
    """Return what one selection costs: OpenDP's certified epsilon, as ε²/2."""
    epsilon = float(_noisy_max(scale).map(sensitivity))  # type: ignore[no-untyped-call]  # OpenDP is untyped
    return epsilon * epsilon / 2


@lru_cache(maxsize=256)
def _noisy_max(scale: float) -> dp.Measurement:
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.linf_distance(T="i64")
    return dp.m.make_noisy_max(*space, dp.max_divergence(), scale=scale)


def select_largest(scores: Sequence[int], scale: float) -> int:
    """Return the index of the largest score after noise, drawn by OpenDP."""
    return int(_noisy_max(scale)(list(scores)))


def gaussian_tail(at_least: int, scale: float) -> float:
    """Return an upper bound of P(Z ≥ at_least) for a discrete Gaussian Z of this scale.

    The sums are taken outward over twelve scales and closed by the bound that the terms fall
    faster than a geometric series. Above a scale of 1000 the sum over z ≥ n > 0 is bounded by its
    first term and the integral from there, and the normaliser by its integral, which is below it.

    >>> round(gaussian_tail(0, 1.0), 4) > 0.5
    True
    """
    if scale > SUMMED:
        if at_least <= 0:
            return 1.0
        mean = at_least / (scale * math.sqrt(2))
        first = math.exp(-mean * mean) / (scale * math.sqrt(2 * math.pi))
        return min(1.0, (math.erfc(mean) / 2 + first) * (1 + 1e-9))
    spread = max(int(12 * scale) + 2, 4)
    variance = 2 * scale * scale
    if at_least <= -spread:
        return 1.0
    normaliser = math.fsum(math.exp(-(z * z) / variance) for z in range(-spread, spread + 1))
    start = at_least
    upper = math.fsum(math.exp(-(z * z) / variance) for z in range(start, start + spread + 1))
    last = start + spread + 1
    ratio = math.exp(-(2 * last + 1) / variance) if last >= 0 else 0.5
    rest = math.exp(-(last * last) / variance) / (1 - ratio) if ratio < 1 else 1.0
    return min(1.0, (upper + rest) / normaliser * (1 + 1e-9))


@lru_cache(maxsize=1024)
def threshold(scale: float, groups: int, delta_1e12: int) -> int:
    """Return the smallest integer τ such that keys of one unit alone leak with at most delta.

    A key held by a single unit has a support of 1 and is released when 1 + Z > τ, so with L0 such
    keys delta = 1 − (1 − P(1 + Z > τ))^L0 (soundness B.16; the maximum over k ≤ L0 is at L0).
    """
    granted = delta_1e12 * 1e-12
    low, high = 1, 2
    while threshold_delta(high, scale, groups) > granted:
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        if threshold_delta(middle, scale, groups) <= granted:
            high = middle
        else:
            low = middle + 1
    return high


def threshold_delta(tau: int, scale: float, groups: int) -> float:
    """Return the chance that any of `groups` single-unit keys passes a threshold of `tau`."""
    single = gaussian_tail(tau, scale)  # 1 + Z > τ  ⇔  Z ≥ τ
    return min(1.0, -math.expm1(groups * math.log1p(-single)) * (1 + 1e-9)) if single < 1 else 1.0
