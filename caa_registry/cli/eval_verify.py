"""``caa eval verify``."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from caa_registry.cli import output
from caa_registry.cli.options import ModelChoice, Settings, common, with_adapter
from caa_registry.errors import UsageError
from caa_registry.progress import silent
from caa_registry.wire.evaluations import evaluation_verification_json
from caa_registry.wording import count

if TYPE_CHECKING:
    from caa_registry.registry.records import EvaluationVerification, RecomputedScore

# Of the scores that differ; --json has them all.
_SHOWN = 20


@click.command(epilog="Example: caa eval verify 3 --recompute")
@click.argument("evaluation", metavar="NUMBER|VECTOR")
@click.option("--recompute", is_flag=True, help="Measure it again by its stored settings, and compare every score.")
@click.option("--model", metavar="M", help="Where the model's files are now.  [default: where they were last seen]")
@with_adapter
@click.option("--without-ratings", is_flag=True, help="With --recompute: do not have answers rated again.")
@common
def verify(settings: Settings, evaluation: str, recompute: bool, model: ModelChoice, without_ratings: bool) -> None:
    """Check an evaluation against its digests: scores, items, answers, ratings, and the vector and dataset it names.

    NUMBER|VECTOR is the number of an evaluation, or a vector, whose newest evaluation counts.

    --recompute also compares every byte of the model with its fingerprint, measures everything again by the stored
    settings and seeds, and names what differs. Nothing that was measured before is used, and no evaluation is stored.
    Ratings are made again where the judge is a model on this machine. The outcome is kept as a run (caa run show). The
    exit code is 1 if something differs.
    """
    if (model.name or model.adapter or without_ratings) and not recompute:
        raise UsageError(
            "without --recompute nothing is measured",
            "Give --recompute too, or leave --model, --adapter and --without-ratings out.",
        )
    bars = (output.progress("scores"), output.progress("activations")) if recompute else (nullcontext(silent),) * 2
    with settings.open() as registry, bars[0] as progress, bars[1] as reading:
        found = registry.evaluations.verify(
            evaluation,
            recompute=recompute,
            model=model.name,
            adapter=model.adapter,
            ratings=not without_ratings,
            progress=progress,
            reading=reading,
        )
    if settings.as_json:
        output.print_json(evaluation_verification_json(found))
    else:
        _say(found)
    sys.exit(0 if found.holds else 1)


def _say(found: EvaluationVerification) -> None:
    held = [count(found.figures, "score")]
    held += [count(found.answers, "answer")] if found.answers else []
    held += [count(found.ratings, "rating")] if found.ratings else []
    name = f"Evaluation {found.evaluation}"
    output.paragraph(
        f"{name} of {found.vector} on {found.dataset}: its {', '.join(held)}, its vector and its "
        f"{count(found.questions, 'question')} are those that were stored."
    )
    if found.run is None:
        return
    if found.scores:
        _say_compared(found)
    for difference in found.differences:
        output.paragraph(f"DIFFERS: {difference}.")
    for left_out in found.left_out:
        output.paragraph(f"Not made again: {left_out}.")
    if found.environment:
        output.paragraph(f"The environment is not the same: {'; '.join(found.environment)}.")
    if found.holds:
        how = "to the same bits" if found.same_bits else "the same but for rounding"
        output.paragraph(f"{name} holds: it was measured again, {how} (run {found.run}).")
        return
    outcome = "nothing was measured again"
    if found.scores:
        apart = len(found.apart)
        outcome = f"{count(apart, 'score')} of {len(found.scores)} come out otherwise"
        if not apart:
            outcome = "every score comes out as before"
    output.paragraph(f"{name} does not hold (run {found.run}): {outcome}.")


def _say_compared(found: EvaluationVerification) -> None:
    items = [
        (each.what, each.count, _how(each.same_bits, each in found.items_apart), _figure(each.difference), each.apart)
        for each in found.items
    ]
    same = sum(score.same_bits for score in found.scores)
    largest = max((score.difference for score in found.scores if score.difference is not None), default=None)
    scores = ("scores", len(found.scores), _how(same == len(found.scores), bool(found.apart)), _figure(largest), "")
    output.table(["measured again", "n", "outcome", "largest difference", "where"], [scores, *items], empty="")
    output.paragraph(
        f"difference of a score: of it or its interval, relative to what is larger than 1; of items: in nats; "
        f"{found.tolerance:g} may be rounding"
    )
    if found.apart:
        worst = sorted(found.apart, key=_size, reverse=True)[:_SHOWN]
        rows = [(each.name, _exactly(each.stored), _exactly(each.now), _figure(each.difference)) for each in worst]
        output.table(["score", "stored", "now", "difference"], rows, empty="")
        if len(found.apart) > _SHOWN:
            output.message(f"The worst {_SHOWN} of {len(found.apart)}; --json has all.")


def _how(same_bits: bool, apart: bool) -> str:
    return "the same bits" if same_bits else "DIFFERS" if apart else "the same but for rounding"


def _size(score: RecomputedScore) -> float:
    return float("inf") if score.difference is None else score.difference


def _figure(difference: float | None) -> str:
    return "" if difference is None else f"{difference:.1e}"


def _exactly(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
