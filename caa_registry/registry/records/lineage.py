"""Runs, and what was made from what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class RunRecord:
    """One recorded activity: what was asked, where and by whom."""

    id: int
    kind: str
    actor: str
    parameters: Mapping[str, Any]
    environment: Mapping[str, Any]
    started_at: datetime
    finished_at: datetime


@dataclass(frozen=True)
class RunDetail:
    """A run with what it read and what it made, by reference, each with its kind: ``("vector", "team/x:v1")``."""

    run: RunRecord
    inputs: Sequence[tuple[str, str]]
    outputs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class LineageNode:
    """A dataset version, vector version, model, plan or evaluation, and the run that made it.

    ``key`` names it within its lineage. ``inputs``: keys of what the run read, for the root and its ancestors;
    ``outputs``: keys of what runs made of it, for the root and its descendants.
    """

    key: str
    kind: str
    reference: str
    digest: str
    run: RunRecord | None = None
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    aliases: Sequence[str] = ()


@dataclass(frozen=True)
class Lineage:
    """What a version was made from, to the sources, and what was made from it, to the scores.

    ``nodes``: every node once, by its key: the root, then its ancestors, then its descendants, nearest first.
    """

    root: LineageNode
    nodes: Mapping[str, LineageNode] = field(repr=False)

    def inputs(self, node: LineageNode) -> list[LineageNode]:
        """What ``node`` was made from."""
        return [self.nodes[key] for key in node.inputs]

    def outputs(self, node: LineageNode) -> list[LineageNode]:
        """What was made from ``node``."""
        return [self.nodes[key] for key in node.outputs]
