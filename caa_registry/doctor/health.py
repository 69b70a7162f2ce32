"""What this installation is made of, how fast it computes, and what is wrong with it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caa_registry import settings
from caa_registry.blobs.external import ExternalBlobStore
from caa_registry.blobs.location import open_store
from caa_registry.catalog.database import Database
from caa_registry.catalog.state import RegistryState, look
from caa_registry.errors import CaaError
from caa_registry.extraction.activation_cache import ActivationCache
from caa_registry.models.memory import free_memory

if TYPE_CHECKING:
    from caa_registry.doctor.fit import Fit

_PACKAGES = ("caa-registry", "mlx", "mlx-lm", "transformers")


@dataclass(frozen=True)
class Computing:
    """How models are computed here. ``speed``: GFLOP/s of a matrix product by dtype.

    ``blas``: the library that products on the CPU run on, with ``blas_version``, ``kernel`` and ``threads``; ``None``
    for MLX's own, with ``why_not``. ``dtype``: what weights are computed in, ``as stored`` on a GPU.
    """

    device: str
    device_name: str
    blas: str | None
    blas_version: str
    kernel: str
    threads: int | None
    why_not: str
    dtype: str
    speed: Mapping[str, float]


@dataclass(frozen=True)
class Store:
    """Where a registry keeps its blobs outside its database. ``cached``: bytes that were read there and are kept in
    ``cache_folder``, at most ``cache_limit``, 0 for a folder. ``problem``: why it cannot be used, and what to do."""

    shown: str
    cached: int
    cache_limit: int
    cache_folder: str
    problem: str = ""


@dataclass(frozen=True)
class Health:
    """The state of an installation. ``free_memory`` is in bytes, as are ``activations`` (cached on disk in
    ``activation_folder``) and ``activation_limit``.

    ``computing`` is ``None`` where MLX cannot be imported. ``advice``: what to do about each problem. ``model``: what
    the model that was named would take. ``blobs``: the store outside the database, where the registry has one.
    """

    platform: str
    python: str
    packages: Mapping[str, str]
    cores: int
    free_memory: int
    activation_folder: str
    activations: int
    activation_limit: int
    computing: Computing | None
    registry: RegistryState
    advice: tuple[str, ...]
    model: Fit | None = None
    blobs: Store | None = None

    @property
    def well(self) -> bool:
        """Whether the registry can be opened, its blobs can be reached, and the model, if one is named, be loaded."""
        there = self.blobs is None or not self.blobs.problem
        return self.registry.opens and there and (self.model is None or self.model.fits)


def examine(url: str | None = None, model: str | None = None) -> Health:
    """Examine everything; ``url`` names the registry as in ``open``, ``model`` a model as in ``load``, of which neither
    weights are fetched nor read. Takes seconds; creates and changes nothing else.

    Raises ``UsageError`` for a bad setting, ``RegistryError`` for a URL that names no registry at all, and what
    ``models.outline`` does of a model that cannot be computed anywhere.
    """
    registry = look(settings.registry_url(url))
    folder, limit = settings.activation_cache()
    advice = []
    try:
        computing, slow = _computing()
        advice += [slow] if slow else []
    except ImportError as error:
        computing = None
        advice.append(f"MLX cannot be imported: {error}")
    if registry.problem:
        advice.append(registry.problem.replace("\n", ". "))
    blobs = _store(settings.registry_url(url)) if registry.state == "ready" else None
    if blobs is not None and blobs.problem:
        advice.append(blobs.problem.replace("\n", ". "))
    fitting = _fit(model) if model is not None else None
    advice += [fitting.problem] if fitting is not None and fitting.problem else []
    return Health(
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: _version(name) for name in _PACKAGES},
        cores=_cores(),
        free_memory=free_memory(),
        activation_folder=str(folder),
        activations=ActivationCache(folder, limit).size(),
        activation_limit=limit,
        computing=computing,
        registry=registry,
        advice=tuple(advice),
        model=fitting,
        blobs=blobs,
    )


def _store(url: str) -> Store | None:
    with Database.open(url, create=False, read_only=True) as database:
        store = open_store(database)
        if not isinstance(store, ExternalBlobStore):
            return None
        cache = store.cache
        problem = ""
        try:
            store.check()
        except CaaError as error:
            problem = str(error)
        return Store(store.shown, cache.size(), cache.limit, str(cache.folder), problem)


def _fit(model: str) -> Fit:
    from caa_registry.doctor.fit import fit

    return fit(model)


def _computing() -> tuple[Computing, str]:
    """How models are computed, and what would make that faster."""
    from caa_registry import blas
    from caa_registry.models.device import device, matrix_speed

    found, used = device(), blas.status()
    computing = Computing(
        device=found.kind,
        device_name=found.name,
        blas=used.library,
        blas_version=used.version,
        kernel=used.kernel,
        threads=None if used.library is None else blas.threads(),
        why_not=used.why_not,
        dtype="float32" if found.kind == "cpu" else "as stored",
        speed=matrix_speed(),
    )
    return computing, used.advice if found.kind == "cpu" else ""


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cores() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
