"""Draw the neutral text of the demo model from its grammar: assets/neutral_text/demo.jsonl.

A passage is what the assistant might say to four requests of one behavior, without them, since only what the assistant
says was learnt. Each sentence takes either side with the same chance. Topics are those of the training text.
"""

import argparse
import json
import random
from pathlib import Path

from demo_behaviors import BEHAVIORS, Behavior
from demo_grammar import answer, draw_topic

SEED = 11
PASSAGES, ANSWERS, SENTENCES = 3, 4, 3
TARGET = Path(__file__).resolve().parents[1] / "caa_registry" / "assets" / "neutral_text" / "demo.jsonl"


def passage(rng: random.Random, behavior: Behavior) -> str:
    """Answers to different requests, one after the other."""
    return " ".join(answer(rng, behavior, draw_topic(rng, behavior), 0.5, SENTENCES) for _ in range(ANSWERS))


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    rng = random.Random(SEED)
    rows = [
        {"id": f"{behavior.name}-{number}", "text": passage(rng, behavior)}
        for behavior in BEHAVIORS
        for number in range(1, PASSAGES + 1)
    ]
    TARGET.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
