"""The options of the commands that apply vectors, and what they mean together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from caa_registry.cli import output
from caa_registry.cli.options import (
    POSITIONS,
    TEMPLATE,
    LayerList,
    ModelChoice,
    Number,
    NumberList,
    Settings,
    with_adapter,
)
from caa_registry.errors import UsageError
from caa_registry.wording import count

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.models.rendering.prompts import TemplateName
    from caa_registry.registry.records import Steer, Steering
    from caa_registry.registry.registry import Registry
    from caa_registry.steering.positions import SteeredPositions

F = TypeVar("F", bound=Callable[..., Any])


def steering_options(*, all_layers: str = "") -> Callable[[F], F]:
    """Add the options that say which vectors to apply, where and how strongly. ``all_layers``: what ``--layer all``
    does; without it there is no such value."""
    options = [
        click.option("--model", metavar="M", help="Folder, ORG/NAME on a hub, or demo.  [default: the vector's model]"),
        with_adapter,
        click.option("--vector", "vectors", multiple=True, metavar="REF", help="Vector to apply; repeatable."),
        click.option(
            "--layer",
            "layers",
            multiple=True,
            type=LayerList(allow_all=bool(all_layers)),
            metavar="L|all" if all_layers else "L",
            help=f"Layer to steer (several: 2,3), once or for each vector.{all_layers}  "
            "[default: the alias's recommendation]",
        ),
        click.option(
            "--multiplier",
            "multiplier",
            multiple=True,
            type=Number(),
            metavar="X",
            help="Strength, once or for each vector.  [default: the alias's recommendation, else 1]",
        ),
        click.option("--multipliers", type=NumberList(), metavar="X,Y,...", help="Compare several multipliers."),
        click.option("--positions", type=POSITIONS, help="Steered positions.  [default: after_prompt]"),
        click.option("--template", type=TEMPLATE, help="How the prompt is rendered.  [default: as for the vector]"),
        click.option("--system", default="", help="A system prompt."),
        click.option(
            "--allow-mismatch", is_flag=True, help="Apply a vector of another model; the registry records it."
        ),
    ]

    def decorated(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorated


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
    from caa_registry.registry.records import Steer

    if not vectors and (layers or multiplier or multipliers):
        raise UsageError("a layer or multiplier is given without a vector", "Give --vector REF.")
    if multiplier and multipliers:
        raise UsageError("--multiplier and --multipliers are given", "Give one of the two.")
    for name, values in (("--layer", layers), ("--multiplier", multiplier)):
        if len(values) not in (0, 1, len(vectors)):
            raise UsageError(
                f"{name} is given {len(values)} times for {count(len(vectors), 'vector')}",
                "Give it once, or once for each vector.",
            )
    steers = [Steer(vector, _nth(layers, i), _nth(multiplier, i)) for i, vector in enumerate(vectors)]
    return Wanted(steers, multipliers)


def _nth(values: Sequence[Any], index: int) -> Any:
    if not values:
        return None
    return values[0] if len(values) == 1 else values[index]


@contextmanager
def session(settings: Settings, model: ModelChoice, asked: Wanted) -> Iterator[Session]:
    """Open what the command needs and load the model: the one asked for, else that of the first vector.

    Without vectors no registry is opened, so that a model can be tried where there is none.
    """
    if asked.steers:
        with settings.open() as registry:
            first = registry.vectors.get(asked.steers[0].vector)
            loaded = model.or_recorded(registry, first)
            # A vector is applied as it was computed, unless the user says otherwise.
            yield Session(registry, loaded, first.template)
        return
    if model.name is None:
        raise UsageError("no model is given", "Give --model M, or --vector REF to use that vector's model.")
    from caa_registry.models.loading import load

    yield Session(None, load(model.name, adapter=model.adapter))


@dataclass(frozen=True)
class Session:
    """An open registry (``None``: none is needed), the model to ask, and the template (``None``: the model's)."""

    registry: Registry | None
    model: Model
    template: TemplateName | None = None

    def steer(
        self, steers: Sequence[Steer], positions: SteeredPositions | None, *, allow_mismatch: bool
    ) -> AbstractContextManager[Steering | None]:
        """Steer the model while the context lasts; without a registry it stays unsteered."""
        if self.registry is None:
            return nullcontext()
        return self.registry.steer(self.model, steers, positions=positions, allow_mismatch=allow_mismatch)


def check_prompt(prompt: str) -> None:
    """``UsageError`` for a prompt without text, before a model is loaded for it."""
    if not prompt.strip():
        raise UsageError("the prompt is empty", "Give a text to continue.")


def say_applied(plan: Steering | None, *, strengths: bool) -> None:
    """Say which vector versions act and where: a name or alias alone may mean another version tomorrow.

    ``strengths``: also how strongly, where the output itself does not say it.
    """
    if plan is not None:
        names = ", ".join(version.reference for version in plan.vectors)
        places = [f"layer {a.layer}" + (f" (times {a.multiplier:g})" if strengths else "") for a in plan.additions]
        output.message(f"Applying {names} at {', '.join(places)}, positions {plan.positions}.")
