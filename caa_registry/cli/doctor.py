"""``caa doctor``."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings, common

if TYPE_CHECKING:
    from caa_registry.doctor.fit import Fit
    from caa_registry.doctor.health import Computing, Health, Store


@click.command(epilog="Example: caa doctor --model demo")
@click.option("--model", metavar="M", help="Show what this model would take: folder, ORG/NAME on a hub, or demo.")
@common
def doctor(settings: Settings, model: str | None) -> None:
    """Show what caa runs on and how fast, where it keeps its files, and any problems.

    It creates and changes nothing. The exit code is 1 if the registry exists but cannot be opened, or if the folder or
    the bucket of its blobs cannot be used.

    With --model it also shows whether a model fits, what it is computed in, how long a prompt may be, and how long
    commands would take. Weights are not loaded: a folder needs none, and of a hub repository only the config and the
    tokenizer are fetched. The exit code is 1 if the model does not fit.

    BLAS is the library that multiplies matrices on a Linux CPU: OpenBLAS, which comes with scipy, unless the variable
    CAA_BLAS names another library (a path or a soname) or is none, for MLX's own slow one.
    """
    from caa_registry.doctor.health import examine

    health = examine(settings.registry, model)
    if settings.as_json:
        output.print_json(dataclasses.asdict(health))
    else:
        output.fields(_lines(health))
        click.echo()
        if health.model is not None:
            _say_model(health.model)
        for advice in health.advice or ("No problems found.",):
            output.line(advice)
    sys.exit(0 if health.well else 1)


def _lines(health: Health) -> dict[str, object]:
    packages = ", ".join(f"{name} {version}" for name, version in health.packages.items())
    schema = f" (schema {health.registry.schema})" if health.registry.schema else ""
    state = {"none": "does not exist yet", "older": "older than this caa"}.get(
        health.registry.state, health.registry.state
    )
    return {
        "platform": health.platform,
        "Python": health.python,
        "packages": packages,
        **(_computing(health.computing) if health.computing else {"device": "none: MLX cannot be imported"}),
        "cores": health.cores,
        "free memory": _size(health.free_memory),
        "activations": f"{_size(health.activations)} of at most {_size(health.activation_limit)} in "
        f"{health.activation_folder}",
        "registry": f"{health.registry.shown}: {state}{schema}",
        **(_blobs(health.blobs) if health.blobs is not None else {}),
    }


def _blobs(store: Store) -> dict[str, object]:
    shown: dict[str, object] = {"blobs": f"{store.shown}: {'cannot be used' if store.problem else 'ready'}"}
    if store.cache_limit:
        kept = f"{_size(store.cached)} of at most {_size(store.cache_limit)} in {store.cache_folder}"
        shown["blob cache"] = kept
    return shown


def _computing(computing: Computing) -> dict[str, object]:
    blas = f"MLX's own: {computing.why_not}"
    if computing.blas is not None:
        kernel = f"kernel {computing.kernel}, " if computing.kernel else ""
        blas = f"{computing.blas}, {kernel}{computing.threads} threads ({computing.blas_version})"
    return {
        "device": f"{computing.device} ({computing.device_name})",
        "BLAS": blas,
        "computed in": computing.dtype,
        "matrix product": ", ".join(f"{name} {speed:,.0f} GFLOP/s" for name, speed in computing.speed.items()),
    }


def _say_model(fit: Fit) -> None:
    output.fields(
        {
            "model": f"{fit.name}: {fit.architecture}, {fit.parameters:,} parameters, {fit.layers} layers of "
            f"{fit.width}, vocabulary {fit.vocabulary:,}",
            "weights": f"{_size(fit.stored)} as stored ({fit.stored_as}), {_size(fit.weights)} as computed",
            "computed in": f"{fit.computed_in}: {fit.why}",
            **(_room(fit) if fit.fits else {}),
        }
    )
    click.echo()
    if fit.times:
        rows = [(f"caa {each.command}", each.amount, _duration(each.seconds)) for each in fit.times]
        output.table(["command", "amount", "time"], rows, empty="")
        output.paragraph(f"Times are {fit.timed}. They are without loading, on a machine that is otherwise idle.")
        click.echo()


def _room(fit: Fit) -> dict[str, object]:
    together = f", {fit.computations} batches at a time" if (fit.computations or 1) > 1 else ""
    limits = {"context": "the model's context", "memory": "what fits into memory", "": ""}
    return {
        "memory": f"{_size(fit.memory or 0)} beside the weights ({fit.memory_from})",
        "batch": f"{fit.batch} tokens{together}",
        "longest prompt": f"{fit.longest} tokens: {limits[fit.longest_by]}" if fit.longest is not None else "any",
    }


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(n: int) -> str:
    return f"{n / 1e9:.1f} GB" if n >= 10**9 else f"{n / 1e6:.0f} MB"
