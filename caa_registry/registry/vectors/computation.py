"""What is computed from which pairs on which model, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from caa_registry import settings
from caa_registry.errors import InputError, UsageError
from caa_registry.extraction.methods import Method, check_method
from caa_registry.models.read_position import ReadPosition, check_read
from caa_registry.progress import Progress
from caa_registry.registry.records import DatasetVersion, Reading, Recipe, VectorVersion
from caa_registry.wording import subject

if TYPE_CHECKING:
    from caa_registry.engine.reading import PairTokens, Work
    from caa_registry.extraction.activations import Activations
    from caa_registry.models.model import Model
    from caa_registry.models.rendering.prompts import TemplateName
    from caa_registry.pairs.record import Pair
    from caa_registry.vectors import VectorSet

# Raised with every change that reads other activations at the same tokens of the same model.
_READER = 1


@dataclass(frozen=True)
class Computation:
    """What is computed: by which recipe, from which ``pairs`` (as tokens, and as ``texts``) of a dataset version, on
    which model.

    ``left_out``: in words, how many pairs are too long and for what. Empty where none is.
    """

    dataset: DatasetVersion
    model: Model
    recipe: Recipe
    pairs: Sequence[PairTokens] = field(repr=False)
    texts: Sequence[Pair] = field(repr=False)
    left_out: str = ""

    def run(self, *, fresh: bool, reading: Progress, measuring: Progress) -> tuple[VectorSet | None, Reading]:
        """The vectors, and what reading the model for them took. With ``fresh`` no activation is taken from the cache.

        Of several processes the first has all activations and makes the vectors alone: ``None`` in the others.
        """
        from caa_registry.engine import processes
        from caa_registry.engine.reading import Work
        from caa_registry.extraction.compute import compute
        from caa_registry.extraction.grouping import Grouping
        from caa_registry.pairs.lint.vocabulary import words_auc

        work = Work()
        with self.activations(work, fresh=fresh, progress=reading) as activations:
            vectors = None
            if processes.rank() == 0:
                grouping = Grouping.of(self.texts)
                words = words_auc(self.texts, grouping.clusters)
                layers, method = self.recipe.layers, self.recipe.method
                vectors = compute(activations, layers, method, measuring, grouping=grouping, words_auc=words)
        return vectors, Reading(work.forward_passes, work.tokens, processes.count(), work.not_shared)

    @contextmanager
    def activations(self, work: Work, *, fresh: bool, progress: Progress) -> Iterator[Activations]:
        """The activations of the pairs, from the cache and the rest from the model, while the context lasts."""
        from caa_registry.extraction.activation_cache import ActivationCache
        from caa_registry.extraction.activations import collect

        if self.model.stream.tapped_now:
            raise UsageError(
                f"{self.model.info.name} is being steered, and its activations would be those of the steered model",
                "Leave the steering context first.",
            )
        folder, limit = settings.activation_cache()
        with TemporaryDirectory(prefix="caa-activations-") as temporary:
            cache = ActivationCache(folder if limit else Path(temporary), limit)
            try:
                yield collect(
                    self.model,
                    self.pairs,
                    self.recipe.layers,
                    self.recipe.read,
                    cache.section(self._conditions()),
                    fresh=fresh,
                    progress=progress,
                    work=work,
                )
            finally:
                cache.trim()

    def _conditions(self) -> dict[str, Any]:
        """What activations depend on beside tokens."""
        return {
            "template": self.recipe.template_digest,
            "read": self.recipe.read,
            "reader": _READER,
            **way_of_computing(self.model),
        }


def way_of_computing(model: Model) -> dict[str, Any]:
    """What a model's numbers depend on beside its input. Versions, device and BLAS are part of it, so that a run says
    what its numbers were computed with."""
    from importlib.metadata import version

    from caa_registry import blas
    from caa_registry.models.device import device

    return {
        "fingerprint": model.info.fingerprint.digest,
        "dtype": model.dtype,
        "device": device().kind,
        "blas": blas.status().library or "",
        "mlx": version("mlx"),
        "mlx-lm": version("mlx-lm"),
    }


def computation(
    dataset: DatasetVersion,
    pairs: Sequence[Pair],
    model: Model,
    *,
    split: str,
    method: Method,
    read: ReadPosition | None = None,
    layers: Sequence[int] | Literal["all"] = "all",
    template: TemplateName | None = None,
) -> Computation:
    """What is computed from ``pairs``, which are those of ``split`` of ``dataset``, in their order.

    ``read`` defaults to ``answer`` for letters and Yes/No, ``last`` for free text; ``template`` to the model's. Raises
    ``UsageError`` for what does not fit, ``InputError`` where every pair is too long.
    """
    from caa_registry.extraction.reading import default_read, encode_pairs

    check_method(method)
    if read is not None:
        check_read(read)
    numbers = list(range(model.n_layers)) if layers == "all" else sorted(set(layers))
    if not numbers:
        raise UsageError("no layer is given", "For example --layers 0-3,7, or all.")
    model.check_layers(numbers)
    rendered = model.template(template)
    longest = model.longest()
    kept, too_long = encode_pairs(pairs, rendered, model, longest)
    if not kept:
        raise InputError(
            f"every pair of {dataset.reference} is longer than {longest}",
            f"Choose shorter pairs or {longest.remedy}.",
        )
    rendering = rendered.rendering(system=any(pair.system for pair in pairs))
    recipe = Recipe(
        method=method,
        split=split,
        read=read or default_read(pairs),
        template=rendered.name,
        template_digest=rendering.digest,
        layers=tuple(numbers),
        dtype=model.dtype,
        pairs=len(kept),
        skipped_too_long=len(too_long),
        rendering=rendering.differences,
    )
    left_out = f"{len(too_long)} of {subject(len(pairs), 'pair')} left out, longer than {longest}." if too_long else ""
    return Computation(dataset, model, recipe, kept, [pairs[tokens.index] for tokens in kept], left_out)


def recomputation(
    version: VectorVersion, dataset: DatasetVersion, pairs: Sequence[Pair], model: Model, layers: Sequence[int]
) -> Computation:
    """How some ``layers`` of ``version`` are computed again on ``model``: by its recipe, from the ``pairs`` of
    ``dataset`` that it was made from."""
    recipe = version.known_recipe()
    return computation(
        dataset,
        pairs,
        model,
        split=recipe.split,
        method=recipe.method,
        read=recipe.read,
        layers=layers,
        template=recipe.template,
    )


def default_split(version: DatasetVersion) -> str:
    """``generate``, or the only split there is. Raises ``UsageError`` where the choice is open."""
    if "generate" in version.splits:
        return "generate"
    if len(version.splits) == 1:
        return next(iter(version.splits))
    raise UsageError(
        f"{version.reference} has no split 'generate'",
        f"Choose a split: {', '.join(version.splits)}; or make one: caa dataset split {version.name} --test 0.2.",
    )
