"""Runs, and what was made from what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar

from caa_registry.digests import short
from caa_registry.display.records import Record, Table


@dataclass(frozen=True)
class RunRecord(Record):
    """One recorded activity: what was asked, where and by whom. ``failure``: what it failed of, empty where it did
    not."""

    _facts: ClassVar = "kind status failure actor parameters environment started_at finished_at"

    id: int
    kind: str
    actor: str
    parameters: Mapping[str, Any]
    environment: Mapping[str, Any]
    started_at: datetime
    finished_at: datetime
    failure: str = ""

    def _called(self) -> str:
        return f"run {self.id}"

    @property
    def status(self) -> str:
        """``done`` or ``failed``."""
        return "failed" if self.failure else "done"


@dataclass(frozen=True)
class RunDetail(Record):
    """A run with what it read and what it made, by reference, each with its kind: ``("vector", "team/x:v1")``.

    ``within``: the number of the script's run that it belongs to. Of a script's run, ``runs``: those that belong to
    it; ``used``: what they read that none of them made.
    """

    _columns: ClassVar = "id kind actor status inputs outputs started_at"

    run: RunRecord
    inputs: Sequence[tuple[str, str]]
    outputs: Sequence[tuple[str, str]]
    within: int | None = None
    runs: Sequence[int] = ()
    used: Sequence[tuple[str, str]] = ()

    def _called(self) -> str:
        return self.run._called()

    def _as_row(self) -> dict[str, Any]:
        run = {each: getattr(self.run, each) for each in ("id", "kind", "actor", "status", "parameters")}
        times = {"started_at": self.run.started_at, "finished_at": self.run.finished_at, "failure": self.run.failure}
        inputs, outputs = (
            [name if name.startswith(kind) else f"{kind}:{name}" for kind, name in things]
            for things in (self.inputs, self.outputs)
        )
        return {**run, "inputs": inputs, "outputs": outputs, **times, "within": self.within}


@dataclass(frozen=True)
class LineageNode(Record):
    """A dataset version, vector version, model, plan or evaluation, and the run that made it.

    ``key`` names it within its lineage. ``inputs``: keys of what the run read, for the root and its ancestors;
    ``outputs``: keys of what runs made of it, for the root and its descendants.
    """

    _columns: ClassVar = "kind reference digest run aliases inputs outputs"

    key: str
    kind: str
    reference: str
    digest: str
    run: RunRecord | None = None
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    aliases: Sequence[str] = ()

    @property
    def lines(self) -> list[str]:
        """What it is called, in the lines of a box: kind and reference, digest and aliases, the run that made it."""
        name = self.reference if self.kind == "evaluation" else f"{self.kind} {self.reference}"
        beside = " ".join(filter(None, (short(self.digest) if self.digest else "", ", ".join(self.aliases))))
        made = f"{self.run.kind} by {self.run.actor}, run {self.run.id}" if self.run else ""
        return [line for line in (name, beside, made) if line]


@dataclass(frozen=True)
class Lineage(Table):
    """What a version was made from, to the sources, and what was made from it, to the scores.

    ``nodes``: every node once, by its key: the root, then its ancestors, then its descendants, nearest first.
    """

    _facts: ClassVar = ""

    root: LineageNode
    nodes: Mapping[str, LineageNode] = field(repr=False)

    def _called(self) -> str:
        return self.root.reference

    def _rows(self) -> Sequence[LineageNode]:
        return list(self.nodes.values())

    def inputs(self, node: LineageNode) -> list[LineageNode]:
        """What ``node`` was made from."""
        return [self.nodes[key] for key in node.inputs]

    def outputs(self, node: LineageNode) -> list[LineageNode]:
        """What was made from ``node``."""
        return [self.nodes[key] for key in node.outputs]

    @property
    def arrows(self) -> list[tuple[str, str]]:
        """From what was read to what was made, by key, each once."""
        made_from = [(key, node.key) for node in self.nodes.values() for key in node.inputs]
        made_of = [(node.key, key) for node in self.nodes.values() for key in node.outputs]
        return list(dict.fromkeys(made_from + made_of))

    def within(self, depth: int) -> Lineage:
        """What is at most ``depth`` steps from the root, upwards or downwards."""
        kept = {self.root.key}
        for ways in ("inputs", "outputs"):
            nearest = [self.root]
            for _ in range(depth):
                nearest = [self.nodes[key] for node in nearest for key in getattr(node, ways)]
                kept |= {node.key for node in nearest}
        nodes = {
            key: replace(
                node,
                inputs=tuple(each for each in node.inputs if each in kept),
                outputs=tuple(each for each in node.outputs if each in kept),
            )
            for key, node in self.nodes.items()
            if key in kept
        }
        return Lineage(nodes[self.root.key], nodes)
