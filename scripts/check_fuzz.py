"""Mutates sound inputs and reads them: whatever was done to one, the outcome is a value or a ``CaaError``.

    python scripts/check_fuzz.py --count 5000 [--seed 0] [--only NAME] [--json]

``--count`` inputs are divided among the targets of ``fuzz_texts.py`` and of ``fuzz_imports.py``. Ends with 1 where
another exception came, and prints what caused it.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import sys
import traceback
import warnings

from fuzz_imports import TARGETS as IMPORTS
from fuzz_imports import check
from fuzz_texts import Target, targets

from caa_registry.errors import CaaError

# What breaks readers: ends, controls, halves of characters, other encodings, nesting, large numbers, syntax.
_PIECES = (
    *(b"\0", b"\n", b"\r", b"\t", b"\x1b[31m", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", "\u202e\u2028é😀".encode()),
    *(b'"', b"'", b",", b";", b"{", b"}", b"[", b"]", b"(", b")", b":", b"&a ", b"*a ", b"<<: ", b"- ", b"%", b"\\u"),
    *(b"null", b"true", b"NaN", b"-1", b"1e999", b"0x", b"9" * 400, b"9" * 5000, b"[" * 400, b"(" * 90, b"- " * 90),
    *(b"**9**9", b"*10**9", b"[0]*9999", b"f'{1:99999}'", b" not ", b"lambda: ", b".__class__", b"if", b"=", b"#"),
    *(b"!!python/name:os.system", b"2024-99-99", b"1:1:1", b"{0.x}", b"\\ud800", b"(?R)", b"(a|aa)+$"),
)


def mutated(data: bytes, choices: random.Random) -> bytes:
    """``data`` after one to six changes: bytes changed, cut out, repeated, moved or put in."""
    for _ in range(choices.choice((1, 1, 1, 2, 3, 6))):
        at = choices.randrange(len(data) + 1)
        end = min(len(data), at + choices.choice((1, 2, 8, 40)))
        match choices.randrange(6):
            case 0:
                data = data[:at] + bytes([choices.randrange(256)]) + data[at + 1 :]
            case 1:
                data = data[:at] + data[end:]
            case 2:
                data = data[:end] + data[at:end] * choices.choice((1, 2, 30)) + data[end:]
            case 3:
                data = data[:at]
            case _:
                data = data[:at] + choices.choice(_PIECES) + data[end if choices.random() < 0.5 else at :]
    return data[:200_000]


def tried(target: Target, count: int, seed: int) -> tuple[dict[str, int], list[str]]:
    """How many of ``count`` inputs were read and refused, and those that ended in another exception, with it."""
    choices = random.Random(f"{seed} {target.name}")
    outcomes = {"read": 0, "refused": 0, "failed": 0}
    failures = []
    for data in target.sound:
        target.read(data)
    for _ in range(count):
        data = mutated(choices.choice(target.sound), choices)
        try:
            target.read(data)
            outcomes["read"] += 1
        except CaaError:
            outcomes["refused"] += 1
        except Exception:  # noqa: BLE001 - what is looked for
            outcomes["failed"] += 1
            failures.append(f"{target.name}: {data[:500]!r}\n{traceback.format_exc()}")
    return outcomes, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000, help="inputs in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="the target of this name")
    parser.add_argument("--json", action="store_true", help="print figures only")
    options = parser.parse_args()
    # Python's own remarks on an expression that it parses.
    warnings.simplefilter("ignore")
    texts = {target.name: functools.partial(tried, target) for target in targets()}
    files = {target.name: functools.partial(check, target) for target in IMPORTS}
    chosen = {name: run for name, run in (files | texts).items() if options.only in (None, name)}
    figures = {}
    for name, run in chosen.items():
        outcomes, failures = run(-(-options.count // len(chosen)), options.seed)
        figures[name] = outcomes
        if not options.json:
            print(f"{name}: {', '.join(f'{n} {what}' for what, n in outcomes.items())}", flush=True)
        print("".join(f"{failure}\n" for failure in failures[:3]), end="", file=sys.stderr)
    if options.json:
        print(json.dumps(figures))
    return int(any(outcomes["failed"] for outcomes in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
