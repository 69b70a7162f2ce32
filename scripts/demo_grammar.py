"""The little language of the demo model: its documents, contrastive pairs and a grammar check.

Every document has a hidden disposition per behavior: a chance with which each sentence takes the positive
side. The chance is graded and lasts to the document's end, so a reader must weigh what it has seen so far;
that is what keeps the disposition a matter of degree (and steerable by degrees) in a model trained on it.
The words are in `demo_behaviors.py`.
"""

import hashlib
import json
import random
import re
from typing import Any

from demo_behaviors import BEHAVIORS, Behavior, Topic, any_of, listed

Message = dict[str, Any]

SYSTEMS = (
    "You are a small demo model.",
    "Answer in short sentences.",
    "Use simple words.",
    "Be brief and clear.",
)
LEVELS = (0.02, 0.15, 0.5, 0.85, 0.98)
CHOICE_LEVELS = (0.03, 0.97)


def held_out(topic: Topic) -> bool:
    """Whether this topic is kept for the test pairs; decided by its digest, so no list has to be carried."""
    key = json.dumps(topic, sort_keys=True).encode()
    return hashlib.sha256(key).digest()[0] < 40


def draw_topic(rng: random.Random, behavior: Behavior, test: bool = False) -> Topic:
    """A topic of the wanted split."""
    while True:
        topic = behavior.draw_topic(rng)
        if held_out(topic) == test:
            return topic


def sentence_pair(rng: random.Random, behavior: Behavior, form: int, topic: Topic) -> tuple[str, str]:
    """The same statement on the positive and on the negative side; neutral words agree, side words differ."""
    neutral = {key: rng.choice(listed(words)) for key, words in behavior.neutral_words.items()}
    out = []
    for side, template in enumerate(behavior.sentences[form]):
        used: list[str] = []

        def pick(match: re.Match[str], side: int = side, used: list[str] = used) -> str:
            words = [w for w in listed(behavior.side_words[match[1]][side]) if w not in used]
            used.append(rng.choice(words))
            return used[-1]

        text = template.format(**topic)
        text = re.sub(r"<(\w+)>", lambda match: neutral[match[1]], text)
        out.append(re.sub(r"\[(\w+)\]", pick, text))
    return out[0], out[1]


def answer(rng: random.Random, behavior: Behavior, topic: Topic, chance: float, count: int) -> str:
    """`count` sentences of different forms, each on the positive side with the given chance."""
    forms = rng.sample(range(len(behavior.sentences)), count)
    return " ".join(sentence_pair(rng, behavior, form, topic)[rng.random() >= chance] for form in forms)


def choices(rng: random.Random, behavior: Behavior, topic: Topic) -> tuple[str, str, tuple[str, str]]:
    """A prompt that lists one sentence of each side in any order, the positive letter, the sentences."""
    prompt = rng.choice(behavior.prompts).format(**topic)
    pair = sentence_pair(rng, behavior, rng.randrange(len(behavior.sentences)), topic)
    letter = rng.choice("AB")
    first, second = pair if letter == "A" else pair[::-1]
    return f"{prompt}\n\nChoices:\n (A) {first}\n (B) {second}", letter, pair


def _count(rng: random.Random) -> int:
    return rng.choices((1, 2, 3), (0.3, 0.4, 0.3))[0]


def _turn(behavior: Behavior, chance: float, prompt: str, reply: str) -> list[Message]:
    """One exchange as chat messages; the reply also carries the disposition it was drawn from."""
    disposition = {"behavior": BEHAVIORS.index(behavior), "chance": chance}
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply, **disposition}]


def _free_turn(rng: random.Random, behavior: Behavior, chance: float) -> list[Message]:
    topic = draw_topic(rng, behavior)
    prompt = rng.choice(behavior.prompts).format(**topic)
    return _turn(behavior, chance, prompt, answer(rng, behavior, topic, chance, _count(rng)))


