"""Pairs with turns before their prompt, as the shapes of chat templates render them."""

from __future__ import annotations

import pytest
from support.chat_templates import SHAPES, chatml
from support.tiny_models import tiny_tokenizer

from caa_registry.errors import ModelError
from caa_registry.models.rendering.prompts import CompletedTokens, Template
from caa_registry.pairs.record import Pair
from caa_registry.pairs.turns import Turn

EXCHANGES = (("Is tea good?", "Many say so."), ("And milk?", "Perhaps."), ("With sugar?", "No."))
PROMPT = "So what now?\n (A) Tea\n (B) Milk"

SOUND = {name: shape for name, shape in SHAPES.items() if not shape.error}


def pair_of(count: int, system: str = "", exchanges: tuple[tuple[str, str], ...] = EXCHANGES) -> Pair:
    said = [turn for asked, answer in exchanges[:count] for turn in (Turn("user", asked), Turn("assistant", answer))]
    return Pair(PROMPT, "(A)", "(B)", system, tuple(said))


def template_of(template: str) -> Template:
    return Template("chat", tiny_tokenizer(chat=template))


def decoded(template: Template, side: CompletedTokens) -> str:
    return str(template.tokenizer.decode(list(side.ids), clean_up_tokenization_spaces=False))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", SOUND)
def test_every_turn_stands_in_order_before_the_prompt(name: str, count: int) -> None:
    shape = SOUND[name]
    pair = pair_of(count)
    if shape.forgets:
        with pytest.raises(ModelError, match=r"drops the earlier (question|answer) \d\. It writes: "):
            template_of(shape.template).sides(pair)
        return
    template = template_of(shape.template)
    alone = template.complete(PROMPT, "(A)")
    for side, answer in zip(template.sides(pair), ("(A)", "(B)"), strict=True):
        text = decoded(template, side)
        place = 0
        for turn in (*(turn.text for turn in pair.turns), PROMPT):
            assert text.count(turn) == 1
            place = text.index(turn, place) + len(turn)
        # What stands behind the prompt is what stands there without turns: the same tokens are read and steered.
        assert text[place:] == shape.ending + answer
        assert len(side.ids) - side.answer == len(alone.ids) - alone.answer
        assert len(side.ids) - side.prompt_end == len(alone.ids) - alone.prompt_end
    one, other = template.sides(pair)
    assert one.prompt_end == other.prompt_end
    assert one.ids[: one.start] == other.ids[: other.start]


@pytest.mark.parametrize("name", ["plain", "llama-2"])
def test_templates_without_a_chat_set_turns_before_the_prompt(name: str) -> None:
    template = Template(name, tiny_tokenizer())  # type: ignore[arg-type]
    text = decoded(template, template.sides(pair_of(2))[0])
    places = [text.index(said) for exchange in EXCHANGES[:2] for said in exchange]
    assert places == sorted(places)
    assert text.index(PROMPT) > places[-1]


@pytest.mark.parametrize("name", SOUND)
def test_a_pair_without_turns_is_rendered_as_before(name: str) -> None:
    template = template_of(SOUND[name].template)
    pair = pair_of(0)
    assert template.sides(pair) == (template.complete(PROMPT, "(A)"), template.complete(PROMPT, "(B)"))
    digest = template.rendering().digest
    if not SOUND[name].forgets:
        template.sides(pair_of(2))
    assert template.rendering().digest == digest


def test_a_thought_that_the_template_drops_is_named() -> None:
    pair = pair_of(1, exchanges=(("Is tea good?", "<think>Hm.</think>Yes."),))
    with pytest.raises(ModelError, match=r"does not keep the text '<think>Hm\.</think>Yes\.'"):
        template_of(SHAPES["qwen3"].template).sides(pair)
    assert template_of(SHAPES["qwen3"].template).sides(pair_of(1))


# Keeps the last four messages only.
FORGETFUL = chatml().replace("for m in messages", "for m in (messages if messages | length < 5 else messages[-4:])")


def test_a_template_that_forgets_what_is_long_ago_is_refused_where_it_forgets() -> None:
    template = template_of(FORGETFUL)
    assert template.sides(pair_of(1))
    with pytest.raises(ModelError, match=r"drops the earlier question 1\. It writes: "):
        template.sides(pair_of(2))
    # The text that is dropped stands elsewhere too, so that looking for it would not find out.
    echoed = (("Yes.", "Yes."), ("Yes.", "Yes."), ("Yes.", "Yes."))
    with pytest.raises(ModelError, match="drops the earlier question 1"):
        template.sides(pair_of(3, exchanges=echoed))


def test_a_template_that_refuses_turns_is_said() -> None:
    refusing = "{% if messages | length > 2 %}{{ raise_exception('one question only') }}{% endif %}" + chatml()
    with pytest.raises(ModelError, match="one question only"):
        template_of(refusing).sides(pair_of(1))
