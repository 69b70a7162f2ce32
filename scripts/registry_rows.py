"""A registry of many rows, written straight into the catalogue: what ``bench_registry`` and a test list.

Every vector version has four layers, an evaluation with scores, and the runs that a computation leaves. Half of the
versions come from one dataset; each name has four versions, on models in turn. Three recalls stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, event, insert
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.integrity.row_digests import Sealed, digest_of_row, digest_of_rows
from caa_registry.digests import digest_bytes, digest_object
from caa_registry.evaluation.doses.ladder import DOSES, LARGEST_DOSE, score_at
from caa_registry.models.folder.fingerprint import Fingerprint
from caa_registry.pairs.source import Source
from caa_registry.registry.provenance.runs import digest_of_arrows
from caa_registry.registry.registry import Registry
from caa_registry.registry.rows import SCORE

BEHAVIORS = 20
MODELS = 3
LAYERS = 4
VERSIONS = 4
DIAMONDS = 10
STEPS = (-1.0, 0.0, 1.0)
SHARED = "bench/shared/behavior0"
TOP = "bench/diamonds"

_NOW = datetime(2024, 8, 5, tzinfo=UTC)
_AT_ONCE = 2000


@dataclass(frozen=True)
class Filled:
    """What a registry was filled with, in numbers: vector versions, their names, those for ``behavior1``, those of the
    shared dataset, the nodes of its lineage, and those that a recall reaches."""

    versions: int
    names: int
    of_behavior: int
    of_shared: int
    nodes: int
    quarantined: int


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that are sent to any database while the context lasts."""
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def digest(text: str) -> str:
    return digest_bytes(text.encode())


