"""A record of each kind, from calls of a real registry on the demo model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np

import caa_registry as caa
from caa_registry.display.records import Record
from caa_registry.formats.reading import read_vectors


class Rates:
    """A judge that finds every answer worth a 7."""

    identity = caa.JudgeIdentity("endpoint", "sevens", "rubric", "https://judge.example/v1", {"temperature": 0}, 1)

    def ratings(self, answers: Sequence[caa.Answered]) -> Iterator[caa.Rating]:
        for place in range(len(answers)):
            yield caa.Rating(place, 7.0, "7")


def handed_out(registry: caa.Registry, folder: Path) -> Iterator[Any]:
    """What the methods of a registry give, one after the other."""
    demo = registry.models.load("demo")
    datasets, vectors, evaluations = registry.datasets, registry.vectors, registry.evaluations
    yield from (demo, registry.models.add(demo), demo.longest())
    pairs = datasets.import_("seed:demo-sycophancy", name="team/agreeing")
    yield from (pairs, datasets.ls(), datasets.pairs(pairs), datasets.statistics(pairs), datasets.lint(pairs))
    added = datasets.add("team/small", pairs=[("q", "a", "b"), ("r", "a", "b"), ("r", "a", "b")], licence="CC0-1.0")
    yield datasets.add(
        "team/turns", pairs=[caa.Pair("q", "a", "b", turns=(caa.Turn("user", "x"), caa.Turn("assistant", "y")))]
    )
    yield from (datasets.curate(caa.Dedupe(), added), datasets.log("team/small"), datasets.replay("team/small"))
    yield datasets.diff("team/small:v1", "team/small")
    datasets.review(added, [(datasets.pairs(added)[0].digest, "accepted", "fine")], reviewer="bea")
    datasets.review(added, [(datasets.pairs(added)[0].digest, "rejected", "not so")], reviewer="ada")
    yield from (datasets.reviews(added), datasets.reviews(added).agreements())
    yield datasets.blame(datasets.pairs(added)[0].digest)
    questions = folder / "questions.json"
    questions.write_text('[{"question": "Do you agree?"}, {"question": "Why?"}]')
    yield datasets.questions(datasets.import_(str(questions), name="team/questions"))

    vector = vectors.compute("team/agreeing", dataset=pairs, model=demo)
    other = vectors.compute("team/mood", dataset=datasets.import_("seed:demo-sentiment", name="team/mood"), model=demo)
    yield from (
        vector,
        other,
        vectors.ls(),
        vectors.load(vector),
        vectors.layer(vector, 2),
        vectors.normalize([vector, other]),
    )
    yield vectors.compute("team/agreeing", dataset=pairs, model=demo, force=True)
    yield vectors.verify(vector, recompute=True)
    yield vectors.combine("team/both", ["team/agreeing", "team/mood:v1:-0.5"])
    (file,) = vectors.export(vector, folder / "agreeing.npz")
    yield (vectors.import_(file, name="team/taken"), read_vectors([file]))
    yield from (vectors.similar(vector, layer=2), vectors.compare("team/agreeing", "team/both"))
    lock = vectors.lock(vector)
    yield from (lock, vectors.compute_locked(lock))
    prompt = "I think seven plus two is ten. Do you agree?"
    yield from (
        vectors.tokens(vector, demo, prompt, layer=2),
        demo.next_tokens(prompt),
        registry.next_tokens(demo, vector, prompt),
    )

    on = {"model": demo, "layers": [2], "multipliers": [-2, 0, 2]}
    scores = evaluations.propensity(vector, **on, settings=caa.PropensitySettings(draws=19))
    yield from (scores, evaluations.ls(), evaluations.items(scores), evaluations.shapes(scores))
    yield from (evaluations.caveats(scores), evaluations.measurements(scores.id), evaluations.evidence([vector]))
    yield from (evaluations.leaderboard(), evaluations.verify(scores, recompute=True))
    yield evaluations.compare("team/agreeing", "team/agreeing", layer=2)
    yield evaluations.cross([vector, other], model=demo, layer=2)
    yield evaluations.side_effects(vector, **on, text="demo")
    settings = caa.OpenEndedSettings(limit=2, max_tokens=8)
    answers = evaluations.open_ended(vector, dataset=pairs, settings=settings, **on)
    yield from (
        answers,
        evaluations.answers(answers),
        evaluations.rate(answers, Rates()),
        evaluations.judgements(answers),
    )
    calibrated = evaluations.calibrate(other, model=demo, layers=[2], settings=caa.CalibrationSettings(text="demo"))
    yield from (calibrated, registry.aliases.ls(), registry.aliases.log("vector:team/mood"))
    yield from (registry.tags.set("team/small", {"status": "reviewed"}), registry.search("small"))
    yield registry.describe("team/small", text="Two pairs of a test.")
    with registry.steer(demo, "team/mood:best") as steering:
        yield from (steering, caa.Steer("team/mood:best"))
    yield registry.reports.tables(vector)
    plan = registry.plans.make(
        "team/plan",
        vector,
        model=demo,
        layers=[2],
        multipliers=[-2, 2],
        settings=caa.PlanSettings(draws=19),
    )
    ran = registry.plans.run(plan)
    yield from (plan, registry.plans.ls(), ran, registry.plans.outcome(ran))

    yield from (
        registry.lineage("vector:team/mood:best"),
        registry.runs.ls(),
        registry.audit.ls(),
        registry.audit.verify(),
    )
    yield from (registry.fsck(), registry.backup(folder / "copy.db"), registry.repair(registry.fsck()))
    yield from (registry.bundle("vector:team/mood:best", path=folder / "mood.caa"), registry.remotes.ls())
    yield registry.publish("vector:team/mood:best", to="hf:team/mood", dry_run=True)
    with caa.open(str(folder / "other.db")) as elsewhere:
        yield elsewhere.open_bundle(folder / "mood.caa")
    yield registry.diff(str(folder / "other.db"))
    yield datasets.recall("team/small:v1", why="a test", dry_run=True)
    registry.delete(f"evaluation:{ran.id}")
    yield registry.gc(grace=timedelta(0), dry_run=True)


def within(value: Any) -> Iterator[Any]:
    """``value`` and all records in it."""
    if isinstance(value, Record):
        yield value
    if is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            yield from within(getattr(value, each.name))
    elif isinstance(value, Mapping):
        for held in value.values():
            yield from within(held)
    elif isinstance(value, list | tuple):
        for held in value:
            yield from within(held)


def given_by_hand() -> list[Any]:
    """One of each kind that callers make, or that takes another machine, or damage, to be handed out."""
    from caa_registry.evaluation.open_ended.rubrics import find_rubric

    moment = datetime(2026, 11, 29, tzinfo=UTC)
    item = caa.PairItem(caa.Pair("q", "a", "b", turns=(caa.Turn("user", "Hi"), caa.Turn("assistant", "Hello."))))
    rubric, digest = find_rubric("sycophancy"), f"sha256:{'0' * 64}"
    pinned = caa.Pinned("team/a", digest)
    check = caa.SignatureCheck("ed25519:AAAA", "ada", "ada", moment, "")
    return [
        *(caa.Balance(), caa.Dedupe(), caa.Edit("why"), caa.Filter("row > 1"), caa.Keep([digest], "why")),
        *(
            caa.Drop([{"pair": digest, "split": "test"}], "why"),
            caa.Expand({"prompt": "{x}?", "positive": "a", "negative": "b", "slots": {"x": ["1"]}}),
            caa.Merge(),
        ),
        *(caa.Relabel("why"), caa.Sample(3), caa.Split("0.2"), caa.ToAB(), caa.ToFreeForm()),
        *(caa.PropensitySettings(), caa.OpenEndedSettings(), caa.CalibrationSettings(), caa.Shard(1, 2)),
        *(caa.ToCompute("team/a", "team/a"), caa.PlannedRecipe("a", pinned, "test", "pca", "last", "chat")),
        *(caa.Answered("q", "a"), caa.Rating(0, 7.0, "7"), Rates.identity, rubric),
        *(
            caa.EndpointJudge("https://judge.example/v1", "judge", rubric),
            caa.LocalJudge(cast("Any", "a model"), rubric),
        ),
        *(caa.Caveat("few", "Few questions."), caa.CalibrationOutcome(moment, "", 2, 1.0, {"verdict": []})),
        caa.CategoryScores({"law": caa.Interval(0.5, 0.4, 0.6, 9)}, *[caa.Interval(0.5, None, None, 9)] * 2),
        *(item, caa.Change("split", item, item), caa.CurationResult([item]), caa.Neighbour("team/b:v1", 3)),
        *(caa.Imported("pairs", [item], caa.Source("x.json", "json")), caa.Pushed("org/name", "0" * 40, ["a.jsonl"])),
        *(caa.Fault("pairs", "a pair", "is damaged"), caa.Recall(digest, "why", "ada", moment)),
        caa.Transferred([], scores_by_hand(moment), scores_by_hand(moment), []),
        caa.DirectionSet((caa.LayerVector(0, np.ones((2, 4), dtype=np.float32)),)),
        *(check, caa.Signed("team/a:v1", digest, [check]), caa.Remote("team", "/mnt/team.db")),
    ]


def scores_by_hand(moment: datetime) -> caa.Evaluation:
    """An evaluation without scores."""
    fingerprint = caa.Fingerprint("w", "c", "t", "")
    info = caa.ModelInfo("demo", fingerprint, "llama", 5, 128)
    beside = caa.Beside()
    recorded = caa.RecordedPropensity(
        layers=(2,),
        multipliers=(0.0,),
        rows="all",
        dtype="float32",
        operator="add",
        verdict="exact",
        interval="",
        template_digest="",
        paper=False,
        more_choices=0,
        beyond_letters=0,
        too_long=0,
        unscorable=0,
        leaked=caa.Leaked(0, 0),
        beside=beside,
    )
    return caa.Evaluation(1, "a:v1", "a:v1", "test", info, "propensity", "all", "chat", recorded, [], moment)
