"""``caa doctor``."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings, common

if TYPE_CHECKING:
    from caa_registry.doctor import Computing, Health


@click.command(epilog="Example: caa doctor")
@common
def doctor(settings: Settings) -> None:
    """Show what caa runs on and how fast, where it keeps its files, and any problems.

    It creates and changes nothing. The exit code is 1 if the registry exists but cannot be opened.

    BLAS is the library that multiplies matrices on a Linux CPU: OpenBLAS, which comes with scipy, unless the variable
    CAA_BLAS names another library (a path or a soname) or is none, for MLX's own slow one.
    """
    from caa_registry.doctor import examine

    health = examine(settings.registry)
    if settings.as_json:
        output.print_json(dataclasses.asdict(health))
    else:
        output.fields(_lines(health))
        click.echo()
        for advice in health.advice or ("No problems found.",):
            click.echo(output.visible(advice))
    sys.exit(0 if health.registry.opens else 1)


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
    }


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


def _size(n: int) -> str:
    return f"{n / 1e9:.1f} GB" if n >= 10**9 else f"{n / 1e6:.0f} MB"
