"""The card of a repository: what its vectors are, what is known of them, and how they are applied, also without us."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caa_registry.pairs.export.card import licence_fields
from caa_registry.registry.records import Recommendation
from caa_registry.registry.reports.card import about, application, dose_of
from caa_registry.registry.reports.content import CardContent
from caa_registry.registry.reports.text import plain, signed, table
from caa_registry.registry.transfer.hub.layout import SUMS, vector_file
from caa_registry.registry.transfer.hub.licences import Licences
from caa_registry.wording import named_layers, ranges

_TAGS = ("activation-steering", "steering-vector", "contrastive-activation-addition", "caa", "caa-registry")


@dataclass(frozen=True, eq=False)
class RepositoryFacts:
    """What a card tells beside its vectors. ``advice``: by vector version the alias that it was pushed by, where that
    recommends something; ``signer``: the key that signs the repository, empty where none does."""

    repo: str
    licences: Licences
    advice: Mapping[str, tuple[str, Recommendation]]
    signer: str = ""


def repository_card(contents: Sequence[CardContent], facts: RepositoryFacts, files: Mapping[str, str]) -> str:
    """The card as Markdown with front matter. ``files``: of what strangers read, each with a word about it."""
    import yaml

    front = yaml.safe_dump(_front_matter(contents, facts), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n" + "\n".join(_lines(contents, facts, files)) + "\n"


def _front_matter(contents: Sequence[CardContent], facts: RepositoryFacts) -> dict[str, Any]:
    licences = {licence for licence in facts.licences.data.values() if licence}
    if not licences:
        licences = set(facts.licences.models.values())
    licence = licences.pop() if len(licences) == 1 else "several, see the card"
    head: dict[str, Any] = {**licence_fields(licence), "library_name": "caa-registry", "tags": list(_TAGS)}
    behaviors = [content.version.behavior for content in contents]
    head["tags"] += [each for each in dict.fromkeys(behaviors) if each not in _TAGS]
    models = [content.version.model.repo_id for content in contents if content.version.model is not None]
    if named := list(dict.fromkeys(model for model in models if model)):
        head["base_model"] = named[0] if len(named) == 1 else named
    sets = [content.dataset.source.repo for content in contents if content.dataset is not None]
    if from_hub := list(dict.fromkeys(each for each in sets if each)):
        head["datasets"] = from_hub
    return head


def _lines(contents: Sequence[CardContent], facts: RepositoryFacts, files: Mapping[str, str]) -> Iterator[str]:
    if len(contents) > 1:
        yield from (f"# {len(contents)} steering vectors", "")
        rows = []
        for content in contents:
            version = content.version
            layers, multiplier, recommended = _dose(content, facts)
            dose = f"layer {layers}, multiplier {signed(multiplier)}" if recommended else "none recommended"
            rows.append((version.reference, plain(version.behavior), plain(version.model_name), dose))
        yield from table(["vector", "behavior", "model", "dose"], rows)
    for content in contents:
        yield from about(content)
    yield from _licences(facts)
    yield from ("## What is here", "")
    yield from table(["file", ""], [(f"`{name}`", words) for name, words in files.items()])
    yield f"`{SUMS}` has the digest of every file: `sha256sum -c {SUMS}`."
    if facts.signer:
        yield f"It is signed with the key `{facts.signer}`. Ask whom you had it from whether that is theirs."
    yield ""
    for content in contents:
        yield from _application(content, facts, alone=len(contents) == 1)
        yield from _without_us(content, facts)
    if facts.licences.whole:
        yield "`caa vector verify REFERENCE --recompute` makes a vector again from its pairs and model, and compares."
    yield f"`caa pull hf:{facts.repo}@COMMIT` takes what is here now, whatever is pushed later."


def _licences(facts: RepositoryFacts) -> Iterator[str]:
    licences = facts.licences
    yield from ("## Licences", "")
    rows = [("pairs", name, plain(licence) or "not known") for name, licence in licences.data.items()]
    rows += [("model", name, plain(licence)) for name, licence in licences.models.items()]
    yield from table(["", "", "licence"], rows)
    if licences.data and not licences.pairs:
        yield (
            "The pairs and the questions are not here. Their digests are in the cards above: whoever has them can "
            "check that they are the same."
        )
        yield ""


def _dose(content: CardContent, facts: RepositoryFacts) -> tuple[str, float, bool]:
    """The layers and the multiplier to apply it at, and whether somebody recommends them."""
    if content.version.reference in facts.advice:
        _, advice = facts.advice[content.version.reference]
        return ranges(advice.layers), advice.multiplier, True
    layer, multiplier, recommended = dose_of(content)
    return str(layer), multiplier, recommended


def _application(content: CardContent, facts: RepositoryFacts, *, alone: bool) -> Iterator[str]:
    version, pull = content.version, f"caa pull hf:{facts.repo}"
    heading, *lines = application(content, pull)
    yield heading if alone else f"{heading}: {version.reference}"
    if version.reference not in facts.advice:
        yield from (*lines, "")
        return
    alias, advice = facts.advice[version.reference]
    yield ""
    yield (
        f"`{version.name}:{alias}` recommends {named_layers(advice.layers)} and multiplier "
        f"{signed(advice.multiplier)}; {_reason(advice)}."
    )
    vector = f"{version.name}:{alias}"
    if not facts.licences.whole:  # the alias stays behind
        dose = f"--layer {','.join(map(str, advice.layers))} --multipliers 0,{advice.multiplier:g}"
        vector = f"{version.name} {dose} --positions {advice.positions}"
    yield from ("", "```sh", pull, f"caa generate --vector {vector} 'PROMPT'", "```", "")


def _reason(advice: Recommendation) -> str:
    if not advice.verdict:
        return "somebody chose them, and no calibration did"
    return "its calibration passed" if advice.verdict == "passed" else advice.caveat


def _without_us(content: CardContent, facts: RepositoryFacts) -> Iterator[str]:
    version, repo = content.version, facts.repo
    if version.not_addable or version.model is None:
        return
    layer, multiplier, _ = dose_of(content)
    layers = [layer]
    if version.reference in facts.advice:
        _, advice = facts.advice[version.reference]
        if advice.positions != "after_prompt":  # which is what the code does
            return
        layers, multiplier = list(advice.layers), advice.multiplier
    file, model = vector_file(version.name, version.number), version.model.repo_id or "MODEL"
    yield from ("Without `caa`, with transformers, where `model.model.layers` are the blocks:", "")
    yield from ("```python", _PYTHON.format(repo=repo, file=file, layers=layers, model=model, multiplier=multiplier))
    yield from ("```", "")


_PYTHON = """\
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

vectors = load_file(hf_hub_download("{repo}", "{file}"))
tokenizer = AutoTokenizer.from_pretrained("{model}")
model = AutoModelForCausalLM.from_pretrained("{model}")


def steer(vector):
    def hook(module, inputs, output):
        hidden = output[0] if isinstance(output, tuple) else output
        hidden[:, -1] += {multiplier:g} * vector.to(hidden)  # the last token of the prompt, and each that follows
        return output

    return hook


hooks = [model.model.layers[i].register_forward_hook(steer(vectors[f"layer.{{i}}"])) for i in {layers}]
chat = [{{"role": "user", "content": "PROMPT"}}]
ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
print(tokenizer.decode(model.generate(**ids, max_new_tokens=60)[0]))
for hook in hooks:
    hook.remove()"""
