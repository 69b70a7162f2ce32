"""Whether p-values are as rare and intervals as sure as they say, by simulation.

    python scripts/check_statistics.py                   # about thirteen minutes on two cores
    python scripts/check_statistics.py --quick           # a twentieth of the simulations; about two minutes
    python scripts/check_statistics.py --json            # figures as one flat JSON object on stdout

Every 200 simulations have a seed of their own, of ``SEED``, what is simulated and their number. Checked are:

- ``signal``: how often pairs of nothing have p <= 0.05 and p <= 0.01, where they are independent, where each is there
  four times, and where A is right in 61 % of them and letters differ by far more than noise.
- the null's p-value of a vector that was drawn from the null, over 8 layers that go together: at a layer named
  beforehand, and at the one where it is largest; and that of the sign-flip test of paired differences.
- ``calibrate``: how often it recommends a vector that was drawn from the null, at the best of 8 layers and 4
  multipliers, where such vectors move nothing but single questions and letters, and where they move the behavior too.
- intervals: how often they hold the truth, of skewed scores (lognormal with sigma 0.5, exponential, chi-squared with 1
  degree of freedom) in 20 and 50 clusters of 1 and 4 items.

A rejection rate must be at most its level and 3 standard errors; an interval must hold the truth in 92 to 98 of 100
simulations, within 3 standard errors. The exit code is 1 where a bound is broken. Figures of 5 to 19 clusters, of few
of a letter or a category, and of the power to find what was planted are given beside them and have no bound.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from simulate_coverage import SHARES, coverage, few_of_a_category, few_of_a_letter, shares
from simulate_nulls import NULLS, PAIRED, null, paired, recommended, signal
from simulation import REPEATS, Hits, Task

PROCESSES = 2
SIMULATIONS = 4_000
QUICK = 200
# So many simulations are one task, and the columns of one call where a figure has columns.
AT_ONCE = 200

LEAST, MOST = 0.92, 0.98

RECOMMENDED = ((0.0, 0.0), (0.1, 0.0), (0.1, 0.5))
"""By how much vectors that mean nothing move a behavior, and how much the vector does more."""

FEW, MANY = (5, 7, 10, 15, 19), (20, 50)
"""Numbers of clusters, those of which nothing is promised and the others."""
DISTRIBUTIONS = ("lognormal", "exponential", "chi2")


@dataclass(frozen=True)
class Bound:
    """What the share that a figure names must keep to; ``low`` and ``high`` are ``None`` where it has no bound."""

    low: float | None = None
    high: float | None = None

    def broken(self, share_: float, count: int) -> bool:
        return any(
            bound is not None and sign * (share_ - bound) > 3 * (bound * (1 - bound) / count) ** 0.5
            for bound, sign in ((self.low, -1), (self.high, 1))
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} simulations of each instead of {SIMULATIONS:,}")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    arguments = parser.parse_args()
    started = time.monotonic()
    count = QUICK if arguments.quick else SIMULATIONS
    hits: Hits = {}
    # The processes that are started read this: each has one core.
    os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        for found in pool.map(run, list(planned(count))):
            for figure, number in found.items():
                hits[figure] = hits.get(figure, 0) + number
    rates = {figure: number / count for figure, number in hits.items()}
    bounds = {figure: bound_of(figure) for figure in rates}
    broken = [figure for figure, value in rates.items() if bounds[figure].broken(value, count)]
    if arguments.json:
        seconds = round(time.monotonic() - started)
        rounded = {figure: round(value, 4) for figure, value in rates.items()}
        print(json.dumps({"simulations": count, "seconds": seconds, "broken": len(broken), **rounded}))
    else:
        for figure, value in rates.items():
            bound = bounds[figure]
            said = "" if bound.high is None else f"at most {bound.high:g}"
            said = said if bound.low is None else f"{bound.low:g} to {bound.high:g}"
            print(f"{value:7.4f}  {figure:62}  {said}{'  BROKEN' if figure in broken else ''}")
        print(f"{count} simulations of each, {len(broken)} of {len(rates)} figures beyond their bounds")
    for figure in broken:
        print(f"{figure}: {rates[figure]:.4f} of {count}", file=sys.stderr)
    return 1 if broken else 0


def planned(count: int) -> Iterator[Task]:
    """All tasks, those that take longest first."""
    wanted: list[tuple[str, tuple[str | int | float, ...]]] = [
        *(("signal", (null, 0.0)) for null in NULLS),
        *(("signal", (null, 1.5)) for null in NULLS),
        *(("paired", (clusters, items, size)) for clusters, items, size in PAIRED),
        *(("null", (size,)) for size in (0.0, 3.0, 4.0)),
        *(("recommended", (spread, planted)) for spread, planted in RECOMMENDED),
        *(
            ("coverage", (distribution, clusters, items))
            for distribution in DISTRIBUTIONS
            for clusters in (*FEW, *MANY)
            for items in (1, REPEATS)
        ),
        *(("few of a letter", (distribution, few)) for distribution in DISTRIBUTIONS for few in (5, 10)),
        *(("few of a category", (distribution, few)) for distribution in DISTRIBUTIONS for few in (1, 2, 4)),
        *(("share", (clusters, items, truth)) for clusters, items, truth in SHARES),
    ]
    for what, options in wanted:
        for first in range(0, count, AT_ONCE):
            yield Task(what, options, first, min(AT_ONCE, count - first))


def bound_of(figure: str) -> Bound:
    """By the figure's name: power, few clusters, and few of a letter or category have none."""
    if figure.startswith("power: "):
        return Bound()
    if "p <= " in figure:
        return Bound(high=float(figure.rpartition("p <= ")[2]))
    if "few of a" in figure or any(f"of {clusters} clusters" in figure for clusters in FEW):
        return Bound()
    return Bound(LEAST, MOST)


def run(task: Task) -> Hits:
    return RUNS[task.what](task)


RUNS: dict[str, Callable[[Task], Hits]] = {
    "signal": signal,
    "null": null,
    "recommended": recommended,
    "paired": paired,
    "coverage": coverage,
    "few of a letter": few_of_a_letter,
    "few of a category": few_of_a_category,
    "share": shares,
}


if __name__ == "__main__":
    sys.exit(main())
