"""What commands share: their settings, the registry they open, and the parsing of lists."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

import click

from caa_registry.cli.output import message
from caa_registry.errors import UsageError
from caa_registry.evaluation.nulls.names import DRAWS, FEWEST_DRAWS, NULLS
from caa_registry.extraction.methods import METHODS
from caa_registry.models.read_position import READ_POSITIONS
from caa_registry.models.rendering.prompts import TEMPLATES
from caa_registry.pairs.orders import Orders
from caa_registry.settings import launched, registry_url
from caa_registry.steering.positions import STEERED_POSITIONS

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.registry.records import VectorVersion
    from caa_registry.registry.registry import Registry

F = TypeVar("F", bound=Callable[..., Any])

# Far beyond any model, and small enough that a range of them costs nothing.
_MOST_LAYERS = 10_000
_LAYERS = re.compile(r"([0-9]+)(?:-([0-9]+))?")


@dataclass
class Settings:
    """The global options. They may stand before the noun or after the verb."""

    registry: str | None = field(default=None, repr=False)  # it may hold a password
    as_json: bool = False
    debug: bool = False
    read_only: bool = False

    @property
    def prints(self) -> bool:
        """Whether this process is to say what was done: of several that share the work, the first."""
        if not launched():
            return True
        from caa_registry.engine.processes import rank

        return rank() == 0

    def open(self, *, create: bool = False, shared: bool = False, blobs: str | None = None) -> Registry:
        """The registry that the options, the environment or the settings file name. ``shared``: a new one is not for
        its owner only. ``blobs``: where a new one keeps its bytes."""
        from caa_registry.registry.opening import open as open_registry

        if self.registry is not None and not self.registry.strip():
            # An unset variable in a script must not silently mean the default registry.
            raise UsageError("--registry is empty", "Give a path or a URL, or leave the option out.")
        create = create and not self.read_only
        new = create and _is_missing(registry_url(self.registry))
        registry = open_registry(self.registry, create=create, shared=shared, read_only=self.read_only, blobs=blobs)
        if new:
            # A mistyped path or URL must not pass for the registry that was meant.
            where = "a SQLite file" if registry.database.path is not None else "tables in this PostgreSQL database"
            message(f"Created the registry {registry.database.shown} ({where}).")
        return registry


def _is_missing(url: str) -> bool:
    """Whether there is no registry at ``url`` yet."""
    from caa_registry.catalog.state import look

    path = url.removeprefix("sqlite:///")
    return not Path(path).exists() if path != url else look(url).state == "none"


def common(function: F) -> F:
    """Add --registry, --read-only, --json and --debug to a command and pass it ``Settings`` first."""

    @click.option("--registry", metavar="URL", help="Path or URL of the registry.")
    @click.option("--read-only", is_flag=True, help="Write nothing to the registry.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(function)
    def command(registry: str | None, read_only: bool, as_json: bool, debug: bool, **arguments: Any) -> Any:
        settings = click.get_current_context().find_object(Settings) or Settings()
        settings.registry = settings.registry if registry is None else registry
        settings.read_only = settings.read_only or read_only
        settings.as_json = settings.as_json or as_json
        settings.debug = settings.debug or debug
        return function(settings, **arguments)

    return cast(F, command)


def finite(value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
    """``value`` unless it is ``nan`` or infinite, which no model can be steered with."""
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number", ctx, param)
    return value


class Number(click.ParamType[float]):
    """A finite number."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return finite(float(value), param, ctx)
        except ValueError:
            self.fail(f"{value!r} is not a number", param, ctx)


