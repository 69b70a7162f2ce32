"""How dataset versions came about and what became of their pairs, as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from caa_registry.wire.datasets import dataset_json, item_json, pair_json

if TYPE_CHECKING:
    from caa_registry.pairs.diff import Change, Diff
    from caa_registry.registry.provenance.recalls import Downstream
    from caa_registry.registry.records import Blame, Curated, DatasetVersion, LogEntry, Reviews, Step


def curated_json(curated: Curated, *, dry_run: bool) -> dict[str, Any]:
    """What a curating operation did or would do."""
    return {
        "dry_run": dry_run,
        "changed": curated.changed,
        "version": dataset_json(curated.version) if curated.version else None,
        "existing": curated.version.existing if curated.version else False,
        "before": dict(curated.before),
        "after": dict(curated.after),
        "removed": curated.removed,
        "added": curated.added,
        "notes": list(curated.notes),
        "examples": {name: [item_json(item) for item in items] for name, items in curated.examples.items()},
    }


def diff_json(diff: Diff, counts: Mapping[str, int]) -> dict[str, Any]:
    """What changed between two versions."""
    return {
        "counts": dict(counts),
        "added": [item_json(item) for item in diff.added],
        "removed": [item_json(item) for item in diff.removed],
        "changes": [_change_json(change) for change in diff.changes],
    }


def _change_json(change: Change) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "before": item_json(change.before),
        "after": item_json(change.after),
        "words": {name: [list(piece) for piece in pieces] for name, pieces in change.words.items()},
    }


def log_entry_json(entry: LogEntry) -> dict[str, Any]:
    """A version in the history of its dataset: who made it, how, and how many rows it added and removed."""
    return {
        **dataset_json(entry.version),
        "actor": entry.actor,
        "what": entry.what,
        "added": entry.added,
        "removed": entry.removed,
    }


def blame_json(blame: Blame) -> dict[str, Any]:
    """Where a pair is used, and what was said of it."""
    return {
        "digest": blame.digest,
        "pair": pair_json(blame.pair),
        "versions": [{"reference": r, "split": s, "row": n} for r, s, n in blame.versions],
        "vectors": list(blame.vectors),
        "evaluations": list(blame.evaluations),
        "reviews": [{"dataset": name, **dataclasses.asdict(decision)} for name, decision in blame.reviews],
        "recalls": [
            {"why": recall.why, "by": recall.actor, "created_at": recall.created_at} for recall in blame.recalls
        ],
    }


def recall_json(downstream: Downstream, *, lifted: bool, dry_run: bool) -> dict[str, Any]:
    """What a recall reaches, or reached."""
    return {**dataclasses.asdict(downstream), "lifted": lifted, "dry_run": dry_run}


def replay_json(steps: Sequence[Step], version: DatasetVersion | None) -> dict[str, Any]:
    """The steps that made a version, done again."""
    return {
        "same": all(step.same for step in steps),
        "version": dataset_json(version) if version else None,
        "steps": [
            {"dataset": step.dataset, "what": step.what, "expected": step.expected, "found": step.found}
            for step in steps
        ],
    }


def reviews_json(reviews: Reviews) -> dict[str, Any]:
    """Who decided what of a dataset's pairs, and how far reviewers agree."""
    return {
        "dataset": reviews.dataset,
        "pairs": reviews.pairs,
        "reviewers": {name: reviews.counts(name) for name in reviews.reviewers},
        "agreement": [dataclasses.asdict(agreement) for agreement in reviews.agreements()],
        "decisions": [dataclasses.asdict(decision) for decision in reviews.decisions],
    }
