"""The card of a vector: what it is, what is known of it, and the commands that make and apply it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator

from caa_registry.errors import one_line
from caa_registry.models.folder.fingerprint import ModelInfo
from caa_registry.registry.records import (
    CombinedOrigin,
    DatasetVersion,
    Evaluation,
    FileOrigin,
    RecordedPropensity,
    VectorVersion,
)
from caa_registry.registry.reports.content import CardContent, ReportContent
from caa_registry.registry.reports.effects import doses_section, side_effects_section
from caa_registry.registry.reports.identity import identity_section, quality_section
from caa_registry.registry.reports.text import between, change, inline, plain, signed, table
from caa_registry.registry.reports.verdict import verdict_section
from caa_registry.wording import count, ranges

# In the order in which a score is told: what it is of, and how it is called.
_HEADLINES = (("steerability", "log-odds of the matching answer per unit of multiplier"), ("effect", "probability"))


def card_text(content: CardContent) -> str:
    """The card as Markdown."""
    return "\n".join([*about(content), *_reproduce(content), *application(content)])


def about(content: CardContent) -> Iterator[str]:
    """What the vector is and what is known of it, line by line, without the commands that make and apply it."""
    version = content.version
    yield from (f"# {version.reference}", "")
    if version.quarantined:
        yield from (f"**Quarantined**: {version.quarantined}.", "")
    if version.deprecated:
        yield from (f"**Deprecated**: {version.deprecated}.", "")
    yield from _summary(content)
    yield from verdict_section(content.outcome, version.reference)
    if content.report is not None:
        yield from _scores(content.report)
    yield from identity_section(version, content.made)
    yield from quality_section(version)
    yield from _limits(content)


def _summary(content: CardContent) -> Iterator[str]:
    version, dataset, example = content.version, content.dataset, content.example
    if version.not_addable:
        yield f"Directions for the behavior **{plain(version.behavior)}**, which are kept and not added to a model."
        yield ""
        return
    yield (
        f"A steering vector for the behavior **{plain(version.behavior)}**: at a multiplier above 0 the model is to "
        "show more of it, below 0 less."
    )
    yield ""
    if dataset is not None and dataset.source.card is not None:
        yield f"- **more**: {dataset.source.card.positive}"
        yield f"- **less**: {dataset.source.card.negative}"
    elif example is not None:
        yield f"- a prompt of its pairs: {inline(example.prompt)}"
        yield f"- **more**: {inline(example.positive)}"
        yield f"- **less**: {inline(example.negative)}"
    if dataset is not None:
        yield ""


def _scores(report: ReportContent) -> Iterator[str]:
    shown = report.shown
    evaluation, layer = shown.evaluation, shown.layer
    yield from (f"## Scores: layer {layer}, evaluation {evaluation.id}", "")
    yield from (evaluation.standing.sentence, "")
    yield f"{count(evaluation.n, 'question')} of {evaluation.dataset} ({evaluation.split}{evaluation.half})."
    yield ""
    rows = []
    # Of several layers the one that is shown was chosen, and p is that of the largest of all.
    one = len(evaluation.settings.layers) == 1
    for name, words in _HEADLINES:
        score = evaluation.at(layer, name)
        p_value = evaluation.at(layer, f"{'p_' if one else 'p_chosen_'}{name}", evaluation.null or "")
        if score is not None:
            p = "not measured" if p_value is None else f"{p_value.value:.3f}"
            rows.append((words, change(score.value), between(score.ci_low, score.ci_high), p))
    yield from table(
        ["change of the", "value", "95 %", "p of the null" if one else "p of the null, over all layers"], rows
    )
    for caveat in shown.caveats:
        yield from (f"**Warning**: {caveat.text}", "")
    yield from doses_section(evaluation, layer)
    yield from side_effects_section(report.evaluations, layer)


def _limits(content: CardContent) -> Iterator[str]:
    version, dataset = content.version, content.dataset
    yield from ("## Use and limits", "")
    if version.model is None:
        yield (
            "Which model it is for is only claimed, and `caa` refuses to apply it until it is imported again with "
            "`--model`. On other weights than its own it means nothing."
        )
    else:
        yield (
            f"It is for one model, {version.model.name}, with exactly the weights above. On other weights it means "
            "nothing, and `caa` refuses to apply it."
        )
    yield ""
    if isinstance(version.origin, FileOrigin) and version.origin.not_addable:
        yield f"- **It is not applied**: {version.origin.not_addable}."
    licence = dataset.licence if dataset is not None else ""
    unknown = "that of the vectors it is made of" if isinstance(version.origin, CombinedOrigin) else "not known"
    yield f"- Licence of its pairs: {plain(licence) or unknown}. The model has a licence of its own."
    if content.outcome is None or content.outcome.reason or content.outcome.evidence is None:
        yield "- **No calibration recommends it.** What it does may be what any vector of its length does."
    report = content.report
    if report is None:
        yield "- **It was never evaluated**: nothing is known of what it does."
        yield ""
        return
    if report.shown.evaluation.is_letter_vector(report.shown.layer):
        yield "- **A letter vector**: it moves the letter of the answer more than the behavior."
    if not any(each.kind == "side-effects" for each in report.evaluations):
        yield "- Its side effects on ordinary text were not measured."
    if report.answers is None:
        yield "- Text that the model writes under it was not evaluated: the scores are about given answers."
    yield (
        f"- Measured only on questions of {report.shown.evaluation.dataset}. Nothing is known about other styles, "
        "other languages or longer conversations."
    )
    yield ""


def _reproduce(content: CardContent) -> Iterator[str]:
    version, recipe, dataset = content.version, content.version.recipe, content.dataset
    yield from ("## Make it again", "")
    if recipe is None or dataset is None:
        yield from _remake(content)
        return
    info = version.known_model()
    model = _model(info)
    if recipe.normalized is not None:
        yield f"It was normalized with others, from the vector with the digest `{recipe.normalized.of}`."
        yield ""
        return
    yield "Set `CAA_REGISTRY` to a new path first. `caa dataset replay` stores the pairs, and says where they differ."
    if model == "MODEL":
        yield f"MODEL is a folder with {info.name}: `caa model add MODEL` shows whether its fingerprint is"
        yield f"`{info.fingerprint.digest}`."
    if info.fingerprint.adapter:
        yield f"ADAPTER is the folder of its LoRA adapter, `{info.fingerprint.adapter}`."
    yield ""
    yield "```sh"
    for number, (_, steps) in enumerate(content.recipes, 1):
        yield f"cat > pairs{number}.recipe.json <<'RECIPE'"
        yield json.dumps(steps, indent=1, ensure_ascii=False)
        yield "RECIPE"
        yield f"caa dataset replay pairs{number}.recipe.json"
    yield _command(
        "caa vector compute",
        version.name,
        dataset=_pinned(dataset),
        model=model,
        split=recipe.split,
        method=recipe.method,
        read=recipe.read,
        template=recipe.template,
        layers=_listed(version.layer_numbers),
        **_adapter(version),
    )
    yield f"caa vector show {shlex.quote(version.name)}   # digest {version.digest}"
    if content.report is not None:
        asked, _ = content.recipes[-1]
        yield _evaluation(version, content.report.shown.evaluation, asked, model)
        yield "caa eval show 1"
    yield "```"
    yield ""
    yield (
        "On the same machine and packages the digest is the same. Elsewhere the last digits of the numbers differ with "
        "the library of matrix products; `caa vector verify --recompute` says by how much."
    )
    yield ""


def _remake(content: CardContent) -> Iterator[str]:
    """How a vector that was not computed from pairs is made again: from its files, or from the same vectors."""
    version, origin = content.version, content.version.origin
    model = {"model": _model(version.model), **_adapter(version)} if version.model else {}
    yield "```sh"
    made = content.made.parameters if content.made else {}
    if isinstance(origin, FileOrigin):
        options = {"name": version.name, "format": origin.format, "behavior": origin.behavior}
        options |= {option: str(made[option]) for option in ("layer", "row") if option in made}
        names = [one_line(name, 200) for name in made.get("files", ["FILE"])]
        yield _command("caa vector import", *names, **options, **model)
    elif made:
        options = {"operation": made["operation"], "layers": _listed(made["layers"]), "behavior": made["behavior"]}
        yield _command("caa vector combine", version.name, *made["terms"], **options)
    yield f"caa vector show {shlex.quote(version.name)}   # digest {version.digest}"
    yield "```"
    yield ""


def _evaluation(version: VectorVersion, evaluation: Evaluation, asked: DatasetVersion, model: str) -> str:
    recorded = evaluation.settings
    assert isinstance(recorded, RecordedPropensity)
    beside = recorded.beside
    options = {
        "dataset": _pinned(asked),
        "split": evaluation.split,
        "model": model,
        "layers": _listed(recorded.layers),
        "multipliers": ",".join(map(_number, recorded.multipliers)),
        "positions": evaluation.positions,
        "template": evaluation.template,
        "rows": recorded.rows,
        "orders": recorded.orders,
        "controls": ",".join(beside.controls) or "none",
        **({"draws": str(beside.seeds)} if beside.controls else {}),
        **_adapter(version),
    }
    return _command("caa eval propensity", version.name, **options) + (" --paper" if recorded.paper else "")


def application(content: CardContent, before: str = "") -> Iterator[str]:
    """How the vector is applied, line by line. ``before``: the command that comes first."""
    version = content.version
    yield from ("## Apply it", "")
    if version.not_addable:
        yield f"It is not applied: {version.not_addable}."
        return
    if version.model is None:
        yield "First import it again with `--model`, which says which model it is of."
        return
    layer, multiplier, recommended = dose_of(content)
    if recommended:
        yield f"Layer {layer}, multiplier {signed(multiplier)}, as its calibration recommends:"
    else:
        yield f"No layer is recommended. For instance layer {layer}:"
    yield ""
    yield "```sh"
    if before:
        yield before
    yield (
        _command("caa generate", vector=version.reference, layer=str(layer), multipliers=f"0,{_number(multiplier)}")
        + " 'PROMPT'"
    )
    yield "```"


def dose_of(content: CardContent) -> tuple[int, float, bool]:
    """The layer and the multiplier to apply it at, and whether its calibration recommends them."""
    outcome = content.outcome
    if outcome is not None and outcome.layer is not None and not outcome.reason:
        return outcome.layer, outcome.multiplier or 0.0, True
    return content.report.shown.layer if content.report else content.version.layer_numbers[0], 1.0, False


def _model(info: ModelInfo) -> str:
    """How a model is named on another machine."""
    if info.repo_id is not None:
        return f"hf:{info.repo_id}@{info.revision}" if info.revision else f"hf:{info.repo_id}"
    return info.name if info.path is None else "MODEL"


def _pinned(dataset: DatasetVersion) -> str:
    """It by name and digest: its number may be another elsewhere."""
    return f"{dataset.name}@{dataset.digest[:19]}"


def _adapter(version: VectorVersion) -> dict[str, str]:
    return {"adapter": "ADAPTER"} if version.model and version.model.fingerprint.adapter else {}


def _number(value: float) -> str:
    """As it was given, to the last digit."""
    return repr(float(value)).removesuffix(".0")


def _listed(layers: Iterable[int]) -> str:
    return ranges(sorted(layers)).replace(" ", "")


def _command(command: str, /, *arguments: str, **options: str) -> str:
    words = [shlex.quote(word) for word in arguments]
    words += [f"--{option.replace('_', '-')} {shlex.quote(value)}" for option, value in options.items()]
    return " ".join([command, *words])
