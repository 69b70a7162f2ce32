"""Templates: the texts, the special tokens, and the places of the prompt's end, the completion and its answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny_models import CHAT, tiny_tokenizer

from caa_registry.errors import InputError, UsageError
from caa_registry.models.rendering.prompts import CompletedTokens, Template

QUESTION = "Would you like a donut now?\n\nChoices:\n (A) Yes\n (B) No"
BOS, EOS = 0, 1


def chat_of(between: str, before: str = "<s>", after: str = "</s>") -> str:
    """A chat template with ``between`` after its generation prompt, as templates of the older kind have it."""
    return (
        f"{{{{ '{before}' }}}}{{% for m in messages %}}{{% if m['role'] == 'assistant' %}}"
        f"{{{{ ':{between}' + m['content'] | trim + '{after}' }}}}"
        f"{{% else %}}{{{{ 'Q ' + m['content'] + ' Bot' }}}}{{% endif %}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{{{{ ':' }}}}{{% endif %}}"
    )


def decoded(tokenizer: Any, ids: tuple[int, ...]) -> str:
    return str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def answer_text(tokenizer: Any, tokens: CompletedTokens) -> str:
    return decoded(tokenizer, (tokens.ids[tokens.answer],))


@pytest.mark.parametrize("adds_bos", [False, True])
def test_a_chat_template_with_a_start_token_gives_exactly_one(adds_bos: bool) -> None:
    template = Template("chat", tiny_tokenizer(chat=CHAT, adds_bos=adds_bos))
    for ids in (
        template.prompt("Is it?").ids,
        template.prompt("Is it?", "Be kind.").ids,
        template.complete("Is it?", "(A)").ids,
        template.complete("Is it?", "(A)", "Be kind.").ids,
    ):
        assert ids[0] == BOS
        assert ids.count(BOS) == 1


def test_a_chat_template_without_a_start_token_gives_none() -> None:
    template = Template("chat", tiny_tokenizer(chat=CHAT.replace("{{ bos_token }}", ""), adds_bos=True, adds_eos=True))
    for ids in (template.prompt("Is it?").ids, template.complete("Is it?", "(A)").ids):
        assert BOS not in ids


@pytest.mark.parametrize("name", ["plain", "llama-2"])
def test_other_templates_get_the_start_token_from_the_tokenizer(name: Any) -> None:
    adding, bare = Template(name, tiny_tokenizer(adds_bos=True)), Template(name, tiny_tokenizer())
    assert adding.prompt("Is it?").ids == (BOS, *bare.prompt("Is it?").ids)
    assert adding.complete("Is it?", "(A)").ids == (BOS, *bare.complete("Is it?", "(A)").ids)
    assert BOS not in bare.prompt("Is it?").ids


@pytest.mark.parametrize("whole", [False, True])
def test_a_text_that_brings_its_own_start_token_gets_no_second(whole: bool) -> None:
    template = Template("plain", tiny_tokenizer(adds_bos=True))
    tokens = template.complete("", "<s>I agree.") if whole else template.complete("<s>Do you?", "Yes")
    assert tokens.ids.count(BOS) == 1
    assert template.prompt("<s>Do you?").ids.count(BOS) == 1


def test_llama_2_is_the_format_of_the_paper() -> None:
    tokenizer = tiny_tokenizer(adds_bos=True)
    template = Template("llama-2", tokenizer)
    assert template.prompt(f"  {QUESTION}\n").text == f"[INST] {QUESTION} [/INST]"
    assert decoded(tokenizer, template.complete(QUESTION, " (A) ").ids) == f"<s>[INST] {QUESTION} [/INST] (A)"
    assert template.prompt("q", "Be kind.").text == "<<SYS>>\nBe kind.\n<</SYS>>\n\n[INST] q [/INST]"
    assert (
        decoded(tokenizer, template.complete("q", "(B)", "Be kind.").ids)
        == "<s><<SYS>>\nBe kind.\n<</SYS>>\n\n[INST] q [/INST] (B)"
    )


def test_llama_2_prompt_end_is_the_last_token_of_the_closing_mark() -> None:
    tokenizer = tiny_tokenizer(adds_bos=True)
    tokens = Template("llama-2", tokenizer).complete(QUESTION, "(A)")
    assert decoded(tokenizer, tokens.ids[: tokens.prompt_end + 1]).endswith("[/INST]")
    assert decoded(tokenizer, tokens.ids[tokens.start :]).strip() == "(A)"


@pytest.mark.parametrize("merges", [(), ("(A",), ("A)",), ("(A)",), (" (A",)])
@pytest.mark.parametrize(("adds_bos", "adds_eos"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("name", ["chat", "plain", "llama-2"])
def test_the_answer_is_the_token_with_the_letter(
    name: Any, adds_bos: bool, adds_eos: bool, merges: tuple[str, ...]
) -> None:
    tokenizer = tiny_tokenizer(chat=CHAT, adds_bos=adds_bos, adds_eos=adds_eos, merges=merges)
    tokens = Template(name, tokenizer).complete("(A) or (B)?", "(A)")
    assert "A" in answer_text(tokenizer, tokens)
    assert tokens.start <= tokens.answer < len(tokens.ids)
    assert tokens.answer >= len(tokens.ids) - 3
    assert tokens.ids[-1] != EOS
    assert decoded(tokenizer, tokens.ids).endswith("(A)")


@pytest.mark.parametrize(
    ("completion", "letter"),
    [
        ("(B)", "B"),
        ("Yes", "s"),
        ("No.", "o"),
        ("Definitely not!!", "t"),
        ("Ja, größer", "r"),
        ("42)", "2"),
        ("?", "?"),
    ],
)
@pytest.mark.parametrize("name", ["chat", "plain", "llama-2"])
def test_the_answer_is_the_last_letter_or_digit(name: Any, completion: str, letter: str) -> None:
    tokenizer = tiny_tokenizer(chat=CHAT)
    tokens = Template(name, tokenizer).complete("Is it?", completion)
    assert answer_text(tokenizer, tokens).strip().endswith(letter)


def test_yes_in_several_tokens_is_read_at_its_last() -> None:
    tokenizer = tiny_tokenizer(chat=CHAT)
    tokens = Template("chat", tokenizer).complete("Is it?", "Yessir")
    assert tokens.answer == len(tokens.ids) - 1 > tokens.start


@pytest.mark.parametrize("between", ["", " ", "\\n"])
@pytest.mark.parametrize("after", ["", "</s>", "</s>\\n"])
def test_what_a_template_puts_before_an_answer_is_found(between: str, after: str) -> None:
    tokenizer = tiny_tokenizer(chat=chat_of(between, after=after))
    template = Template("chat", tokenizer)
    tokens = template.complete("Is it?", "  (A)\n")
    gap = between.replace("\\n", "\n")
    assert decoded(tokenizer, tokens.ids) == f"<s>Q Is it? Bot:{gap}(A)"
    assert decoded(tokenizer, tokens.ids[: tokens.prompt_end + 1]) == "<s>Q Is it? Bot:"


def test_a_generation_prompt_that_the_conversation_does_not_repeat_joins_with_nothing() -> None:
    """Such as one that closes an empty thought first."""
    chat = CHAT.replace("<|assistant|>\n{% endif", "<|assistant|>\n<think>\n\n</think>\n\n{% endif")
    tokenizer = tiny_tokenizer(chat=chat)
    tokens = Template("chat", tokenizer).complete("Is it?", "(A)")
    assert decoded(tokenizer, tokens.ids).endswith("</think>\n\n(A)")


def test_thinking_is_switched_off() -> None:
    chat = CHAT.replace("<|assistant|>\n{% endif", "<|assistant|>\n{% if enable_thinking %}<think>{% endif %}{% endif")
    assert "<think>" not in Template("chat", tiny_tokenizer(chat=chat)).prompt("Is it?").text


def test_a_template_that_takes_no_answers_still_renders_prompts() -> None:
    chat = "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ raise_exception('no') }}{% endif %}"
    chat += "{{ m['content'] }}{% endfor %}:"
    template = Template("chat", tiny_tokenizer(chat=chat))
    assert template.prompt("Is it?").text == "Is it?:"
    assert template.complete("Is it?", "(A)").ids


def test_a_template_that_refuses_a_system_prompt_gets_it_in_the_user_message() -> None:
    chat = "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    chat += "{{ m['content'] }}{% endfor %}"
    template = Template("chat", tiny_tokenizer(chat=chat))
    assert template.prompt("Is it?", "Be kind.").text == "Be kind.\n\nIs it?"


@pytest.mark.parametrize("adds_bos", [False, True])
@pytest.mark.parametrize("name", ["chat", "plain", "llama-2"])
def test_a_whole_text_is_never_put_in_a_conversation(name: Any, adds_bos: bool) -> None:
    tokenizer = tiny_tokenizer(chat=CHAT, adds_bos=adds_bos)
    tokens = Template(name, tokenizer).complete(" \n", "I agree with you.")
    assert decoded(tokenizer, tokens.ids) == ("<s>" if adds_bos else "") + "I agree with you."
    assert tokens.start == (1 if adds_bos else 0)
    assert tokens.prompt_end == 0
    with_system = Template(name, tokenizer).complete("", "I agree.", "Be kind.")
    assert decoded(tokenizer, with_system.ids).endswith("Be kind.\n\nI agree.")


@pytest.mark.parametrize(
    ("prompt", "completion", "text"),
    [
        ("Is it?", "Yes", "Is it? Yes"),
        ("Is it? ", "Yes", "Is it? Yes"),
        ("Is it?\n", "Yes", "Is it?\nYes"),
        ("Is it?", " Yes", "Is it? Yes"),
        ("Is it?", "\nYes", "Is it?\nYes"),
    ],
)
def test_plain_sets_one_space_where_there_is_none(prompt: str, completion: str, text: str) -> None:
    tokenizer = tiny_tokenizer()
    assert decoded(tokenizer, Template("plain", tokenizer).complete(prompt, completion).ids) == text


@pytest.mark.parametrize("name", ["chat", "plain", "llama-2"])
def test_an_empty_prompt_is_refused(name: Any) -> None:
    with pytest.raises(UsageError, match="empty"):
        Template(name, tiny_tokenizer(chat=CHAT)).prompt(" \n\t")


def test_templates_that_are_not_there_are_refused() -> None:
    with pytest.raises(UsageError, match="no chat template"):
        Template("chat", tiny_tokenizer())
    with pytest.raises(UsageError, match="there is no template"):
        Template("alpaca", tiny_tokenizer())  # type: ignore[arg-type]


def test_a_completion_without_a_token_is_refused_not_guessed() -> None:
    """A vocabulary of letters alone drops what it does not know."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE({"I": 0, "s": 1, "i": 2, "t": 3, "?": 4, "y": 5, "e": 6}, []))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    template = Template("plain", PreTrainedTokenizerFast(tokenizer_object=words))
    assert template.complete("Is it?", "yes").answer == 7
    with pytest.raises(InputError, match="no token"):
        template.complete("Is it?", "漢")
    with pytest.raises(UsageError, match="no token"):
        template.prompt("漢")
    # Only the last letter is unknown: the one before it answers.
    assert template.complete("Is it?", "yes漢").answer == 7


