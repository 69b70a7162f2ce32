"""Answers to questions, each at several multipliers of one vector."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from caa_registry import mx_thread
from caa_registry.engine.checks import tolerance
from caa_registry.engine.decoding import COMPARED, Decoding, Finish, Row, Strength, decode
from caa_registry.errors import ModelError, UsageError
from caa_registry.models.generation import check_sampling
from caa_registry.models.model import Model
from caa_registry.models.prompts import TemplateName
from caa_registry.progress import Progress, silent
from caa_registry.steering.additions import Addition, sums
from caa_registry.steering.positions import SteeredPositions, check_positions

# Rows of one batch: more do not make a token cheaper, and the tokens of all stand in the cache.
_ROWS = 32
_CACHED_TOKENS = 8192

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Response:
    """A generated answer. ``question``: the index of its question. ``ids``: its tokens without the end token.
    ``finish``: ``stop`` at an end token, ``length`` where as many tokens as asked for, or as fit, came before one."""

    question: int
    multiplier: float
    text: str
    ids: tuple[int, ...]
    finish: Finish


@dataclass(frozen=True)
class _Group:
    """Questions whose prompts have one length, and some of the strengths, by index."""

    questions: tuple[int, ...]
    strengths: tuple[int, ...]


def responses(
    model: Model,
    questions: Sequence[str],
    steered: Mapping[float, Sequence[Addition]],
    *,
    positions: SteeredPositions = "after_prompt",
    system: str = "",
    template: TemplateName | None = None,
    max_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
    progress: Progress = silent,
) -> Iterator[list[Response]]:
    """Answers to every question at every multiplier, in groups, each handed out when it is done.

    ``steered``: multiplier to what is added, multiplied already; nothing for the unsteered model. With greedy decoding
    (``temperature`` 0) an answer is what ``model.generate`` gives in a ``steering`` context, one at a time. Above,
    what is drawn depends on ``seed``, the rendered prompt and the multiplier alone. ``progress`` counts answers.

    The longest prompts and the shortest come first, and are checked against answers generated alone. Where an
    architecture computes something else in a batch, all others are generated alone, and a warning says so.

    Raises ``UsageError`` or ``ModelError`` before anything runs for a question, an addition or a setting that does not
    fit; ``ModelError`` on the way where values are not finite.
    """
    check_positions(positions)
    check_sampling(max_tokens, temperature)
    strengths = [Strength(float(m) + 0.0, sums(model, additions)) for m, additions in steered.items()]
    prompts = _prompts(model, questions, system, template, max_tokens)
    how = Decoding(model, positions, max_tokens, temperature, seed)
    return mx_thread.each(_generated, how, prompts, strengths, mx_thread.at_caller(progress))


def _prompts(
    model: Model, questions: Sequence[str], system: str, template: TemplateName | None, max_tokens: int
) -> list[tuple[int, ...]]:
    rendering = model.template(template)
    prompts = []
    for number, question in enumerate(questions, start=1):
        try:
            prompts.append(rendering.prompt(question, system).ids)
            model.room(len(prompts[-1]), max_tokens)
        except (UsageError, ModelError) as error:
            raise type(error)(f"question {number}: {error.message}", error.hint) from error
    return prompts


def _generated(
    how: Decoding, prompts: Sequence[tuple[int, ...]], strengths: Sequence[Strength], progress: Progress
) -> Iterator[list[Response]]:
    done, total = 0, len(prompts) * len(strengths)
    together, unchecked = True, 2
    progress(0, total)
    for group in _planned([len(prompt) for prompt in prompts], len(strengths), how.max_tokens):
        chosen = [prompts[i] for i in group.questions]
        added = [strengths[i] for i in group.strengths]
        rows = _together(how, chosen, added, check=unchecked > 0) if together else None
        if together and rows is None:
            name = how.model.info.architecture
            _log.warning("%s computes differently in a batch, so answers are generated one at a time.", name)
            together = False
        unchecked -= 1
        if rows is None:
            rows = [decode(how, [prompt], [strength], shared=False)[0] for prompt in chosen for strength in added]
        places = [(question, strength) for question in group.questions for strength in added]
        done += len(rows)
        progress(done, total)
        yield [
            Response(question, strength.multiplier, _text(how.model, row.ids), row.ids, row.finish)
            for (question, strength), row in zip(places, rows, strict=True)
        ]


def _planned(lengths: Sequence[int], n_strengths: int, max_tokens: int) -> list[_Group]:
    """Groups of at most ``_ROWS`` rows: those of the longest prompts, of the shortest, and the others."""
    groups: list[_Group] = []
    for length in sorted(set(lengths)):
        alike = [i for i, each in enumerate(lengths) if each == length]
        rows = max(1, min(_ROWS, _CACHED_TOKENS // (length + max_tokens)))
        at_once = max(1, rows // max(1, n_strengths))
        for i in range(0, len(alike), at_once):
            for j in range(0, n_strengths, rows):
                some = tuple(range(j, min(j + rows, n_strengths)))
                groups.append(_Group(tuple(alike[i : i + at_once]), some))
    return [*groups[-1:], *groups[:-1]]


def _together(
    how: Decoding, prompts: Sequence[tuple[int, ...]], strengths: Sequence[Strength], *, check: bool
) -> list[Row] | None:
    """The rows of one batch. ``None`` where the last prompt at the largest multiplier comes out differently alone."""
    try:
        rows = decode(how, prompts, strengths, shared=True)
    except (AttributeError, TypeError, ValueError, IndexError):  # a cache that does not branch
        return None
    if check:
        strongest = max(range(len(strengths)), key=lambda i: abs(strengths[i].multiplier))
        start = replace(how, max_tokens=min(COMPARED, how.max_tokens))
        (alone,) = decode(start, prompts[-1:], [strengths[strongest]], shared=False)
        if not _alike(rows[strongest - len(strengths)], alone, how.model.dtype):
            return None
    return rows


def _alike(row: Row, alone: Row, dtype: str) -> bool:
    for i, (log_p, log_p_alone) in enumerate(zip(row.log_p, alone.log_p, strict=False)):
        if row.ids[:i] != alone.ids[:i]:
            break  # of two tokens nearly as probable each took another
        if not _close(log_p, log_p_alone, dtype):
            return False
    return True


def _close(log_p: NDArray[np.float32], expected: NDArray[np.float32], dtype: str) -> bool:
    # A token that a model never gives has log-probability -inf.
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(log_p)):
        return False
    return bool(np.abs(log_p[finite] - expected[finite]).max() <= tolerance(dtype, expected[finite]))


def _text(model: Model, ids: Sequence[int]) -> str:
    """The tokens as ``model.generate`` writes them."""
    detokenizer = model.wrapped_tokenizer.detokenizer
    detokenizer.reset()
    pieces = []
    for token in ids:
        detokenizer.add_token(token)
        pieces.append(detokenizer.last_segment)
    detokenizer.finalize()
    return "".join([*pieces, detokenizer.last_segment])
