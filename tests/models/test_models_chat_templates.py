"""Chat templates of many shapes: what is asked for is rendered in order, and answers stand outside thoughts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.chat_templates import SHAPES, Shape, chatml
from support.tiny_models import build, tiny_tokenizer

from caa_registry.errors import ModelError, UsageError
from caa_registry.models.loading import load
from caa_registry.models.rendering import environment
from caa_registry.models.rendering.chat import Chat
from caa_registry.models.rendering.layout import closing_of_thought
from caa_registry.models.rendering.prompts import Example, Template
from caa_registry.models.rendering.sample import sample

SYSTEM = "Be kind, Bob."
AB = 'Is tea good?\n\nChoices:\n (A) Yes, "it" is\n (B) No & no'
FREE = "Write about war."
FOLDED = "the system prompt is in the first user message"
TURNS = (Example("Is the sky blue?", "(B)"), Example("And the sea?", "I think so."))

SOUND = {name: shape for name, shape in SHAPES.items() if not shape.error}
REFUSED = {name: shape for name, shape in SHAPES.items() if shape.error}


def template_of(shape: Shape) -> Template:
    return Template("chat", tiny_tokenizer(chat=shape.template))


def text_of(template: Template, ids: tuple[int, ...]) -> str:
    return str(template.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def test_the_table_is_long_enough() -> None:
    assert len(SOUND) >= 24


@pytest.mark.parametrize("earlier", [(), TURNS], ids=["", "turns"])
@pytest.mark.parametrize("system", ["", SYSTEM], ids=["", "system"])
@pytest.mark.parametrize(("prompt", "answer", "read"), [(AB, "(A)", "A"), (FREE, "War is over.", "r")])
@pytest.mark.parametrize("name", SOUND)
def test_every_text_stands_in_order_and_the_answer_in_its_place(
    name: str, prompt: str, answer: str, read: str, system: str, earlier: tuple[Example, ...]
) -> None:
    shape = SOUND[name]
    if earlier and shape.forgets:
        with pytest.raises(ModelError, match=r"drops the .*It writes: "):
            template_of(shape).complete(prompt, answer, system, earlier)
        return
    template = template_of(shape)
    tokens = template.complete(prompt, answer, system, earlier)

    text = text_of(template, tokens.ids)
    place = 0
    for asked in (system, *(text for turn in earlier for text in turn), prompt):
        assert text.count(asked) >= 1
        place = text.index(asked, place) + len(asked)
    assert text.count(prompt) == 1
    assert text.count(system) == 1 or not system
    assert text[place:] == shape.ending + answer

    # The answer's token, and the first that is steered: the last before the answer and what a space belongs to.
    assert text_of(template, tokens.ids[: tokens.start]).rstrip(" ") == text[: -len(answer)].rstrip(" ")
    assert text_of(template, (tokens.ids[tokens.answer],)).strip(" ().").endswith(read)
    head = text_of(template, tokens.ids[: tokens.prompt_end + 1])
    assert head == text[: len(head)]
    assert head.rstrip("\n ") == text[: -len(answer)].rstrip("\n ")
    if not earlier:
        assert head == text_of(template, template.prompt(prompt, system).ids)


@pytest.mark.parametrize("name", SOUND)
def test_no_answer_stands_inside_a_thought(name: str) -> None:
    assert not closing_of_thought(SOUND[name].ending)


@pytest.mark.parametrize("name", SOUND)
def test_what_another_revision_rendered_otherwise_is_named(name: str) -> None:
    shape = SOUND[name]
    template = template_of(shape)
    assert template.rendering().differences == shape.differences
    folded = FOLDED in template.rendering(system=True).differences
    assert folded == shape.folded


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_kept_is_refused_with_what_was_rendered(name: str) -> None:
    with pytest.raises(ModelError, match=REFUSED[name].error) as raised:
        template_of(REFUSED[name]).prompt(AB, SYSTEM)
    assert raised.value.hint == "Choose the template plain or llama-2."


@pytest.mark.parametrize("name", [name for name, shape in SOUND.items() if not shape.differences])
def test_it_is_what_transformers_renders(name: str) -> None:
    shape = SOUND[name]
    tokenizer = tiny_tokenizer(chat=shape.template)
    for system in ("", SYSTEM) if not shape.folded else ("",):
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": AB})
        expected = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False, date_string="26 Jul 2024"
        )
        assert Template("chat", tokenizer).prompt(AB, system).text == expected


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([name for name, shape in SOUND.items() if not shape.forgets]),
    st.text(min_size=1).filter(lambda text: bool(text.strip())),
    st.text(),
)
def test_any_text_is_kept_or_refused(name: str, prompt: str, system: str) -> None:
    template = template_of(SOUND[name])
    try:
        text = template.prompt(prompt, system).text
    except ModelError as error:
        assert "It writes: " in error.message
        return
    assert prompt.strip() in text
    assert system.strip() in text


def test_a_dropped_question_would_be_noticed() -> None:
    """The traps that this is for: equal tokens for different questions."""
    template = template_of(SHAPES["smolvlm"])
    assert template.prompt("Is tea good?").ids != template.prompt(FREE).ids


def test_a_system_prompt_changes_what_is_read_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    template = template_of(SHAPES["user-and-assistant-only"])
    texts = {template.prompt(AB, system).text for system in ("", SYSTEM, "Be rude, Bob.")}
    assert len(texts) == 3
    assert [record.getMessage() for record in caplog.records] == [
        "The chat template has no place for a system prompt, so it is put at the start of the first user message."
    ]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles"])
def test_neither_day_nor_zone_nor_language_enters(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    form = "%A %a %B %b %c %x %X %p %s %Z %d %Y %H:%M %j %-d %%"
    shape = Shape("{% for m in messages %}{{ m.content }}{% endfor %}|{{ strftime_now('" + form + "') }}|")
    expected = (
        "|Friday Fri July Jul Fri Jul 26 00:00:00 2024 07/26/24 00:00:00 AM 1721952000 UTC 26 2024 00:00 208 26 %|"
    )
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert template_of(shape).prompt("Hi").text == "Hi" + expected
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("name", ["llama-3.1", "mistral-small", "gpt-oss", "granite", "smollm3"])
def test_dates_are_those_of_the_model_card(name: str) -> None:
    text = template_of(SHAPES[name]).prompt("Hi").text
    assert any(date in text for date in ("26 Jul 2024", "2024-07-26", "July 26, 2024", "26 July 2024"))
    assert not any(str(year) in text for year in range(2025, 2100))


def test_another_process_renders_the_same() -> None:
    program = (
        "from support.chat_templates import SHAPES; from support.tiny_models import tiny_tokenizer\n"
        "from caa_registry.models.rendering.prompts import Template\n"
        "from caa_registry.digests import digest_object\n"
        "sound = [s for s in SHAPES.values() if not s.error]\n"
        "texts = [Template('chat', tiny_tokenizer(chat=s.template)).prompt('Hi', 'Be kind.').text for s in sound]\n"
        "print(digest_object('texts', {'texts': texts}))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "TZ": zone, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for zone, seed in (("Pacific/Kiritimati", "1"), ("America/Los_Angeles", "2"))
    }
    assert len(found) == 1


@pytest.mark.parametrize(
    ("generated", "ending"),
    [
        ("<think>", "<think></think>"),
        ("<think>\n", "<think>\n\n</think>\n\n"),
        ("<thinking>\n", "<thinking>\n\n</thinking>\n\n"),
        ("<seed:think>", "<seed:think></seed:think>"),
        ("<|begin_of_thought|>\n", "<|begin_of_thought|>\n\n<|end_of_thought|>\n\n"),
        ("<|START_THINKING|>", "<|START_THINKING|><|END_THINKING|>"),
        ("◁think▷", "◁think▷◁/think▷"),
        ("<reasoning>\n", "<reasoning>\n\n</reasoning>\n\n"),
        ("<think>\n\n</think>\n\n", "<think>\n\n</think>\n\n"),
        ("<think></think><think>", "<think></think><think></think>"),
    ],
)
def test_thoughts_of_every_spelling_are_closed(generated: str, ending: str) -> None:
    text = Template("chat", tiny_tokenizer(chat=chatml(generated))).prompt("Hi").text
    assert text.endswith("<|im_start|>assistant\n" + ending)


def test_a_template_with_several_texts_needs_a_default() -> None:
    tokenizer = tiny_tokenizer(chat=chatml())
    tokenizer.chat_template = {"default": chatml(), "tool_use": "no"}
    assert Template("chat", tokenizer).prompt("Hi").text.startswith("<|im_start|>user")
    tokenizer.chat_template = {"rag": chatml(), "tool_use": "no"}
    with pytest.raises(ModelError, match="several chat templates and no default one: rag, tool_use"):
        Template("chat", tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(UsageError, match="this model has no chat template"):
        Template("chat", tokenizer)


def test_a_template_that_is_code_is_no_plain_text(tmp_path: Path) -> None:
    folder = build(tmp_path / "m")
    edit = folder / "tokenizer_config.json"
    edit.write_text(edit.read_text().replace("{", '{"chat_template_type": "deepseek_v32",', 1))
    model = load(folder)
    assert model.default_template == "chat"
    with pytest.raises(ModelError, match=r"written by code of mlx-lm \(deepseek_v32\), not by a chat template"):
        model.template()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("chat_template.json", '{"chat_template": TEXT}'),
        ("chat_template.json", '{"chat_template": [{"name": "default", "template": TEXT}]}'),
        ("processor_config.json", '{"chat_template": TEXT}'),
        ("chat_template.jinja", None),
        ("additional_chat_templates/default.jinja", None),
    ],
)
def test_every_place_of_a_template_is_read(tmp_path: Path, name: str, content: str | None) -> None:
    import json

    folder = build(tmp_path / "m")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(chatml() if content is None else content.replace("TEXT", json.dumps(chatml())))
    model = load(folder)
    assert model.default_template == "chat"
    assert model.template().prompt("Hi").text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert (
        model.info.fingerprint.chat_template
        == load(build(tmp_path / "n", chat=chatml())).info.fingerprint.chat_template
    )


@pytest.mark.parametrize("content", ["{", "[3]", '{"chat_template": 3}', "\udcff"])
def test_a_template_file_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    folder = build(tmp_path / "m")
    (folder / "chat_template.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError, match=r"chat_template\.json"):
        load(folder)


def test_the_sample_marks_what_is_read_and_what_is_steered_first() -> None:
    shown = sample(template_of(SHAPES["smolvlm"]))
    assert "".join(token.text for token in shown.tokens) == (
        "<|im_start|>System: Be brief.<end_of_utterance>\nUser: Is tea good?\n\nChoices:\n (A) Yes\n (B) No"
        "<end_of_utterance>\nAssistant: (A)"
    )
    assert shown.tokens[shown.read].text.strip("( )") == "A"
    assert shown.tokens[shown.first_steered].text.endswith(":")
    assert not shown.folded
    assert shown.parts == ("assistant", "system", "user")


def test_chance_has_no_place_in_a_template() -> None:
    for text in ("{{ messages | random }}", "{{ lipsum() }}"):
        with pytest.raises(ModelError):
            Chat(tiny_tokenizer(chat=text + "{% for m in messages %}{{ m.content }}{% endfor %}")).layout()


def test_a_template_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before: Any = environment.compiled.cache_info()
    for _ in range(3):
        template_of(SHAPES["zephyr"]).prompt("Hi")
    assert environment.compiled.cache_info().misses <= before.misses + 1
