"""What a model would take on this machine, without its weights: memory, lengths, and time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from caa_registry import mx_thread, settings
from caa_registry.doctor.costs import END, PAIRS, TOKENS, Time, times
from caa_registry.doctor.timing import Speed, measured_speed, speed_of_products, timed_bytes
from caa_registry.engine.likelihoods import at_a_time
from caa_registry.engine.schedule import tokens_at_a_time, workers
from caa_registry.models.device import matrix_speed
from caa_registry.models.memory import free_memory
from caa_registry.models.outline import Outline, outline
from caa_registry.models.weights import Prepared, on_cpu


@dataclass(frozen=True)
class Fit:
    """What is known of a model before it is loaded. Sizes are in bytes, lengths in tokens.

    ``weights``: as they are computed, in ``computed_in``, for the reason ``why``; ``stored``: as stored, in
    ``stored_as``. ``problem``: why it cannot be loaded, and what could; empty where it fits. Only then there is more:
    ``memory``, what a computation may use beside the weights, and ``memory_from``, what that is; ``batch``, how many
    tokens one of the ``computations`` that go on at a time runs together; ``longest``, of a text, which ``longest_by``
    limits; ``times``, and how they were found, ``timed``.
    """

    name: str
    architecture: str
    parameters: int
    layers: int
    width: int
    vocabulary: int
    context: int | None
    stored: int
    stored_as: str
    weights: int
    computed_in: str
    why: str
    problem: str
    memory: int | None = None
    memory_from: str = ""
    batch: int | None = None
    computations: int | None = None
    longest: int | None = None
    longest_by: str = ""
    times: tuple[Time, ...] = ()
    timed: str = ""

    @property
    def fits(self) -> bool:
        return not self.problem


def fit(name: str) -> Fit:
    """What the model ``name`` would take. Raises as ``models.outline`` does."""
    found = outline(name)
    model, refusal = found.model, found.prepared.refusal
    known = Fit(
        name=model.info.name,
        architecture=model.info.architecture,
        parameters=found.parameters,
        layers=model.n_layers,
        width=model.d_model,
        vocabulary=model.stream.vocabulary,
        context=model.info.context_length,
        stored=found.stored,
        stored_as=found.stored_as,
        weights=found.prepared.size,
        computed_in=model.dtype,
        why=_why(found.prepared),
        problem="" if refusal is None else f"{refusal.message}. {refusal.hint}",
    )
    return known if refusal is not None else _planned(known, found)


def _planned(known: Fit, found: Outline) -> Fit:
    model, given = found.model, settings.memory()
    free = max(0, free_memory() - found.prepared.size)
    memory = free // 4 if given is None else given
    each = memory // workers()
    batch = min(tokens_at_a_time(), at_a_time(model, each))
    longest = model.longest()
    speed, timed = _speed(found, batch)
    return replace(
        known,
        memory=memory,
        memory_from="CAA_MEMORY or the settings file" if given is not None else "a quarter of what is then free",
        batch=batch,
        computations=workers(),
        longest=longest.tokens,
        longest_by=longest.limit if longest.tokens is not None else "",
        times=times(speed, model.n_layers, batch),
        timed=timed,
    )


def _speed(found: Outline, batch: int) -> tuple[Speed, str]:
    model = found.model
    if timed_bytes(model, batch) <= free_memory():
        speed = mx_thread.run(measured_speed, model, TOKENS, END, batch, PAIRS)
        return speed, "measured on a few rows through one block of each kind and the LM head"
    gflops = matrix_speed()["float32"]
    said = f"from the speed of matrix products ({gflops:,.0f} GFLOP/s), since one block and the LM head do not fit"
    return speed_of_products(model, gflops, PAIRS), said


def _why(prepared: Prepared) -> str:
    if prepared.narrow:
        return (
            f"float32 needs {prepared.wide / 1e9:.1f} GB and {prepared.free / 1e9:.1f} GB are free, so weights stay as "
            "stored, which is slow on a CPU"
        )
    if not on_cpu():
        return "a GPU computes weights as stored"
    return "it fits into memory, and is the fastest on a CPU"