def fill(registry: Registry, versions: int) -> Filled:
    """Fill an empty registry with ``versions`` vector versions, a multiple of 4, and what belongs to them."""
    datasets = max(BEHAVIORS, versions // 20)
    # The first half comes from the shared dataset; the rest from all others in turn. Datasets are counted from 1.
    of_version = [1 if i < versions // 2 else 2 + i % (datasets - 1) for i in range(versions)]
    behavior_of = {id: (id - 1) % BEHAVIORS for id in range(1, datasets + 1)}
    with registry.database.write() as session:
        rows = _Rows(session)
        _datasets(rows, behavior_of)
        _vectors(rows, of_version)
        _evaluations(rows, of_version)
        _diamonds(rows, datasets + 1)
        # A pair of the second dataset, a pair that is nowhere else, and the third dataset as a whole.
        recalls = [(digest("pair 2 0"), None), (digest("pair 4 1"), None), (None, 3)]
        rows.add(
            t.Recall,
            (
                {"pair_digest": pair, "version_id": version, "lifted": False, "why": "bad", "actor": "bench", **_at()}
                for pair, version in recalls
            ),
        )
    return Filled(
        versions=versions,
        names=versions // VERSIONS,
        of_behavior=sum(behavior_of[id] == 1 for id in of_version),
        of_shared=versions // 2,
        # The dataset itself, its vectors, and an evaluation of each.
        nodes=1 + versions,
        quarantined=sum(id in (2, 3, 4) for id in of_version),
    )


class _Rows:
    """Rows to insert, many at a time, and runs numbered from 1."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._run = 0

    def add(self, table: Any, rows: Iterable[dict[str, Any]]) -> None:
        part: list[dict[str, Any]] = []
        for row in rows:
            if issubclass(table, Sealed):
                row["row_digest"] = digest_of_row(table.__tablename__, row, table.__movable__)
            part.append(row)
            if len(part) == _AT_ONCE:
                self._session.execute(insert(table), part)
                part = []
        if part:
            self._session.execute(insert(table), part)

    def runs(self, kind: str, links: Iterable[tuple[list[tuple[str, int]], list[tuple[str, int]]]]) -> None:
        """One run for each of ``links``, which are its inputs and outputs."""
        runs, lines = [], []
        environment = {"platform": "Linux", "machine": "x86_64", "python": "3.11", "packages": {"mlx": "0.20"}}
        for inputs, outputs in links:
            self._run += 1
            times = {"started_at": _NOW, "finished_at": _NOW}
            sides = (("input", inputs), ("output", outputs))
            arrows = [(side, of, id, "") for side, things in sides for of, id in things]
            run = {"kind": kind, "parameters": {}, "environment": environment, "actor": "bench", **times}
            runs.append({**run, "arrows_digest": digest_of_arrows(arrows)})
            lines += [
                {"run_id": self._run, "direction": side, "kind": of, "object_id": id, "role": role}
                for side, of, id, role in arrows
            ]
        self.add(t.Run, runs)
        self.add(t.RunIO, lines)


def _at() -> dict[str, Any]:
    return {"created_at": _NOW}


def _datasets(rows: _Rows, behavior_of: dict[int, int]) -> None:
    """One version of each, with four pairs. Every third one states its behavior; the rest have it in their name."""
    ids = list(behavior_of)
    names = {id: SHARED if id == 1 else f"bench/d{id}/behavior{behavior_of[id]}" for id in ids}
    stated = {id: f"behavior{behavior_of[id]}" for id in ids if id % 3 == 0}
    names |= {id: f"bench/d{id}/pairs" for id in stated}
    _named(rows, names, stated)
    pairs = [(id, place, digest(f"pair {id} {place}")) for id in ids for place in range(4)]
    texts = {"prompt": "?", "positive": "(A)", "negative": "(B)", "system": ""}
    rows.add(t.Pair, ({"digest": pair, **texts} for _, _, pair in pairs))
    rows.add(
        t.DatasetMember,
        (
            {
                "version_id": id,
                "position": place,
                "pair_digest": pair,
                "split": "generate" if place < 2 else "test",
                "details": {},
            }
            for id, place, pair in pairs
        ),
    )
    rows.runs("import", (([], [("dataset", id)]) for id in ids))


def _named(rows: _Rows, names: dict[int, str], stated: dict[int, str]) -> None:
    """The first version of each dataset, by its id; ``stated``: behaviors."""
    rows.add(t.Dataset, ({"name": name, "kind": "pairs", **_at()} for name in names.values()))
    same = {"number": 1, "parent_id": None, "message": "", "licence": "", "n_items": 4, **_at()}
    figures = {"splits": [{"split": "generate", "rows": 2}, {"split": "test", "rows": 2}]}
    rows.add(
        t.DatasetVersion,
        (
            {
                "dataset_id": id,
                "digest": digest(f"dataset {id}"),
                "source": Source(f"bench/{id}.jsonl", "jsonl", behavior=stated.get(id), notes=()).to_json(),
                "statistics": figures,
                **same,
            }
            for id in names
        ),
    )


def _vectors(rows: _Rows, of_version: list[int]) -> None:
    versions = len(of_version)
    part = {"config": digest("config"), "tokenizer": digest("tokenizer"), "chat_template": digest("none")}
    fingerprints = [Fingerprint(digest(f"weights {m}"), **part).digest for m in range(MODELS)]
    rows.add(
        t.Model,
        (
            {
                "name": f"model-{m}",
                "fingerprint": fingerprints[m],
                "weights": digest(f"weights {m}"),
                **part,
                "architecture": "llama",
                "n_layers": LAYERS,
                "d_model": 1,
                "context_length": None,
                "quantization": {},
                "repo_id": None,
                "revision": None,
                "path": None,
                **_at(),
            }
            for m in range(MODELS)
        ),
    )
    names = versions // VERSIONS
    rows.add(t.Vector, ({"name": f"bench/v{i:05}", **_at()} for i in range(names)))
    recipe = {
        "method": "mean-difference",
        "split": "generate",
        "read": "answer",
        "template": "plain",
        "template_digest": digest("plain"),
        "layers": list(range(LAYERS)),
        "dtype": "float32",
        "pairs": 2,
        "skipped_too_long": 0,
    }
    layers = [
        {
            "layer": layer,
            "offset": 4 * layer,
            "nbytes": 4,
            "sha256": digest(f"layer {layer}"),
            "norm": 1.0,
            "residual_norm": 2.0,
            "quality": None,
        }
        for layer in range(LAYERS)
    ]
    rows.add(t.Blob, ({"digest": digest(f"blob {i}"), "size": 1, "data": b"."} for i in range(versions)))
    rows.add(
        t.VectorVersion,
        (
            {
                "vector_id": i % names + 1,
                "number": i // names + 1,
                "digest": digest_object(
                    "vector",
                    {
                        "tensors": digest(f"tensors {i}"),
                        "dataset": digest(f"dataset {of_version[i]}"),
                        "model": fingerprints[i // names % MODELS],
                        "recipe": recipe,
                    },
                ),
                "tensor_digest": digest(f"tensors {i}"),
                "layers_digest": digest_of_rows("vector_layer", (list(layer.values()) for layer in layers)),
                "dataset_version_id": of_version[i],
                "model_id": i // names % MODELS + 1,
                "recipe": recipe,
                "blob_digest": digest(f"blob {i}"),
                "d_model": 1,
                **_at(),
            }
            for i in range(versions)
        ),
    )
    rows.add(
        t.VectorLayer,
        ({"version_id": i + 1, **layer} for i in range(versions) for layer in layers),
    )
    rows.add(
        t.Alias,
        (
            {
                "kind": "vector",
                "owner_id": i + 1,
                "name": "best",
                "dataset_version_id": None,
                "vector_version_id": i + 1,
                "recommendation": {"layers": [1], "multiplier": 1.0, "positions": "after_prompt"}
                | ({"evidence": {"verdict": []}} if i % 2 else {}),
                "updated_at": _NOW,
            }
            for i in range(names)
        ),
    )
    links = [
        ([("dataset", of_version[i]), ("model", i // names % MODELS + 1)], [("vector", i + 1)]) for i in range(versions)
    ]
    rows.runs("compute", links)


def _evaluations(rows: _Rows, of_version: list[int]) -> None:
    """One of each version on its own dataset; version i has a steerability of i at layer 2, less elsewhere, and so have
    its log-odds at every dose that it reaches."""
    names = len(of_version) // VERSIONS
    parameters = {
        "rows": "all",
        "template_digest": digest("plain"),
        "paper": False,
        "more_choices": 0,
        "beyond_letters": 0,
        "too_long": 0,
        "unscorable": 0,
        "interval": "percentile bootstrap over items, 95 %",
        "leaked": {"same": 0, "near": 0},
        "beside": {
            "controls": ["random"],
            "seeds": 20,
            "system_positive": "",
            "system_negative": "",
            "few_shot": 0,
        },
        "dtype": "float32",
        "operator": "add",
        "layers": list(range(LAYERS)),
        "multipliers": list(STEPS),
        "verdict": "exact",
    }
    model_of = [i // names % MODELS + 1 for i in range(len(of_version))]
    rows.add(
        t.Evaluation,
        (
            {
                "kind": "propensity",
                "vector_version_id": i + 1,
                "dataset_version_id": dataset,
                "split": "test",
                "model_id": model_of[i],
                "metric": "propensity",
                "positions": "after_prompt",
                "template": "plain",
                "parameters": parameters,
                "measurements": None,
                "scores_digest": digest_of_rows("score", ([row[name] for name in SCORE] for row in _scores(i))),
                **_at(),
            }
            for i, dataset in enumerate(of_version)
        ),
    )
    rows.add(t.Score, (row for i in range(len(of_version)) for row in _scores(i)))
    rows.runs(
        "evaluate",
        (
            ([("vector", i + 1), ("dataset", dataset), ("model", model_of[i])], [("evaluation", i + 1)])
            for i, dataset in enumerate(of_version)
        ),
    )


def _scores(i: int) -> Iterable[dict[str, Any]]:
    cells: list[tuple[str, int, float | None, str, float]] = []
    for layer in range(LAYERS):
        cells += [("vector", layer, step, "propensity", 0.5) for step in STEPS]
        cells += [
            (condition, layer, None, metric, float(i if layer == 2 and condition == "vector" else -1))
            for condition in ("vector", "random")
            for metric in ("steerability", "effect")
        ]
        at_doses = [score_at(statistic, dose) for statistic in ("log_odds", "effect") for dose in DOSES[:3]]
        cells += [("vector", layer, None, metric, float(i if layer == 2 else -1)) for metric in at_doses]
        cells.append(("vector", layer, None, LARGEST_DOSE, DOSES[2]))
    for position, (condition, layer, multiplier, metric, value) in enumerate(cells):
        interval = {"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1, "n": 2}
        place = {"evaluation_id": i + 1, "position": position, "condition": condition, "layer": layer}
        yield {**place, "multiplier": multiplier, "metric": metric, **interval}


def _diamonds(rows: _Rows, first: int) -> None:
    """Ten diamonds, one on another: a set, two made of it, one made of both, two of that, and so on."""
    count = 3 * DIAMONDS + 1
    names = {first + i: TOP if i == count - 1 else f"bench/part{i}" for i in range(count)}
    _named(rows, names, {})
    made_from: list[tuple[list[int], int]] = [([], 0)]
    for base in range(0, count - 1, 3):
        made_from += [([base], base + 1), ([base], base + 2), ([base + 1, base + 2], base + 3)]
    rows.runs(
        "curate",
        (([("dataset", first + i) for i in inputs], [("dataset", first + made)]) for inputs, made in made_from),
    )
