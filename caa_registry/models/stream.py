"""The residual stream of a network: read it, add to it.

The output of a decoder block is taken by swapping the block's class for a subclass that calls the original and
then the taps. Parameters keep their names, ``isinstance`` dispatch keeps working, and ``model.layers`` may be a
copy of the real list: wrapping list entries fails on each of these in some architecture. Classes are swapped only
while a tap is in place and are restored afterwards, exception or not.

Positions are absolute: the offset of the prompt cache is read before the network runs, since attention moves it.

Taps and announced positions hold for calls of the network in the same context (``contextvars``): those of the thread
that set them, and what that thread asks of the engine. Two threads may steer one model at once, each for itself.
"""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from mlx_lm.models.cache import make_prompt_cache

from caa_registry.errors import ModelError
from caa_registry.models.unsupported import UNSUPPORTED
from caa_registry.mx import mx

_HOOK = "_caa_hook"
_SEEN = "_caa_tokens_seen"


@dataclass(frozen=True)
class Positions:
    """Where the tokens of one call stand.

    ``index``: int32, ``(rows or 1, tokens)``, the absolute position of each token. ``prompt_end``: int32,
    ``(rows or 1, 1)``, the position of the last token of the prompt's template; ``None`` where the caller of the
    network did not say.
    """

    index: mx.array
    prompt_end: mx.array | None


Tap = Callable[[int, mx.array, Positions], mx.array]
"""``tap(layer, hidden, positions) -> hidden``; hidden is ``(rows, tokens, d_model)`` in the network's dtype."""


@dataclass(frozen=True, eq=False)
class _Here:
    """What one context has said of a network. ``entry``: the layer behind which it begins, and the stream there."""

    taps: tuple[_Placed, ...] = ()
    prompt_end: mx.array | None = None
    positions: Positions | None = None
    entry: tuple[int, mx.array] | None = None

    @property
    def nothing(self) -> bool:
        return not self.taps and self.prompt_end is None and self.positions is None and self.entry is None


@dataclass(eq=False)
class _Placed:
    """A tap and whether it is still in place: one that was taken out is left out wherever a copy of it went."""

    tap: Tap
    in_place: bool = True


_NOTHING = _Here()
_here: contextvars.ContextVar[Mapping[ResidualStream, _Here]] = contextvars.ContextVar("_here", default={})  # noqa: B039