def test_the_digest_follows_the_text_of_the_template() -> None:
    one, other = tiny_tokenizer(chat=CHAT), tiny_tokenizer(chat=CHAT + "{# new #}")
    digests = {Template("chat", one).rendering().digest, Template("chat", other).rendering().digest}
    digests |= {Template("plain", one).rendering().digest, Template("llama-2", one).rendering().digest}
    assert len(digests) == 4
    assert Template("chat", tiny_tokenizer(chat=CHAT)).rendering().digest in digests
    assert Template("plain", other).rendering().digest == Template("plain", one).rendering().digest


def test_a_named_set_of_templates_uses_its_default() -> None:
    tokenizer = tiny_tokenizer(chat=CHAT)
    digest = Template("chat", tokenizer).rendering().digest
    tokenizer.chat_template = {"default": CHAT, "tool_use": "x"}
    assert Template("chat", tokenizer).rendering().digest == digest
    assert Template("chat", tokenizer).prompt("Is it?").text.startswith("<s><|user|>")


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)
TOKENIZERS = {
    "chat": tiny_tokenizer(chat=CHAT, adds_bos=True),
    "plain": tiny_tokenizer(adds_bos=True),
    "llama-2": tiny_tokenizer(adds_bos=True),
}


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(["chat", "plain", "llama-2"]),
    prompt=TEXT.filter(str.strip),
    completion=TEXT.filter(str.strip),
    system=TEXT,
)
def test_any_prompt_and_completion(name: Any, prompt: str, completion: str, system: str) -> None:
    tokenizer = TOKENIZERS[name]
    template = Template(name, tokenizer)
    head, whole = template.prompt(prompt, system), template.complete(prompt, completion, system)
    text = decoded(tokenizer, whole.ids)
    start = "<s>" if name != "chat" else ""
    # What is completed is the prompt, rendered alike, and then the completion.
    assert text.startswith(start + head.text)
    assert text.endswith(completion if name == "plain" else completion.strip())
    # Byte-level tokens never reach over the end of the rendered prompt by more than one token.
    assert head.end - 1 <= whole.prompt_end <= head.end
    assert whole.ids[: whole.prompt_end] == head.ids[: whole.prompt_end]
    assert whole.prompt_end < whole.start <= whole.answer < len(whole.ids)
    covered = decoded(tokenizer, whole.ids[whole.start :])
    assert completion.strip() in covered
    # Not earlier than it must: the token before the completion's first holds none of it.
    assert len(decoded(tokenizer, whole.ids[: whole.start])) <= len(start + head.text) + 1