class NumberList(click.ParamType[Any]):
    """``-1,0,1.5``: numbers separated by commas."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(finite(float(part), param, ctx) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers; write -1,0,1", param, ctx)


class NameList(click.ParamType[Any]):
    """Some of several names, separated by commas, or ``none``."""

    name = "names"

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(dict.fromkeys(part.strip() for part in str(value).split(",")))
        if names == ("none",):
            return ()
        for name in names:
            if name not in self.names:
                self.fail(f"{name!r} is not one of {', '.join(self.names)} or none", param, ctx)
        return names


class LayerList(click.ParamType[Any]):
    """``all``, or layers and ranges of layers separated by commas: ``0-3,7``."""

    name = "layers"

    def __init__(self, *, allow_all: bool) -> None:
        self.allow_all = allow_all

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple) or (value == "all" and self.allow_all):
            return value
        layers: list[int] = []
        for part in str(value).split(","):
            bounds = _LAYERS.fullmatch(part.strip())
            if not bounds:
                self.fail(f"{value!r} is not a list of layers; write 13, or 0-3,7", param, ctx)
            # The digits are counted first: Python refuses to read a number of thousands of them.
            if max(len(digits.lstrip("0")) for digits in bounds.groups("")) > len(str(_MOST_LAYERS)):
                self.fail(f"{part.strip()!r}: no model has that many layers", param, ctx)
            first, last = int(bounds[1]), int(bounds[2] or bounds[1])
            if last < first:
                self.fail(f"{part.strip()!r} is an empty range; write {last}-{first}", param, ctx)
            if last >= _MOST_LAYERS:
                self.fail(f"{part.strip()!r}: no model has that many layers", param, ctx)
            layers.extend(range(first, last + 1))
        return tuple(dict.fromkeys(layers))


@dataclass(frozen=True)
class ModelChoice:
    """The model that a command is to use: its ``name``, if one is given, and the folder of an ``adapter`` on top."""

    name: str | None
    adapter: str | None

    def given(self, registry: Registry) -> str | Model:
        """The model of that name, which is loaded already if there is an adapter. Raises ``UsageError`` for no name."""
        if self.name is None:
            raise UsageError("no model is given", "Give --model M.")
        return self.name if self.adapter is None else registry.models.load(self.name, adapter=self.adapter)

    def or_recorded(self, registry: Registry, version: VectorVersion) -> Model:
        """The model of that name, else the one that ``version`` is of, loaded."""
        if self.name is None:
            return registry.models.load_recorded(version.known_model(), adapter=self.adapter)
        return registry.models.load(self.name, adapter=self.adapter)


def with_adapter(function: F) -> F:
    """Add --adapter to a command that has --model, and pass both as one ``ModelChoice``."""

    @click.option("--adapter", metavar="FOLDER", help="LoRA adapter to put on the model.")
    @functools.wraps(function)
    def command(*settings: Any, model: str | None, adapter: str | None, **arguments: Any) -> Any:
        return function(*settings, model=ModelChoice(model, adapter), **arguments)

    return cast(F, command)


# Of the commands that evaluate a vector.
STEERED_MODEL = click.option(
    "--model", metavar="M", help="Model to steer.  [default: the one the vector was computed on]"
)
STEERED_LAYERS = click.option(
    "--layers", type=LayerList(allow_all=True), default="all", show_default=True, help="0-3,7 or all."
)
MULTIPLIERS = click.option("--multipliers", type=NumberList(), default="-1,0,1", show_default=True)
ALLOW_MISMATCH = click.option(
    "--allow-mismatch", is_flag=True, help="Apply the vector to another model; the registry records it."
)

# Of those that ask questions.
ROWS = click.option(
    "--rows", type=click.Choice(["all", "even", "odd"]), default="all", show_default=True, help="Questions to use."
)
DRAWN = click.option(
    "--draws",
    type=click.IntRange(FEWEST_DRAWS, 99_999),
    default=DRAWS,
    show_default=True,
    help="Number of vectors of each, at most: fewer where the answer is clear.",
)
SEED = click.option("--seed", type=int, help="Seed of their draws.  [default: of what the vector comes from]")


def orders_option(default: Orders) -> Callable[[F], F]:
    """--orders of a command that asks as ``default`` says unless it is told otherwise."""
    return click.option(
        "--orders",
        type=click.Choice(get_args(Orders)),
        default=default,
        show_default=True,
        help="Ask questions of letters as they are written, or with their choices in both orders.",
    )


def controls_option(more: str = "") -> Callable[[F], F]:
    """--controls. ``more``: what else the command does with them."""
    return click.option(
        "--controls",
        type=NameList(NULLS),
        default="covariance",
        show_default=True,
        help=f"Vectors that mean nothing to compare with: {', '.join(NULLS)}, or none{more}.",
    )


# Of those that make a version.
MESSAGE = click.option("--message", default="", metavar="TEXT", help="A note for the version.")

# Of the commands that write files.
FORCE = click.option("--force", is_flag=True, help="Replace files that exist.")

TEMPLATE = click.Choice(TEMPLATES)
READ = click.Choice(READ_POSITIONS)
METHOD = click.Choice(METHODS)
POSITIONS = click.Choice(STEERED_POSITIONS)

STEERED_POSITIONS_OPTION = click.option(
    "--positions", type=POSITIONS, default="after_prompt", show_default=True, help="Steered positions."
)
STEERED_TEMPLATE = click.option(
    "--template", type=TEMPLATE, help="How prompts are rendered.  [default: as for the vector]"
)