@functools.cache
def _hooked(base: Any) -> Any:
    """``base`` as a class whose instances call the hook in their ``__dict__`` around the original call."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        hook = self.__dict__.get(_HOOK)
        if hook is None:
            return base.__call__(self, *args, **kwargs)
        return hook(functools.partial(base.__call__, self), args, kwargs)

    return type(base)(
        base.__name__,
        (base,),
        {"__call__": call, "__module__": base.__module__, "__qualname__": base.__qualname__, "_caa_base": base},
    )


def _install(module: Any, hook: Callable[..., Any]) -> None:
    base: Any = type(module)
    object.__setattr__(module, "__class__", _hooked(base))
    module.__dict__[_HOOK] = hook


def _restore(module: Any) -> None:
    base = getattr(type(module), "_caa_base", None)
    if base is not None:
        object.__setattr__(module, "__class__", base)
    module.__dict__.pop(_HOOK, None)


class ResidualStream:
    """The residual stream of one loaded network.

    ``n_layers`` blocks of width ``d_model``, and logits of ``vocabulary`` numbers a token, all found by the self-test
    rather than read from a config: a tokenizer may know fewer tokens. Raises ``ModelError`` on construction for an
    architecture that is known to be unfit, before anything of it runs, and where the blocks cannot be tapped: one is
    not called, is called twice or out of turn, or does not return a stream of one common width.
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        self._name = type(network).__module__.rsplit(".", 1)[-1]
        if self._name in UNSUPPORTED:
            raise ModelError(
                f"{self._name}: this architecture cannot be steered: {UNSUPPORTED[self._name]}",
                "docs/tested-architectures.md lists the architectures that were tested.",
            )
        self.blocks: list[Any] = list(getattr(network, "layers", None) or ())
        self.n_layers = len(self.blocks)
        self._lone = True
        self._lock = threading.Lock()
        self._users = 0
        self.d_model, self.vocabulary = self._self_test()

    @property
    def tapped_now(self) -> bool:
        """Whether a tap is in place in this context: the network is being read or steered."""
        return bool(self._taps())

    @property
    def prompt_end(self) -> mx.array | None:
        """What ``prompt`` announced in this context, int32 ``(rows, 1)``."""
        return self._now().prompt_end

    @contextmanager
    def tapped(self, tap: Tap) -> Iterator[None]:
        """Call ``tap`` with every block's output while the context lasts. Taps run in the order they came."""
        placed = _Placed(tap)
        with self._lock:
            if self._users == 0:
                self._swap_in()
            self._users += 1
        self._say(taps=(*self._taps(), placed))
        try:
            yield
        finally:
            placed.in_place = False
            self._say(taps=self._taps())
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._swap_out()

    @contextmanager
    def entered(self, layer: int, hidden: mx.array) -> Iterator[None]:
        """Have the network begin behind block ``layer`` while the context lasts: ``hidden`` is what that block gave
        out, ``(rows, tokens, d_model)``, and neither it nor a block before it is run. Taps see ``hidden`` and what
        comes after. Caches of blocks that are not run stay as they are.

        Raises ``ModelError`` where blocks hand on more than the residual stream.
        """
        if not self._lone:
            raise ModelError(f"{self._name}: its blocks hand on more than the residual stream")
        self._say(entry=(layer, hidden))
        try:
            with self.tapped(_unchanged):
                yield
        finally:
            self._say(entry=None)

    @contextmanager
    def prompt(self, ends: int | Sequence[int]) -> Iterator[None]:
        """Say where the prompts of the calls inside end: the position of the template's last token, per row."""
        before = self.prompt_end
        values = [ends] if isinstance(ends, int) else list(ends)
        # Nothing to evaluate: other threads may ask for what belongs to this prompt.
        self._say(prompt_end=mx.array([[end] for end in values], dtype=mx.int32))
        try:
            yield
        finally:
            self._say(prompt_end=before)

    def _now(self) -> _Here:
        return _here.get().get(self, _NOTHING)

    def _taps(self) -> tuple[_Placed, ...]:
        return tuple(placed for placed in self._now().taps if placed.in_place)

    def _say(self, **changed: Any) -> None:
        others = {stream: here for stream, here in _here.get().items() if stream is not self}
        here = replace(self._now(), **changed)
        _here.set(others if here.nothing else {**others, self: here})

    def _swap_in(self) -> None:
        if any(hasattr(type(module), "_caa_base") for module in [self.network, *self.blocks]):
            raise ModelError("the residual stream of this network is in use by another ResidualStream")
        # Swapping is all or nothing: a failure half-way restores what was swapped.
        try:
            _install(self.network, self._run_network)
            for layer, block in enumerate(self.blocks):
                _install(block, functools.partial(self._run_block, layer))
        except BaseException:
            self._swap_out()
            raise

    def _swap_out(self) -> None:
        for module in [self.network, *self.blocks]:
            _restore(module)

    def _run_network(self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self.tapped_now:
            return call(*args, **kwargs)  # tapped in another context
        tokens = args[0] if args else next(iter(kwargs.values()))
        cache = kwargs.get("cache", args[1] if len(args) > 1 else None)
        length = tokens.shape[1]
        offset = _offset(cache, length)
        before = self._now().positions
        self._say(positions=Positions(offset + mx.arange(length, dtype=mx.int32)[None], self.prompt_end))
        try:
            return call(*args, **kwargs)
        finally:
            self._say(positions=before)

    def _run_block(self, layer: int, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        here, taps = self._now(), self._taps()
        if not taps:
            return call(*args, **kwargs)  # tapped in another context
        if here.entry is not None and layer <= here.entry[0]:
            if layer < here.entry[0]:
                return args[0] if args else next(iter(kwargs.values()))
            out = here.entry[1]
        else:
            out = call(*args, **kwargs)
        if here.positions is None:
            raise ModelError(
                "a block was called outside its network, so the positions of its tokens are not known",
                "Call the whole network, or use model.generate.",
            )
        several = isinstance(out, tuple | list)
        self._lone &= not several
        hidden = out[0] if several else out
        for placed in taps:
            hidden = placed.tap(layer, hidden, here.positions)
        return type(out)([hidden, *out[1:]]) if several else hidden

    def _self_test(self) -> tuple[int, int]:
        """The width of the stream, and that of the logits: two tokens are run through an identity tap, unevaluated.
        MLX builds the graph and computes nothing."""
        name = self._name
        seen: list[int] = []
        shapes: list[tuple[int, ...]] = []

        def look(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
            seen.append(layer)
            shapes.append(tuple(hidden.shape))
            return hidden

        if not self.blocks:
            raise ModelError(f"{name}: it has no list of blocks; such models are not supported")
        if len({id(block) for block in self.blocks}) != self.n_layers:
            raise ModelError(f"{name}: one block stands at several layers; such models are not supported")
        try:
            with self.tapped(look):
                logits = self.network(mx.array([[1, 2]]), cache=make_prompt_cache(self.network))
        except ModelError:
            raise
        except Exception as error:  # a network runs what code it likes
            reason = " ".join(str(error).split())[:200]  # some print a page
            raise ModelError(
                f"{name}: cannot be run on tokens alone: {type(error).__name__}: {reason}",
                "Fetch config.json of this model again; docs/tested-architectures.md lists what was tested.",
            ) from error
        if seen != list(range(self.n_layers)):
            raise ModelError(
                f"{name}: its blocks cannot be tapped ({self.n_layers} blocks, hits at layers {seen})",
                "The architecture does not call each of its blocks exactly once and in order.",
            )
        widths = {shape[-1] for shape in shapes}
        if len(widths) != 1 or any(len(shape) != 3 or shape[:2] != (1, 2) for shape in shapes):
            raise ModelError(f"{name}: its blocks do not return one residual stream (shapes {sorted(set(shapes))})")
        return widths.pop(), int(logits.shape[-1])


def _unchanged(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
    return hidden


def _offset(cache: Any, length: int) -> mx.array:
    """How many tokens the cache holds, ``(rows or 1, 1)``. Read before the call, since the call moves it."""
    entries = list(_flat(cache))
    for entry in entries:
        offset = getattr(entry, "offset", None)
        if isinstance(offset, int):
            return mx.array([[offset]], dtype=mx.int32)
        if isinstance(offset, mx.array):
            # A copy: batch caches add to this array in place.
            return mx.array(offset).astype(mx.int32).reshape(-1, 1)
    if not entries:
        return mx.array([[0]], dtype=mx.int32)
    # State-space caches do not count their tokens. They cannot be rewound either, so a count kept here is exact.
    seen = getattr(entries[0], _SEEN, 0)
    setattr(entries[0], _SEEN, seen + length)
    return mx.array([[seen]], dtype=mx.int32)


def _flat(cache: Any) -> Iterator[Any]:
    if cache is None:
        return
    for entry in cache:
        inner = getattr(entry, "caches", None)
        if inner is not None:
            yield from _flat(inner)
        elif entry is not None:
            yield entry
