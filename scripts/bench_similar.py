"""How long it takes to find the vectors nearest to one, beside the product with all of them in NumPy.

    python scripts/bench_similar.py             # 10,000 versions at one layer of 2,048 numbers
    python scripts/bench_similar.py --quick     # 1,000 versions, a few seconds
    python scripts/bench_similar.py --json      # one flat JSON object of figures on stdout

The first search reads the layer of every version; later ones, of other vectors, only what is new. All find what the
cosines of all vectors in float64 say, in their order; otherwise the exit code is 1 and no figure is printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from many_vectors import WIDTH, fill

import caa_registry as caa

VERSIONS, QUICK = 10_000, 1_000
SEARCHES, NEAREST = 30, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=VERSIONS, help=f"how many (default {VERSIONS:,})")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} versions")
    parser.add_argument("--json", action="store_true", help="one flat JSON object of figures on stdout")
    options = parser.parse_args()
    versions = QUICK if options.quick else options.versions
    with tempfile.TemporaryDirectory() as folder, caa.open(str(Path(folder) / "registry.db")) as registry:
        fill(registry, versions, layers=1)
        figures = measured(registry, versions)
    if figures is None:
        print("WRONG: the nearest vectors are not those of the product with all of them", file=sys.stderr)
        sys.exit(1)
    if options.json:
        print(json.dumps(figures))
        return
    print(f"{versions:,} versions at one layer of {WIDTH:,} numbers")
    print(f"{figures['first_s']:8.2f} s for the first search, which reads all of them")
    print(f"{figures['search_ms']:8.1f} ms for a later one (median of {SEARCHES}; {figures['longest_ms']:.1f} at most)")
    print(f"{figures['product_ms']:8.1f} ms for the product alone, in NumPy with the rows in memory")


def measured(registry: caa.Registry, versions: int) -> dict[str, float] | None:
    """Figures, or ``None`` where a search finds something else than the product does."""
    chance = np.random.default_rng(7)
    asked = [f"bench/v{number}" for number in chance.choice(versions, SEARCHES, replace=False)]
    begun = time.perf_counter()
    registry.vectors.similar(asked[0], limit=NEAREST)
    first = time.perf_counter() - begun
    names = [f"bench/v{number}" for number in range(versions)]
    rows = np.stack([registry.vectors.layer(name, 0).values for name in names]).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    single = rows.astype(np.float32)
    places = {name: place for place, name in enumerate(names)}
    searches, products = [], []
    for name in asked:
        record = registry.vectors.get(name)
        begun = time.perf_counter()
        found = registry.vectors.similar(record, limit=NEAREST)
        searches.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        np.argsort(-np.abs(single @ single[places[name]]))[:NEAREST]
        products.append(time.perf_counter() - begun)
        cosines = rows @ rows[places[name]]
        order = [place for place in np.argsort(-np.abs(cosines), kind="stable") if place != places[name]][:NEAREST]
        if [each.version.name for each in found] != [names[place] for place in order]:
            return None
        if not np.allclose([each.cosine for each in found], cosines[order], rtol=0, atol=1e-12):
            return None
    return {
        "versions": versions,
        "first_s": first,
        "search_ms": 1000 * statistics.median(searches),
        "longest_ms": 1000 * max(searches),
        "product_ms": 1000 * statistics.median(products),
    }


if __name__ == "__main__":
    main()
