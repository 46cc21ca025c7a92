"""Work of a question that reads no private row, done beside the calls that it would else wait for.

On Spark a question is planned and its noise drawn while the marketplace reserves: 20 and 24 ms of
a small one. What was begun for an answer that turns out to be stored, or for a question that is
refused, is dropped: that costs nobody budget, so it is kept small. Noise is used for one answer at
most, which `Noising` sees to.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from privacy.dp.draw import ReleasePlan
from privacy.dp.release import Exact, Release

MOST_AHEAD = 4_096
"""Values of noise, of about 10 µs each, that are drawn for a question that may yet be refused."""

Draw = Callable[[ReleasePlan, int], Callable[[Exact], Release]]
"""`privacy.dp.release.Noising`: noise of a release at this many micro-rho."""
Run = Callable[[], Exact]
Prepare = Callable[[ReleasePlan], Run]


class Workers:
    """The threads that draw and prepare, shared by all questions."""

    def __init__(self, draw: Draw) -> None:
        """Draw noise with `draw`."""
        self.draw = draw
        self.drawing = ThreadPoolExecutor(thread_name_prefix="noise")
        self.preparing = ThreadPoolExecutor(thread_name_prefix="prepare")


class Begun:
    """One question's releases, begun at once or each when it is asked for."""

    def __init__(self, workers: Workers, prepare: Prepare) -> None:
        """Begin nothing yet."""
        self._workers, self._prepare = workers, prepare
        self._runs: dict[str, Future[Run]] = {}
        self._noise: dict[tuple[str, int], Future[Callable[[Exact], Release]]] = {}

    def begin(self, plans: Sequence[ReleasePlan], shares: Sequence[int]) -> None:
        """Begin all releases, each with its share of micro-rho."""
        for plan, share in zip(plans, shares, strict=True):
            self._runs[plan.digest] = self._workers.preparing.submit(self._prepare, plan)
            if len(plan.cells or ()) * len(plan.draws) <= MOST_AHEAD:
                self._noise[plan.digest, share] = self._drawn(plan, share)

    def drop(self) -> None:
        """Give up what was begun and has not started: nobody will ask for it."""
        for run in self._runs.values():
            run.cancel()
        for noise in self._noise.values():
            noise.cancel()

    def run(self, plan: ReleasePlan) -> Run:
        """Return what runs a release; raise what made it impossible."""
        begun = self._runs.get(plan.digest)
        # What still waits behind others' is prepared here: nobody waits for their public parts.
        return self._prepare(plan) if begun is None or begun.cancel() else begun.result()

    def noise(self, plan: ReleasePlan, micro_rho: int) -> Callable[[Exact], Release]:
        """Return what adds the noise of a release at this price, which is being drawn meanwhile."""
        drawn = self._noise.pop((plan.digest, micro_rho), None) or self._drawn(plan, micro_rho)

        def add(exact: Exact) -> Release:
            # Waits only now: the engine has worked meanwhile.
            return drawn.result()(exact)

        return add

    def _drawn(self, plan: ReleasePlan, micro_rho: int) -> Future[Callable[[Exact], Release]]:
        return self._workers.drawing.submit(self._workers.draw, plan, micro_rho)
