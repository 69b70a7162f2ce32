"""The parts of a report that are not of propensity: side effects, open-ended answers, what is recommended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from caa_registry.digests import short
from caa_registry.evaluation.doses.ladder import DOSES, LARGEST_DOSE, score_at, sides_of
from caa_registry.registry.evaluations.ratings import mean_ratings
from caa_registry.registry.records import Alias, CalibrationOutcome, Evaluation, RecordedOpenEnded, RecordedSideEffects
from caa_registry.registry.reports.content import AnswersContent
from caa_registry.registry.reports.text import between, change, signed, table
from caa_registry.wording import count


def doses_section(evaluation: Evaluation, layer: int) -> Iterator[str]:
    """What the vector does at ``layer`` at the doses at which vectors are compared; nothing where none was measured."""
    reached = evaluation.at(layer, LARGEST_DOSE)
    if reached is None:
        return
    multipliers = evaluation.settings.multipliers
    where = {
        "up": "from no steering to that dose, with multipliers above 0",
        "down": "from that dose to no steering, with multipliers below 0",
    }.get(sides_of(multipliers) or "both", "from that dose below 0 to that dose above 0")
    yield f"### At equal dose, layer {layer}"
    yield ""
    yield (
        "A dose is the KL divergence from the unsteered model where answers are read, in nats per token. Between the "
        f"multipliers that were measured, effects are interpolated; the largest dose is {reached.value:.2g}. Changes "
        f"are {where}."
    )
    yield ""
    rows = []
    for dose in DOSES:
        effect, odds = (evaluation.at(layer, score_at(statistic, dose)) for statistic in ("effect", "log_odds"))
        if effect is not None and odds is not None:
            cells = [(change(score.value), between(score.ci_low, score.ci_high)) for score in (effect, odds)]
            rows.append((f"{dose:g}", *cells[0], *cells[1]))
    if rows:
        yield from table(["dose", "probability", "95 %", "log-odds", "95 % "], rows)
    else:
        yield from (f"Nothing can be told at {DOSES[0]:g} or more from these multipliers.", "")


def side_effects_section(evaluations: Sequence[Evaluation], layer: int) -> Iterator[str]:
    """The measurement on neutral text that has the layer and most multipliers, the newest of equals."""
    having = [e for e in evaluations if e.kind == "side-effects" and layer in e.settings.layers]
    if not having:
        return
    evaluation = max(having, key=lambda each: (len(each.settings.multipliers), each.id))
    recorded = evaluation.settings
    assert isinstance(recorded, RecordedSideEffects)
    perplexity = {score.multiplier: score for score in evaluation.of("perplexity") if score.layer == layer}
    yield f"## Side effects on ordinary text: evaluation {evaluation.id}"
    yield ""
    yield (
        f"{count(evaluation.n, 'passage')} of {evaluation.dataset} (`{short(recorded.text_digest)}`), "
        f"all tokens steered at layer {layer}. KL divergence from the unsteered model in nats per token; intervals: "
        f"{recorded.interval}."
    )
    yield ""
    rows = []
    for score in evaluation.of("kl"):
        if score.layer == layer:
            text = perplexity[score.multiplier]
            kl = f"{score.value:.3f}", between(score.ci_low, score.ci_high)
            rows.append((signed(score.multiplier), *kl, f"{text.value:.1f}", between(text.ci_low, text.ci_high, 1)))
    yield from table(["multiplier", "KL", "95 %", "perplexity", "95 % "], rows)


def answers_section(content: AnswersContent) -> Iterator[str]:
    """An open-ended evaluation, with its ratings and the answers to one question."""
    evaluation, answers, recorded = content.evaluation, content.answers, content.evaluation.settings
    assert isinstance(recorded, RecordedOpenEnded)
    sampling = recorded.sampling
    means = [mean_ratings(answers, judged) for judged in content.judgements]
    yield f"## Open-ended answers: evaluation {evaluation.id}"
    yield ""
    yield (
        f"{count(recorded.questions, 'question')} of {evaluation.dataset} ({evaluation.split}), layer "
        f"{', '.join(map(str, recorded.layers))}, at most {count(sampling.max_tokens, 'token')}, temperature "
        f"{sampling.temperature:g}, seed {sampling.seed}. Perplexity is that of the answers under the unsteered "
        "model; a text that goes round in circles can have a low one, so repetition stands beside it."
    )
    yield ""
    rows = []
    for multiplier in recorded.multipliers:
        cells = []
        for metric in ("tokens", "repeated_4", "perplexity"):
            score = next((s for s in evaluation.of(metric) if s.multiplier == multiplier), None)
            cells.append("" if score is None else f"{score.value:.2f}")
        for mean in means:
            interval = mean.get(multiplier)
            cells.append(
                ""
                if interval is None
                else f"{interval.value:.2f} ({between(interval.low, interval.high)}; {interval.n})"
            )
        rows.append((signed(multiplier), *cells))
    judges = [f"rating: {each.judge['kind']} {each.judge['name']}" for each in content.judgements]
    yield from table(["multiplier", "tokens", "repeated 4-grams", "perplexity", *judges], rows)
    for judged in content.judgements:
        if judged.unparsable:
            unread = f"{judged.unparsable} of {count(len(judged.ratings), 'reply', 'replies')}"
            yield f"- {judged.judge['name']}: {unread} could not be read as a rating."
    yield f"Asked: {answers[0].question!r}"
    yield ""
    for answer in answers:
        if answer.question == answers[0].question:
            yield f"- {signed(answer.multiplier)}: {answer.text.strip()!r}"
    yield ""


def recommendation_section(aliases: Sequence[Alias], outcome: CalibrationOutcome | None) -> Iterator[str]:
    """What aliases of this version recommend, and why. The conditions of ``outcome`` are told with the verdict."""
    if not aliases:
        return
    yield "## Recommended"
    yield ""
    for alias in aliases:
        advice = alias.recommendation
        assert advice is not None
        layers = ", ".join(map(str, advice.layers))
        line = f"- `{alias.reference}`: layer {layers}, multiplier {advice.multiplier:g}, positions {advice.positions}."
        evidence = advice.evidence
        if evidence:
            score, effect = evidence["score_b"], evidence["effect_b"]
            ids = ", ".join(map(str, advice.evaluations))
            line += (
                f" On {count(evidence['items']['b'], 'question')} that took no part in the choice: propensity "
                f"{score['value']:.3f} ({between(score['low'], score['high'])}), changed by {effect['value']:.3f} "
                f"({between(effect['low'], effect['high'])}) in the intended direction; KL "
                f"{evidence['kl']['value']:.3f} nats per token. Evaluations {ids}. {evidence['rule']}"
            )
            power = evidence.get("power_b", {})
            if power.get("detectable") is not None:
                line += (
                    f" These questions, in {power['clusters']} clusters, would show an effect of "
                    f"{power['detectable']:.3f} or more (80 % power, two-sided 5 %)."
                )
        yield line
        if advice.caveat:
            yield f"  - **Note**: {advice.caveat}."
        told = outcome is not None and evidence == outcome.evidence
        for condition in () if told else (evidence or {}).get("verdict", ()):
            held = "accepted" if condition["accepted"] else "holds"
            yield f"  - {condition['name']} {held}: {condition['figure']}"
    yield ""
