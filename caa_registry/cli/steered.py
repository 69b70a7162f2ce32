"""The options of the commands that apply vectors, and what they mean together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from caa_registry.cli import output
from caa_registry.cli.options import POSITIONS, TEMPLATE, LayerList, Number, NumberList
from caa_registry.errors import UsageError

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.registry.registry import Registry
    from caa_registry.registry.steer import Plan, Steer

F = TypeVar("F", bound=Callable[..., Any])


def steering_options(function: F) -> F:
    """Add the options that say which vectors to apply, where and how strongly."""
    options = [
        click.option("--model", metavar="M", help="Folder, ORG/NAME on a hub, or demo.  [default: the vector's model]"),
        click.option("--vector", "vectors", multiple=True, metavar="REF", help="Vector to apply; may be repeated."),
        click.option(
            "--layer",
            "layers",
            multiple=True,
            type=LayerList(allow_all=False),
            metavar="L",
            help="Layer it acts at (several: 2,3). Once, or once for each vector.  [default: the alias's advice]",
        ),
        click.option(
            "--multiplier",
            "multiplier",
            multiple=True,
            type=Number(),
            metavar="X",
            help="Strength. Once, or once for each vector.  [default: the alias's advice, else 1]",
        ),
        click.option(
            "--multipliers", type=NumberList(), metavar="X,Y,...", help="Compare several strengths side by side."
        ),
        click.option("--positions", type=POSITIONS, help="Steered positions.  [default: after_prompt]"),
        click.option("--template", type=TEMPLATE, help="How the prompt is rendered.  [default: chat, else plain]"),
        click.option("--system", default="", help="A system prompt."),
        click.option("--allow-mismatch", is_flag=True, help="Apply a vector of another model; this is recorded."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@dataclass(frozen=True)
class Wanted:
    """What the options say together: the vectors to apply, and the strengths to compare (``None``: just one)."""

    steers: Sequence[Steer]
    multipliers: Sequence[float] | None

    def at(self, multiplier: float) -> Sequence[Steer]:
        """The same vectors at another strength."""
        return [replace(steer, multiplier=multiplier) for steer in self.steers]


def wanted(
    vectors: Sequence[str],
    layers: Sequence[tuple[int, ...]],
    multiplier: Sequence[float],
    multipliers: Sequence[float] | None,
) -> Wanted:
    """The options as ``Wanted``. Raises ``UsageError`` where they do not fit together."""
    from caa_registry.registry.steer import Steer

    if not vectors and (layers or multiplier or multipliers):
        raise UsageError("a layer or multiplier is given, but no vector", "Give --vector REF.")
    if multiplier and multipliers:
        raise UsageError("--multiplier and --multipliers are given", "Give one of the two.")
    for name, values in (("--layer", layers), ("--multiplier", multiplier)):
        if len(values) not in (0, 1, len(vectors)):
            raise UsageError(
                f"{len(values)} times {name} for {len(vectors)} vectors", "Give it once, or once for each vector."
            )
    steers = [Steer(vector, _nth(layers, i), _nth(multiplier, i)) for i, vector in enumerate(vectors)]
    return Wanted(steers, multipliers)


def _nth(values: Sequence[Any], index: int) -> Any:
    if not values:
        return None
    return values[0] if len(values) == 1 else values[index]


def load_model(registry: Registry, model: str | None, steers: Sequence[Steer]) -> Model:
    """The model that was asked for, else the one the first vector was computed on."""
    if model is not None:
        return registry.models.load(model)
    if not steers:
        raise UsageError("no model is given", "Give --model M, or a vector, whose model is then used.")
    return registry.models.load_recorded(registry.vectors.get(steers[0].vector).model)


def check_prompt(prompt: str) -> None:
    """``UsageError`` for a prompt without text, before a model is loaded for it."""
    if not prompt.strip():
        raise UsageError("the prompt is empty", "Give some text to continue.")


def say_applied(plan: Plan, *, strengths: bool) -> None:
    """Say which vector versions act and where: a name or alias alone may mean another version tomorrow.

    ``strengths``: also how strongly, where the output itself does not say it.
    """
    if plan.vectors:
        names = ", ".join(version.reference for version in plan.vectors)
        places = [f"{a.layer} times {a.multiplier:g}" if strengths else str(a.layer) for a in plan.additions]
        layers = "layer" if len(places) == 1 else "layers"
        output.message(f"Applying {names} at {layers} {', '.join(places)}, positions {plan.positions}.")
