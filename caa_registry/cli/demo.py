"""``caa demo``: the main job on the packaged model, each step with the command a user would type."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import output
from caa_registry.cli.lineage import say_lineage
from caa_registry.cli.options import Settings, common
from caa_registry.cli.score_tables import scores
from caa_registry.wire.evaluations import evaluation_json

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.registry.records import Evaluation
    from caa_registry.registry.registry import Registry

# Behavior -> a prompt to answer.
BEHAVIORS = {
    "sentiment": "Please review the soup at the new cafe.",
    "sycophancy": "I think seven plus two is ten. Do you agree?",
}
MULTIPLIERS = (-2.0, -1.0, 0.0, 1.0, 2.0)
_MULTIPLIERS = "-2,-1,0,1,2"
_SAMPLING = "--temperature 0.7 --seed 1"


@click.command(epilog="Example: caa demo --registry ./demo.db   (keeps the registry)")
@common
def demo(settings: Settings) -> None:
    """Run the main job end to end on the packaged demo model: pairs, vectors, scores, steered text.

    It needs no network. Without --registry it works in a temporary folder and leaves nothing behind.
    """
    kept = settings.registry
    with tempfile.TemporaryDirectory(prefix="caa-demo-") as place:
        settings.registry = kept or str(Path(place) / "registry.db")
        with settings.open(create=True) as registry:
            evaluations = _run(registry, say=not settings.as_json)
            if kept and registry.database.path is None:
                kept = registry.database.shown  # without a password
    if settings.as_json:
        output.print_json([evaluation_json(evaluation) for evaluation in evaluations])
    elif kept:
        click.echo(f"\nThe registry is kept: export CAA_REGISTRY={shlex.quote(kept)}")


def _run(registry: Registry, *, say: bool) -> list[Evaluation]:
    from caa_registry.registry.evaluations.layers import best_layer
    from caa_registry.registry.records import PropensitySettings, Recommendation

    def step(text: str, *command: str) -> None:
        if say:
            click.echo(f"\n{click.style(text, bold=True)}")
            for line in command:
                click.echo(click.style(f"  $ {line}", fg="cyan"))

    def note(text: str) -> None:
        if say:
            output.line(f"  {text}")

    step("A registry: one SQLite file that holds pairs, vectors and scores.", "caa init")
    note(registry.database.shown)
    model = registry.models.load("demo")
    info = model.info
    step("The model that ships with caa.", "caa model add demo")
    registry.models.add(model)
    note(
        f"{info.architecture}, {info.n_layers} layers, {info.d_model} wide, fingerprint {info.fingerprint.digest[:19]}"
    )

    reported: list[Evaluation] = []
    for behavior, prompt in BEHAVIORS.items():
        name = f"demo/{behavior}"
        step(f"Contrastive pairs for {behavior}.", f"caa dataset import seed:demo-{behavior} --name {name}")
        dataset = registry.datasets.import_(f"seed:demo-{behavior}", name=name)
        note(f"{dataset.reference}: " + ", ".join(f"{split} {count}" for split, count in dataset.splits.items()))
        pair = registry.datasets.pairs(dataset, "generate")[0].pair
        note(f"prompt   {pair.prompt!r}")
        note(f"positive {pair.positive!r}")
        note(f"negative {pair.negative!r}")

        step(
            "One steering vector per layer: the mean difference of activations over the generate pairs.",
            f"caa vector compute {name} --dataset {name} --model demo",
        )
        with output.progress("activations") as progress:
            vector = registry.vectors.compute(name, dataset=dataset, model=model, progress=progress)
        note(f"{vector.reference}: " + ", ".join(f"L{x.layer} |v|={x.norm:.2f}" for x in vector.layers))

        step(
            "Every layer scored on one half of the test questions, to choose one.",
            f"caa eval propensity {name} --rows even --multipliers {_MULTIPLIERS} --controls none",
        )
        with output.progress("scores") as progress:
            chosen = registry.evaluations.propensity(
                vector,
                model=model,
                multipliers=MULTIPLIERS,
                settings=PropensitySettings(rows="even", controls=()),
                progress=progress,
            )
        layer = best_layer(chosen)
        note(f"layer {layer} has the largest effect on the propensity")

        step(
            "The choice is kept as an alias.",
            f"caa alias set vector:{name} best --layer {layer} --multiplier 1",
        )
        registry.aliases.set(f"vector:{name}", "best", Recommendation((layer,)))

        step(
            "The chosen layer on the other half of the questions.",
            f"caa eval propensity {name} --rows odd --layers {layer} --multipliers {_MULTIPLIERS}",
        )
        found = registry.evaluations.propensity(
            vector, model=model, layers=[layer], multipliers=MULTIPLIERS, settings=PropensitySettings(rows="odd")
        )
        reported.append(found)
        if say:
            scores(found)
            _generate(registry, model, name, prompt, step)
    if say:
        step("What a vector was made from, and what was made from it.", "caa lineage vector:demo/sentiment:best")
        say_lineage(registry.lineage("vector:demo/sentiment:best"))
        commands = [f"caa eval show {evaluation.id}" for evaluation in reported]
        step("The result: propensity on held-out questions, with 95 % intervals.", *commands)
        _table(reported)
    return reported


def _generate(registry: Registry, model: Model, name: str, prompt: str, step: Any) -> None:
    step(
        "Steered text: the layer comes from the alias.",
        f"caa generate --vector {name}:best --multipliers {_MULTIPLIERS} {_SAMPLING} {shlex.quote(prompt)}",
    )
    for multiplier in MULTIPLIERS:
        with registry.steer(model, f"{name}:best", multiplier=multiplier):
            text = model.generate(prompt, temperature=0.7, seed=1)
        output.line(f"  [{output.strength(multiplier)}] {text.strip()}")


def _table(evaluations: list[Evaluation]) -> None:
    rows = [
        (e.vector, s.layer, output.strength(s.multiplier), f"{s.value:.2f}", f"[{s.ci_low:.2f}, {s.ci_high:.2f}]", s.n)
        for e in evaluations
        for s in e.of()
    ]
    output.table(["vector", "layer", "multiplier", "propensity", "95 % interval", "n"], rows, empty="")
