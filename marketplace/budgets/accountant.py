"""What noise parameters cost, by textbook formulas of our own: no call into the noise library.

Sources: Canonne, Kamath & Steinke 2020, Theorem 4 (discrete Gaussian: Δ²/(2σ²)-zCDP), its tail by
summing the definition; Bun & Steinke 2016, Proposition 1.4 (ε-DP is ε²/2-zCDP), with ε = 2Δ/scale
for report-noisy-max, once for each cell that one unit can touch.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

MICRO = 1_000_000

SLACK = 1e-9
"""Relative rounding allowed between our own formula and the library's certified figure."""

DELTA_SLACK = 1e-6
"""The same for the tail sums behind delta."""


class UnknownMechanismError(ValueError):
    """Parameters that no formula here fits: the accountant cannot vouch for the release."""


def cost(draws: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return (micro-rho, delta in 1e-12) of one release, recomputed from all of its draws."""
    micro_rho = delta = 0.0
    noised = False
    for draw in draws:
        try:
            name = str(draw["mechanism"])
            if name.startswith("discrete-gaussian/"):
                micro_rho += MICRO * _gaussian_rho(draw)
            elif name.startswith("noisy-max/"):
                micro_rho += MICRO * _noisy_max_rho(draw)
            elif name.startswith("gaussian-threshold/"):
                delta += 1e12 * threshold_delta(
                    int(draw["threshold"]),
                    _scale(draw),
                    int(draw["groups_per_unit"]),
                )
                continue
            else:
                raise UnknownMechanismError(f"no formula for mechanism {name}")
        except (KeyError, TypeError, ZeroDivisionError) as error:
            raise UnknownMechanismError(f"a draw lacks a parameter ({error!r})") from error
        noised = True
    if not noised:
        raise UnknownMechanismError("a release without any noise")
    return micro_rho, delta


def underpaid(draws: Any, micro_rho: int, delta_1e12: int) -> tuple[str, ...]:  # noqa: ANN401  # JSON
    """Return what is wrong between a release's draws and what was charged for it."""
    if not isinstance(draws, list) or not all(isinstance(each, dict) for each in draws):
        return ("its draws are not a list of parameters",)
    try:
        spent, delta = cost(draws)
    except UnknownMechanismError as error:
        return (str(error),)
    found = []
    if spent > micro_rho * (1 + SLACK):
        found.append(f"its noise costs {spent:.6f} micro-rho, charged {micro_rho}")
    if delta > delta_1e12 * (1 + DELTA_SLACK):
        found.append(f"its delta is {delta:.6f}e-12, charged {delta_1e12}e-12")
    return tuple(found)


def threshold_delta(tau: int, scale: float, groups: int) -> float:
    """Return the chance that any of `groups` keys of a single unit has a noised count above tau.

    A single unit counts 1, so a key passes when the noise is at least tau. The normaliser
    Σ exp(−z²/2σ²) is at least σ√(2π) (Poisson summation), so the chance is never understated.
    """
    end = max(tau, 0) + math.ceil(12 * scale) + 2
    mass = math.fsum(math.exp(-(z * z) / (2 * scale * scale)) for z in range(tau, end))
    single = min(1.0, mass / (scale * math.sqrt(2 * math.pi)))
    return 1.0 if single >= 1 else -math.expm1(groups * math.log1p(-single))


def _gaussian_rho(draw: Mapping[str, Any]) -> float:
    scale = _scale(draw)
    return int(draw["squared_sensitivity"]) / (2 * scale * scale)


def _noisy_max_rho(draw: Mapping[str, Any]) -> float:
    epsilon_squared = 4 * int(draw["squared_sensitivity"]) / _scale(draw) ** 2
    return int(draw["cells_per_unit"]) * epsilon_squared / 2


def _scale(draw: Mapping[str, Any]) -> float:
    scale = float.fromhex(draw["scale"])
    if not 0 < scale < math.inf:
        raise UnknownMechanismError("a scale is a positive finite number")
    return scale
