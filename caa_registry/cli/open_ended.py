"""Open-ended evaluation: ``caa eval open-ended``, ``answers``, ``rate``, ``sheet``, ``rubrics``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import output
from caa_registry.cli.options import (
    ALLOW_MISMATCH,
    FORCE,
    STEERED_MODEL,
    STEERED_POSITIONS_OPTION,
    STEERED_TEMPLATE,
    LayerList,
    ModelChoice,
    NumberList,
    Settings,
    common,
    with_adapter,
)
from caa_registry.cli.resumable import kept
from caa_registry.cli.score_tables import say_evaluation
from caa_registry.cli.shards import SHARD, kept_shard
from caa_registry.errors import NotFoundError, UsageError
from caa_registry.evaluation.shards import Shard
from caa_registry.registry.records import OpenEndedSettings
from caa_registry.wire.evaluations import answer_json, rubric_json
from caa_registry.wording import count

if TYPE_CHECKING:
    from caa_registry.evaluation.open_ended.judging import Judge
    from caa_registry.evaluation.open_ended.rubrics import Rubric
    from caa_registry.registry.records import Evaluation
    from caa_registry.registry.registry import Registry

RUBRIC = click.option("--rubric", metavar="NAME|FILE", help="What is rated.  [default: that of the vector's behavior]")
JUDGE_URL = click.option("--judge-url", metavar="URL", help="An OpenAI-compatible endpoint; key from CAA_JUDGE_KEY.")
JUDGE_KEY = click.option(
    "--judge-key-env",
    metavar="NAME",
    help="Environment variable with the key for --judge-url.  [default: CAA_JUDGE_KEY, and OPENAI_API_KEY for "
    "api.openai.com only]",
)
JUDGE_MODEL = click.option("--judge-model", metavar="M", help="Model at --judge-url, or a local one without it.")


@click.command("open-ended", epilog="Example: caa eval open-ended team/refusal --dataset team/asked --layer 13")
@click.argument("vector")
@click.option("--dataset", required=True, metavar="REF", help="Open-ended questions, or pairs whose prompts are asked.")
@click.option("--split", default="test", show_default=True, help="Split to ask.")
@STEERED_MODEL
@with_adapter
@click.option("--layer", "layers", type=LayerList(allow_all=False), required=True, help="Layer, or several at once.")
@click.option("--multipliers", type=NumberList(), default="-1,0,1", show_default=True)
@STEERED_POSITIONS_OPTION
@STEERED_TEMPLATE
@click.option("--system", default="", help="System prompt.")
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    default=128,
    show_default=True,
    help="Maximum number of tokens of an answer.",
)
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True, help="0 is greedy.")
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed, for temperatures above 0.")
@click.option("--limit", type=click.IntRange(1), help="Questions to ask.  [default: all]")
@RUBRIC
@JUDGE_URL
@JUDGE_KEY
@JUDGE_MODEL
@SHARD
@ALLOW_MISMATCH
@common
def open_ended(
    settings: Settings,
    vector: str,
    dataset: str,
    split: str,
    model: ModelChoice,
    layers: tuple[int, ...],
    multipliers: tuple[float, ...],
    rubric: str | None,
    judge_url: str | None,
    judge_key_env: str | None,
    judge_model: str | None,
    shard: Shard | None,
    **asked: Any,
) -> None:
    """Generate answers at each multiplier, store them, and have a judge rate them if one is given.

    Besides ratings it shows how coherent the answers are: how long, how repetitive, and how surprising to the unsteered
    model.
    """
    with kept_shard(settings, shard), settings.open() as registry:
        version = registry.vectors.get(vector)
        # Before anything is generated: a judge that cannot be asked must not cost an hour.
        rated_by = rubric_of(rubric, version.behavior) if judge_url or judge_model or judge_key_env else None
        judge = _judge(registry, rated_by, judge_url, judge_model, judge_key_env) if rated_by else None
        with kept("answers") as progress:
            evaluation = registry.evaluations.open_ended(
                version,
                dataset=dataset,
                split=split,
                model=model.or_recorded(registry, version),
                layers=layers,
                multipliers=multipliers,
                settings=OpenEndedSettings(**asked),
                shard=shard,
                progress=progress,
            )
        if judge is not None and rated_by is not None and settings.prints:
            _rate(registry, evaluation, judge, rated_by)
        _say(settings, registry, evaluation)


@click.command("answers", epilog="Example: caa eval answers 5 --limit 3")
@click.argument("id", type=int)
@click.option("--limit", type=click.IntRange(0), default=5, show_default=True, help="Questions to show; 0: all.")
@common
def answers(settings: Settings, id: int, limit: int) -> None:
    """Show the answers of an open-ended evaluation, question by question."""
    with settings.open() as registry:
        given = registry.evaluations.answers(id)
        judgements = registry.evaluations.judgements(id)
    if settings.as_json:
        output.print_json([answer_json(answer, judgements) for answer in given])
        return
    questions = list(dict.fromkeys(answer.question for answer in given))
    for question in questions[: limit or None]:
        output.line(question, bold=True)
        for answer in given:
            if answer.question == question:
                values = [judged.ratings[answer.position] for judged in judgements]
                rating = "".join(f" ({'no rating' if value is None else f'{value:g}'})" for value in values)
                output.line(f"  [{output.strength(answer.multiplier)}]{rating} {answer.text.strip()}")
    if 0 < limit < len(questions):
        output.message(f"{len(questions) - limit} more questions; --limit 0 shows all.")


@click.command("rate", epilog="Example: caa eval rate 5 --judge-url http://gpu:8080/v1 --judge-model judge")
@click.argument("id", type=int)
@RUBRIC
@JUDGE_URL
@JUDGE_KEY
@JUDGE_MODEL
@click.option("--sheet", type=click.Path(path_type=Path), help="A sheet filled in by a person, instead of a judge.")
@click.option("--rater", help="Who filled in the sheet.")
@common
def rate(
    settings: Settings,
    id: int,
    rubric: str | None,
    judge_url: str | None,
    judge_key_env: str | None,
    judge_model: str | None,
    sheet: Path | None,
    rater: str | None,
) -> None:
    """Rate the answers of an open-ended evaluation: by an endpoint, a local model, or a person's sheet.

    Replies that cannot be read as a rating are kept and counted. Rating again adds a pass and replaces none.
    """
    with settings.open() as registry:
        evaluation = registry.evaluations.get(id)
        chosen = rubric_of(rubric, registry.vectors.get(f"vector:{evaluation.vector}").behavior)
        if sheet is not None:
            if judge_url or judge_model or judge_key_env:
                raise UsageError("a sheet and a judge are two passes", "Give one at a time.")
            if not rater:
                raise UsageError("the sheet has no rater", "Say who filled it in: --rater NAME.")
            registry.evaluations.read_sheet(evaluation, sheet, rater=rater, rubric=chosen)
        else:
            _rate(registry, evaluation, _judge(registry, chosen, judge_url, judge_model, judge_key_env), chosen)
        _say(settings, registry, evaluation)


@click.command("sheet", epilog="Example: caa eval sheet 5 --out ratings.csv")
@click.argument("id", type=int)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="CSV file to write.")
@click.option("--seed", type=int, default=0, show_default=True, help="Shuffles the rows.")
@FORCE
@common
def sheet(settings: Settings, id: int, out: Path, seed: int, force: bool) -> None:
    """Write the answers of an open-ended evaluation as a CSV for a person to rate, blind and shuffled.

    It is read back with: caa eval rate ID --sheet FILE --rater NAME.
    """
    with settings.open() as registry:
        rows = registry.evaluations.write_sheet(id, out, seed=seed, force=force)
    if settings.as_json:
        output.print_json({"sheet": str(out), "rows": rows})
    else:
        output.message(f"Wrote {count(rows, 'answer')} to {out}. Fill in the column rating, 0 to 10.")


@click.command("rubrics", epilog="Example: caa eval rubrics sycophancy")
@click.argument("name", required=False)
@common
def rubrics(settings: Settings, name: str | None) -> None:
    """List the rubrics that ship with caa, or show one as a judge reads it."""
    from caa_registry.evaluation.open_ended.rubrics import packaged_rubrics

    if name is not None:
        rubric = rubric_of(name, "")
        if settings.as_json:
            output.print_json(rubric_json(rubric))
            return
        output.document(f"{rubric.text.strip()}\n")
        if rubric.note:
            output.paragraph(f"Note: {rubric.note}")
        return
    listed = packaged_rubrics()
    if settings.as_json:
        output.print_json([rubric_json(rubric) for rubric in listed])
        return
    output.table(
        ["name", "behavior", "aliases"], [(r.name, r.behavior, ", ".join(r.aliases)) for r in listed], empty="none"
    )


def rubric_of(name: str | None, behavior: str) -> Rubric:
    """The rubric of that name or in that file; without a name that of the behavior."""
    from caa_registry.evaluation.open_ended.rubrics import find_rubric, read_rubric

    if name is None:
        try:
            return find_rubric(behavior)
        except NotFoundError as error:
            raise UsageError(f"there is no rubric for {behavior!r}", "Name one: --rubric NAME or FILE.") from error
    return read_rubric(Path(name)) if name.endswith(".md") or Path(name).is_file() else find_rubric(name)


def _judge(registry: Registry, rubric: Rubric, url: str | None, model: str | None, key_env: str | None) -> Judge:
    if not model:
        raise UsageError("the judge has no model", "Give --judge-model, with --judge-url or a local model.")
    if url:
        from caa_registry.evaluation.open_ended.endpoint import EndpointJudge

        return EndpointJudge(url, model, rubric, key_env=key_env)
    if key_env is not None:
        raise UsageError("a local judge gets no key", "Leave out --judge-key-env, or give --judge-url.")
    from caa_registry.evaluation.open_ended.local_judge import LocalJudge

    return LocalJudge(registry.models.load(model), rubric)


def _say(settings: Settings, registry: Registry, evaluation: Evaluation) -> None:
    judgements, answers = registry.evaluations.judgements(evaluation), registry.evaluations.answers(evaluation)
    say_evaluation(settings, evaluation, judgements, answers)


def _rate(registry: Registry, evaluation: Evaluation, judge: Judge, rubric: Rubric) -> None:
    if rubric.note:
        output.paragraph(f"Note: {rubric.note}")
    with kept("ratings") as progress:
        registry.evaluations.rate(evaluation, judge, progress)
