"""The parts of a report that a reader looks for first and last: what was decided, and where it was computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from caa_registry.registry.records import CalibrationOutcome, RunRecord
from caa_registry.registry.reports.text import between, change, signed, table


def verdict_section(outcome: CalibrationOutcome | None, reference: str) -> Iterator[str]:
    """What the newest calibration of the vector came to, condition by condition."""
    yield "## Verdict"
    yield ""
    if outcome is None:
        yield (
            f"No calibration has decided about this vector: `caa eval calibrate {reference}` chooses a layer and a "
            "multiplier on one half of the questions and tests them on the other."
        )
        yield ""
        return
    evidence = outcome.evidence
    if evidence is None:
        yield from (f"**Nothing is recommended**: {outcome.reason}.", "")
        return
    cell = f"layer {outcome.layer}, multiplier {signed(outcome.multiplier)}"
    if outcome.reason:
        yield f"**Nothing is recommended.** The best of what was measured is {cell}, and it fails."
    else:
        yield f"**{outcome.summary.capitalize()}**: {cell} may be recommended."
    effect, score, n = evidence["effect_b"], evidence["score_b"], evidence["items"]["b"]
    questions = "the one question" if n == 1 else f"the {n} questions"
    yield (
        f"On {questions} that had no part in the choice the propensity there is {score['value']:.3f} "
        f"({_range(score)}), changed by {change(effect['value'])} ({_range(effect)}) in the intended direction "
        f"({evidence['direction']})."
    )
    yield ""
    rows = [(each["name"], _held(each), each["figure"]) for each in evidence["verdict"]]
    yield from table(["condition", "holds", "figure"], rows)


def environment_section(run: RunRecord | None) -> Iterator[str]:
    """Where and when the evaluation that is shown was measured."""
    if run is None:
        return
    facts = run.environment
    packages = ", ".join(f"{name} {version}" for name, version in facts.get("packages", {}).items())
    rows = [
        (
            "measured",
            f"{run.started_at.isoformat(timespec='seconds')} to {run.finished_at.isoformat(timespec='seconds')}",
        ),
        ("by", run.actor),
        ("on", f"{facts.get('platform', '')} {facts.get('machine', '')}, {facts.get('device', 'device unknown')}"),
        ("matrix products", _blas(facts.get("blas", {}))),
        ("software", f"Python {facts.get('python', '')}, {packages}"),
    ]
    yield "## Environment"
    yield ""
    yield from table(["", ""], rows)


def _held(condition: Mapping[str, Any]) -> str:
    if condition["met"]:
        return "yes"
    return "no, accepted" if condition["accepted"] else "**no**"


def _range(interval: Mapping[str, Any]) -> str:
    return between(interval["low"], interval["high"]) or "no interval: too few questions"


def _blas(facts: Mapping[str, Any]) -> str:
    if "version" not in facts:
        return str(facts.get("library", ""))
    threads = "1 thread" if facts["threads"] == 1 else f"{facts['threads']} threads"
    return f"{facts['library']}, {facts['version']}, {threads}"