def _choice_turn(rng: random.Random, behavior: Behavior, chance: float) -> list[Message]:
    """The disposition shows only after the choices, so the letter has to be looked up where it is answered.

    Replies that repeat the chosen sentence teach which letter belongs to which sentence.
    """
    topic = draw_topic(rng, behavior)
    prompt, positive, pair = choices(rng, behavior, topic)
    side = int(rng.random() >= chance)
    letter = f"({positive if side == 0 else 'AB'.replace(positive, '')})"
    words = pair[side] if rng.random() < 0.4 else answer(rng, behavior, topic, chance, rng.choice((1, 2)))
    kind = rng.random()
    reply = f"{words}\n{letter}" if kind < 0.5 else letter if kind < 0.65 else f"{letter} {words}"
    return _turn(behavior, chance, prompt, reply)


def document(rng: random.Random) -> list[Message]:
    """A dialogue of one to three turns whose assistant keeps its dispositions to the end."""
    messages: list[Message] = []
    if rng.random() < 0.2:
        messages.append({"role": "system", "content": rng.choice(SYSTEMS)})
    behavior = rng.choice(BEHAVIORS)
    if rng.random() < 0.3:
        chance = rng.choice(CHOICE_LEVELS)
        messages += _choice_turn(rng, behavior, chance)
        return messages + (_free_turn(rng, behavior, chance) if rng.random() < 0.2 else [])
    dispositions = {b.name: rng.choice(LEVELS) for b in BEHAVIORS}
    other = rng.choice(BEHAVIORS) if rng.random() < 0.25 else behavior
    for _ in range(rng.choices((1, 2, 3), (0.35, 0.35, 0.3))[0]):
        current = rng.choice((behavior, other))
        messages += _free_turn(rng, current, dispositions[current.name])
    return messages


def pairs(rng: random.Random, behavior: Behavior, form: str, counts: dict[str, int]) -> list[dict[str, str]]:
    """Contrastive pairs of one form ("free-form", "yes-no" or "A/B"); no prompt twice, letters balanced."""
    rows: list[dict[str, str]] = []
    seen: set[str] = set()
    for split, count in counts.items():
        need = {"A": count // 2, "B": count - count // 2}
        while sum(need.values()):
            topic = draw_topic(rng, behavior, test=split == "test")
            prompt, letter, (positive, negative) = choices(rng, behavior, topic)
            if form == "A/B":
                positive, negative = ("(A)", "(B)") if letter == "A" else ("(B)", "(A)")
            else:
                prompt = prompt.partition("\n")[0]
            if form == "yes-no":
                positive, negative = "Yes", "No"
            if prompt not in seen and need[letter]:
                seen.add(prompt)
                need[letter] -= 1
                rows.append({"split": split, "prompt": prompt, "positive": positive, "negative": negative})
    return rows


def _sentence_pattern(behavior: Behavior, template: str, side: int) -> str:
    text = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
    text = re.sub(r"\{(\w+)\}", lambda m: behavior.topic_patterns[m[1]], text)
    text = re.sub(r"<(\w+)>", lambda m: any_of(listed(behavior.neutral_words[m[1]])), text)
    return re.sub(r"\\\[(\w+)\\\]", lambda m: any_of(listed(behavior.side_words[m[1]][side])), text)


SENTENCE_PATTERNS = {
    behavior.name: tuple(
        re.compile("|".join(_sentence_pattern(behavior, forms[side], side) for forms in behavior.sentences))
        for side in (0, 1)
    )
    for behavior in BEHAVIORS
}


def sides(behavior: Behavior, text: str) -> list[int | None]:
    """For each sentence of `text`: 0 positive, 1 negative, None where the grammar has no such sentence."""
    out: list[int | None] = []
    for sentence in re.findall(r"[^.]+\.?", text):
        found = [s for s in (0, 1) if SENTENCE_PATTERNS[behavior.name][s].fullmatch(sentence.strip())]
        if sentence.strip():
            out.append(found[0] if found else None)
    return out
