"""Lineage as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caa_registry.registry.records import Lineage, LineageNode, RunRecord


def lineage_json(lineage: Lineage) -> dict[str, Any]:
    """Every node and every run once: ``root``, and the ``inputs`` and ``outputs`` of nodes, are keys of ``nodes``;
    their ``run`` is the id of one of ``runs``."""
    runs = {node.run.id: node.run for node in lineage.nodes.values() if node.run}
    return {
        "root": lineage.root.key,
        "nodes": [_node_json(node) for node in lineage.nodes.values()],
        "runs": [run_json(run) for _, run in sorted(runs.items())],
    }


def _node_json(node: LineageNode) -> dict[str, Any]:
    return {
        "key": node.key,
        "kind": node.kind,
        "reference": node.reference,
        "digest": node.digest,
        "aliases": list(node.aliases),
        "run": node.run.id if node.run else None,
        "inputs": list(node.inputs),
        "outputs": list(node.outputs),
    }


def run_json(run: RunRecord) -> dict[str, Any]:
    """A recorded activity."""
    return {
        "id": run.id,
        "kind": run.kind,
        "actor": run.actor,
        "parameters": dict(run.parameters),
        "environment": dict(run.environment),
        "started_at": run.started_at.isoformat(),
        "finished_at": run.finished_at.isoformat(),
        "status": run.status,
        "failure": run.failure,
    }
