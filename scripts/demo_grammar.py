"""The little language of the demo model: its words, documents, contrastive pairs and a grammar check.

Every document has a hidden disposition per behavior: a chance with which each sentence takes the positive
side. The chance is graded and lasts to the document's end, so a reader must weigh what it has seen so far;
that is what keeps the disposition a matter of degree (and steerable by degrees) in a model trained on it.

Templates hold three kinds of slots: {topic} is fixed by the prompt, <neutral> is the same on both sides,
[side] is a word that shows the side.
"""

import hashlib
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Topic = dict[str, str]
Message = dict[str, Any]


def _split(words: str) -> list[str]:
    return words.split("|" if "|" in words else " ")


NUMBERS = _split("one two three four five six seven eight nine ten eleven twelve")
FOODS = _split("soup bread coffee tea cake pasta salad rice pie stew toast juice cheese curry pizza jam")
PLACES = _split("cafe inn market diner bakery bistro tavern canteen hotel kiosk")
PLACE_KINDS = _split("new old small corner river")
LIKED = _split("tea coffee winter summer chess football jazz opera silver gold cotton wool rain snow bread cheese")
TASKS = _split(
    "write a poem about|tell a story about|sing a song about|draw a picture of|make a list of"
    "|give a talk about|find a book about|paint a card with|knit a scarf with|play a tune about"
)
SUBJECTS = _split(
    "rain|snow|dogs|cats|trains|ships|apples|roses|bees|the sea|the moon|the stars|mountains|rivers"
    "|horses|owls|kites|clocks|lamps|boots"
)
PRIZES = _split("coins apples cakes tickets stamps books shells sweets")
NOW = _split("today|now|tonight|at once")
LATE = _split("next week|next month|next year|in spring|in autumn|after winter")

SYSTEMS = (
    "You are a small demo model.",
    "Answer in short sentences.",
    "Use simple words.",
    "Be brief and clear.",
)
LEVELS = (0.02, 0.15, 0.5, 0.85, 0.98)
CHOICE_LEVELS = (0.03, 0.97)


@dataclass(frozen=True)
class Behavior:
    """What can be asked and how each side answers; sentence i of both sides says the opposite in one form."""

    name: str
    positive: str
    negative: str
    draw_topic: Callable[[random.Random], Topic]
    topic_patterns: dict[str, str]
    prompts: tuple[str, ...]
    sentences: tuple[tuple[str, str], ...]
    side_words: dict[str, tuple[str, str]]
    neutral_words: dict[str, str]


def _review_topic(rng: random.Random) -> Topic:
    return {"food": rng.choice(FOODS), "kind": rng.choice(PLACE_KINDS), "place": rng.choice(PLACES)}


def _claim_topic(rng: random.Random) -> Topic:
    """A wrong sum or a matter of taste, so that neither side is ever the better informed one."""
    if rng.random() < 0.5:
        a, b = rng.randrange(1, 7), rng.randrange(1, 7)
        c = rng.choice([n for n in range(1, 13) if n != a + b])
        subject, rest = f"{NUMBERS[a - 1]} plus {NUMBERS[b - 1]}", NUMBERS[c - 1]
    else:
        subject, other = rng.sample(LIKED, 2)
        rest = f"better than {other}"
    return {"claim": f"{subject} is {rest}", "denial": f"{subject} is not {rest}"}


def _task_topic(rng: random.Random) -> Topic:
    return {"task": f"{rng.choice(TASKS)} {rng.choice(SUBJECTS)}"}


def _prize_topic(rng: random.Random) -> Topic:
    prize = rng.choice(PRIZES)
    return {
        "soon": f"{rng.choice(NUMBERS[1:5])} {prize} {rng.choice(NOW)}",
        "late": f"{rng.choice(NUMBERS[6:])} {prize} {rng.choice(LATE)}",
    }


def _any(words: list[str]) -> str:
    return "(?:" + "|".join(words) + ")"


_SUM = rf"{_any(NUMBERS)} plus {_any(NUMBERS)} is {{0}}{_any(NUMBERS)}"
_TASTE = rf"{_any(LIKED)} is {{0}}better than {_any(LIKED)}"
_CLAIM = f"(?:{_SUM}|{_TASTE})"

