"""A dataset card: what a set contrasts, where it comes from, how it was made, how it is imported again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from caa_registry.pairs.statistics import SplitStatistics

# The identifiers that the hub knows, by how licences are written elsewhere.
_KNOWN = {"mit": "mit", "apache-2.0": "apache-2.0", "cc-by-4.0": "cc-by-4.0", "cc-by-sa-4.0": "cc-by-sa-4.0",
          "cc0-1.0": "cc0-1.0", "cc-by-nc-4.0": "cc-by-nc-4.0", "cc by 4.0": "cc-by-4.0"}  # fmt: skip


@dataclass(frozen=True)
class CardFacts:
    """What a card tells. ``made``: the steps from the sources, oldest first; ``lint``: the summary of the newest
    report; ``files``: of each split, for a hub."""

    name: str
    reference: str
    digest: str
    kind: str
    behavior: str
    licence: str
    splits: Sequence[SplitStatistics]
    made: Sequence[str]
    positive: str = ""
    negative: str = ""
    lint: Mapping[str, Any] | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    home: str = ""


def card(facts: CardFacts) -> str:
    """The card as Markdown with front matter."""
    import yaml

    total = sum(split.rows for split in facts.splits)
    head: dict[str, Any] = {"pretty_name": facts.name}
    head |= licence_fields(facts.licence)
    head |= {"tags": ["contrastive-pairs", "activation-steering", "caa"], "size_categories": [_size(total)]}
    if facts.files:
        paths = [{"split": split, "path": path} for split, path in facts.files.items()]
        head["configs"] = [{"config_name": "default", "data_files": paths}]
    noun = "contrastive pairs" if facts.kind == "pairs" else "open-ended questions"
    lines = [
        f"# {facts.name}",
        "",
        f"{total} {noun} for the behavior **{facts.behavior}**.",
        *([f"- **positive**: {facts.positive}"] if facts.positive else []),
        *([f"- **negative**: {facts.negative}"] if facts.negative else []),
        "",
        "| split | rows | distinct | matching letter |",
        "|---|---|---|---|",
        *(
            f"| {s.split} | {s.rows} | {s.distinct} | {', '.join(f'{k} {n}' for k, n in s.letters.items())} |"
            for s in facts.splits
        ),
        "",
        "## How it was made",
        "",
        *(f"{i}. {step}" for i, step in enumerate(facts.made, 1)),
        "",
        f"Version {facts.reference}, `{facts.digest}`. The digest covers the pairs and their splits, in any order.",
        f"Licence: {facts.licence or 'not known'}.",
    ]
    if facts.lint:
        # Not every database keeps the order of keys.
        found = sorted(facts.lint["counts"].items(), key=lambda each: (-each[1], each[0]))
        counts = ", ".join(f"{name} {n}" for name, n in found) or "nothing found"
        lines += ["", "## Lint", "", f"Score {facts.lint['score']:g} of 100: {counts}."]
    if facts.home:
        lines += ["", "## Use", "", "```", f"caa dataset import hf:{facts.home} --name {facts.name}", "```"]
    front = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n" + "\n".join(lines) + "\n"


def licence_fields(licence: str) -> dict[str, str]:
    """What the front matter of a card says of a licence; nothing of one that is not known."""
    if not licence:
        return {}
    known = _KNOWN.get(licence.strip().lower())
    return {"license": known} if known else {"license": "other", "license_name": _slug(licence)}


def _slug(text: str) -> str:
    return "-".join(text.lower().split())


def _size(n: int) -> str:
    steps = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((name for limit, name in steps if n < limit), "1M<n<10M")
