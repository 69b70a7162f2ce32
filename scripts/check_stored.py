#!/usr/bin/env python
"""Compare what is computed today with what was stored before, bit by bit, under the same BLAS, threads and memory.

    python scripts/check_stored.py

computes the ten vectors and five evaluations of tests/support/stored_computations.json on the demo model with MLX's
own BLAS and 1 GB, as they were computed then. Vectors and digests must have the same bits, scores must be equal to
1e-6. On another processor sums may differ in the last digits; what differs is printed, and the exit code is 1.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ |= {"CAA_BLAS": "none", "CAA_MEMORY": "1GB"}
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import caa_registry as caa


def main() -> int:
    from support.stored_computations import STORED, compute_all, evaluations, largest_difference, scores

    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CAA_HOME"] = folder
        with caa.open(f"{folder}/registry.db", actor="check") as registry:
            model = registry.models.load("demo")
            for place, (found, stored) in enumerate(zip(compute_all(registry, model), STORED["vectors"], strict=True)):
                different = [key for key in stored if found[key] != stored[key]]
                failed += bool(different)
                print(f"vector {place} ({stored['seed']}, {stored['how']}): {', '.join(different) or 'same bits'}")
            for name, evaluate in evaluations(registry, model).items():
                evaluation = evaluate()
                difference = largest_difference(scores(evaluation), STORED["scores"][name])
                failed += not difference <= 1e-6
                print(f"{name}: {len(STORED['scores'][name])} scores, largest difference {difference:.1e}")
                if name == "open-ended":
                    same = [answer.text for answer in registry.evaluations.answers(evaluation)] == STORED["texts"]
                    failed += not same
                    print(f"{name}: texts {'are the same' if same else 'differ'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
