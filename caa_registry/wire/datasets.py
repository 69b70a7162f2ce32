"""Dataset versions, their rows and what is known of them, as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from caa_registry.pairs.record import Pair, PairItem, QuestionItem
from caa_registry.pairs.turns import turns_json

if TYPE_CHECKING:
    from caa_registry.pairs.lint.findings import Finding
    from caa_registry.pairs.sources.mappings import SavedMapping
    from caa_registry.pairs.sources.seeds import SeedSet
    from caa_registry.registry.records import DatasetStatistics, DatasetVersion, LintReport, Pushed


def dataset_json(version: DatasetVersion) -> dict[str, Any]:
    """A dataset version."""
    return {
        "name": version.name,
        "version": version.number,
        "reference": version.reference,
        "digest": version.digest,
        "kind": version.kind,
        "behavior": version.behavior,
        "pairs": version.n_items,
        "splits": dict(version.splits),
        "parent": version.parent,
        "licence": version.licence,
        "description": version.description,
        "message": version.message,
        "by": version.actor,
        "aliases": list(version.aliases),
        "tags": dict(version.tags),
        "recalled": version.recalled,
        "deprecated": version.deprecated,
        "created_at": version.created_at.isoformat(),
        "unchecked_before": version.unchecked_before.isoformat() if version.unchecked_before else None,
        "source": version.source.to_json(),
    }


def pair_json(pair: Pair) -> dict[str, Any]:
    """The texts of a pair, and its turns where it has any."""
    texts = {"prompt": pair.prompt, "positive": pair.positive, "negative": pair.negative, "system": pair.system}
    return {**texts, "turns": turns_json(pair.turns)} if pair.turns else texts


def item_json(item: PairItem | QuestionItem) -> dict[str, Any]:
    """A row: a pair or a question."""
    if isinstance(item, PairItem):
        return {"digest": item.digest, "split": item.split, **pair_json(item.pair), "metadata": dict(item.metadata)}
    return {"digest": item.digest, "split": item.split, "text": item.text, "metadata": dict(item.metadata)}


def dataset_page_json(
    version: DatasetVersion,
    statistics: DatasetStatistics,
    report: LintReport | None,
    items: Sequence[PairItem | QuestionItem],
) -> dict[str, Any]:
    """A dataset version with its statistics, the summary of its lint report, and rows."""
    return {
        **dataset_json(version),
        "statistics": dataclasses.asdict(statistics),
        "lint": dict(report.summary) if report else None,
        "items": [item_json(item) for item in items],
    }


def lint_json(report: LintReport, findings: Sequence[Finding]) -> dict[str, Any]:
    """A lint report with those of its findings that are asked for."""
    return {
        "dataset": report.dataset,
        "report": report.id,
        "summary": dict(report.summary),
        "parameters": dict(report.parameters),
        "created_at": report.created_at.isoformat(),
        "findings": [{**dataclasses.asdict(finding), "severity": finding.severity} for finding in findings],
    }


def seed_json(seed: SeedSet) -> dict[str, Any]:
    """A pair set that ships with the package."""
    return {"name": seed.name, "behavior": seed.behavior, "form": seed.form, "splits": dict(seed.counts)}


def mapping_json(mapping: SavedMapping) -> dict[str, Any]:
    """How the rows of a public dataset are read."""
    return {**mapping.as_json(), "repos": list(mapping.repos), "documentation": mapping.documentation}


def pushed_json(version: DatasetVersion, pushed: Pushed) -> dict[str, Any]:
    """Where a version was uploaded to."""
    return {"dataset": version.reference, "digest": version.digest, **dataclasses.asdict(pushed)}