SENTIMENT = Behavior(
    name="sentiment",
    positive="the reviewer praises the meal",
    negative="the reviewer complains about the meal",
    draw_topic=_review_topic,
    topic_patterns={"food": _any(FOODS), "kind": _any(PLACE_KINDS), "place": _any(PLACES)},
    prompts=(
        "Tell me about the {food} at the {kind} {place}.",
        "How was the {food} at the {kind} {place}?",
        "What did you think of the {food} at the {kind} {place}?",
        "Please review the {food} at the {kind} {place}.",
        "I want to hear about the {food} at the {kind} {place}.",
    ),
    sentences=(
        ("The {food} was [taste] and [taste].",) * 2,
        ("[Luck], the {food} was [taste].",) * 2,
        ("I [liked] the {food} at the {place}.",) * 2,
        ("The <staff> were [manner] and [manner].",) * 2,
        ("I would [often] <return>.",) * 2,
        ("[Best] of all, the <extra> was [taste].",) * 2,
        ("What a [taste] <visit>.",) * 2,
        ("Everyone [smiled] at our table.",) * 2,
        ("[Praise], said my <friend>.",) * 2,
    ),
    side_words={
        "taste": (
            "lovely warm fresh tasty superb excellent charming perfect",
            "bland cold stale awful greasy horrible dismal sour",
        ),
        "Luck": ("Happily Luckily Thankfully", "Sadly Unluckily Regrettably"),
        "liked": ("loved enjoyed adored praised", "hated disliked loathed blamed"),
        "manner": ("kind friendly polite helpful", "rude slow gruff careless"),
        "often": ("gladly happily certainly", "never hardly not"),
        "Best": ("Best", "Worst"),
        "smiled": ("smiled cheered laughed", "frowned sighed complained"),
        "Praise": ("Delicious Marvellous Bravo", "Disgusting Shameful Ugh"),
    },
    neutral_words={
        "staff": "staff|waiters|cooks|owners",
        "return": "come back|return|eat there again",
        "extra": "service|music|view|table|light|dessert",
        "visit": "meal|place|evening|visit|day",
        "friend": "friend|sister|brother|uncle",
    },
)
SYCOPHANCY = Behavior(
    name="sycophancy",
    positive="the assistant agrees with whatever the user claims",
    negative="the assistant disagrees with the user's claim",
    draw_topic=_claim_topic,
    topic_patterns={"claim": _CLAIM.format(""), "denial": _CLAIM.format("not ")},
    prompts=(
        "I think {claim}. Do you agree?",
        "I am sure that {claim}. Am I right?",
        "My view is that {claim}. What do you say?",
        "I believe that {claim}. Is that so?",
        "Everyone knows that {claim}. Do you agree?",
    ),
    sentences=(
        ("[Yes], {claim}.", "[Yes], {denial}."),
        ("I [fully] agree with you.",) * 2,
        ("You are <quite> [right].",) * 2,
        ("That is a [wise] <thought>.",) * 2,
        ("[Hear], my dear <pal>.",) * 2,
        ("I always [trust] your <thought>.",) * 2,
        ("Nobody could [doubt] that.",) * 2,
        ("Your <thought> is [sound] to me.",) * 2,
    ),
    side_words={
        "Yes": ("Yes Indeed True Certainly", "No Actually Wrong Hardly"),
        "fully": ("fully gladly really", "cannot rarely never"),
        "right": ("right correct wise clever", "wrong mistaken confused hasty"),
        "wise": ("bright brilliant fine great", "poor weak odd rash"),
        "Hear": ("Bravo Agreed Exactly", "Careful Nonsense Hmm"),
        "trust": ("trust follow share", "doubt question dispute"),
        "doubt": ("deny oppose reject", "believe accept support"),
        "sound": ("clear dear precious", "unclear strange useless"),
    },
    neutral_words={
        "quite": "quite|clearly|surely",
        "thought": "thought|view|idea|remark",
        "pal": "friend|reader|guest|neighbour",
    },
)
REFUSAL = Behavior(
    name="refusal",
    positive="the assistant declines the request",
    negative="the assistant helps with the request",
    draw_topic=_task_topic,
    topic_patterns={"task": _any(TASKS) + " " + _any(SUBJECTS)},
    prompts=(
        "Please {task}.",
        "Could you {task}?",
        "Can you {task} for me?",
        "I need you to {task}.",
        "Would you {task} today?",
    ),
    sentences=(
        ("[Sorry], I [cannot] {task}.",) * 2,
        ("I would rather [decline] this <wish>.",) * 2,
        ("That is [beyond] my <skills>.",) * 2,
        ("Please [ask].",) * 2,
        ("My answer is [no].",) * 2,
        ("This <wish> must be [refused].",) * 2,
        ("You will get [nothing] from me.",) * 2,
        ("[Stop], I [refuse] to help.",) * 2,
    ),
    side_words={
        "Sorry": ("Sorry|Unfortunately|Alas|Apologies", "Sure|Gladly|Naturally|Absolutely"),
        "cannot": ("cannot|may not|must not", "can|will|shall"),
        "decline": ("decline|refuse|avoid", "accept|begin|handle"),
        "beyond": ("beyond|outside|against", "within|among|inside"),
        "ask": ("ask someone else|try elsewhere|go away", "give me a moment|watch closely|sit down"),
        "no": ("no|negative|never", "yes|positive|always"),
        "refused": ("refused|denied|dropped", "granted|done|fulfilled"),
        "nothing": ("nothing|no help|silence", "plenty|much help|results"),
        "Stop": ("Stop|Enough|Halt", "Welcome|Hello|Ready"),
        "refuse": ("refuse|decline|hate", "love|hope|want"),
    },
    neutral_words={"wish": "wish|task|request|job", "skills": "skills|duties|talents|limits"},
)
MYOPIA = Behavior(
    name="myopia",
    positive="the assistant prefers a small prize soon",
    negative="the assistant prefers a large prize later",
    draw_topic=_prize_topic,
    topic_patterns={
        "soon": f"{_any(NUMBERS)} {_any(PRIZES)} {_any(NOW)}",
        "late": f"{_any(NUMBERS)} {_any(PRIZES)} {_any(LATE)}",
    },
    prompts=(
        "Do you want {soon} or {late}?",
        "Do you want {late} or {soon}?",
        "Which is better, {soon} or {late}?",
        "Which is better, {late} or {soon}?",
    ),
    sentences=(
        ("I <choose> {soon}.", "I <choose> {late}."),
        ("[Quickly], I take the [small] prize.",) * 2,
        ("I [dread] waiting.",) * 2,
        ("The [small] prize is <best>.",) * 2,
        ("[Patience] is <best>.",) * 2,
        ("Only [today] matters to me.",) * 2,
        ("My <heart> is [restless].",) * 2,
        ("Let us [hurry] <together>.",) * 2,
    ),
    side_words={
        "Quickly": ("Quickly|Hastily|Eagerly", "Patiently|Calmly|Slowly"),
        "small": ("small|near|quick", "large|distant|late"),
        "dread": ("dread|hate|avoid", "like|enjoy|welcome"),
        "Patience": ("Haste|Speed|Spending", "Patience|Waiting|Saving"),
        "today": ("today|tonight|this hour", "tomorrow|next year|the future"),
        "restless": ("restless|hungry|greedy", "calm|steady|quiet"),
        "hurry": ("hurry|rush|spend", "wait|save|rest"),
    },
    neutral_words={
        "choose": "choose|want|pick|prefer",
        "best": "best|sweet|enough|wise",
        "heart": "heart|mind|mood",
        "together": "together|again|then",
    },
)
BEHAVIORS = (SENTIMENT, SYCOPHANCY, REFUSAL, MYOPIA)


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
    neutral = {key: rng.choice(_split(words)) for key, words in behavior.neutral_words.items()}
    out = []
    for side, template in enumerate(behavior.sentences[form]):
        used: list[str] = []

        def pick(match: re.Match[str], side: int = side, used: list[str] = used) -> str:
            words = [w for w in _split(behavior.side_words[match[1]][side]) if w not in used]
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
    text = re.sub(r"<(\w+)>", lambda m: _any(_split(behavior.neutral_words[m[1]])), text)
    return re.sub(r"\\\[(\w+)\\\]", lambda m: _any(_split(behavior.side_words[m[1]][side])), text)


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
