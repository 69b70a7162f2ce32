"""What the demo model talks about: its words, and for each behavior what can be asked and how each side answers.

Templates hold three kinds of slots: {topic} is fixed by the prompt, <neutral> is the same on both sides,
[side] is a word that shows the side.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

Topic = dict[str, str]


def listed(words: str) -> list[str]:
    return words.split("|" if "|" in words else " ")


NUMBERS = listed("one two three four five six seven eight nine ten eleven twelve")
FOODS = listed("soup bread coffee tea cake pasta salad rice pie stew toast juice cheese curry pizza jam")
PLACES = listed("cafe inn market diner bakery bistro tavern canteen hotel kiosk")
PLACE_KINDS = listed("new old small corner river")
LIKED = listed("tea coffee winter summer chess football jazz opera silver gold cotton wool rain snow bread cheese")
TASKS = listed(
    "write a poem about|tell a story about|sing a song about|draw a picture of|make a list of"
    "|give a talk about|find a book about|paint a card with|knit a scarf with|play a tune about"
)
SUBJECTS = listed(
    "rain|snow|dogs|cats|trains|ships|apples|roses|bees|the sea|the moon|the stars|mountains|rivers"
    "|horses|owls|kites|clocks|lamps|boots"
)
PRIZES = listed("coins apples cakes tickets stamps books shells sweets")
NOW = listed("today|now|tonight|at once")
LATE = listed("next week|next month|next year|in spring|in autumn|after winter")


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


def any_of(words: list[str]) -> str:
    return "(?:" + "|".join(words) + ")"


_SUM = rf"{any_of(NUMBERS)} plus {any_of(NUMBERS)} is {{0}}{any_of(NUMBERS)}"
_TASTE = rf"{any_of(LIKED)} is {{0}}better than {any_of(LIKED)}"
_CLAIM = f"(?:{_SUM}|{_TASTE})"

SENTIMENT = Behavior(
    name="sentiment",
    positive="the reviewer praises the meal",
    negative="the reviewer complains about the meal",
    draw_topic=_review_topic,
    topic_patterns={"food": any_of(FOODS), "kind": any_of(PLACE_KINDS), "place": any_of(PLACES)},
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
    topic_patterns={"task": any_of(TASKS) + " " + any_of(SUBJECTS)},
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
        "soon": f"{any_of(NUMBERS)} {any_of(PRIZES)} {any_of(NOW)}",
        "late": f"{any_of(NUMBERS)} {any_of(PRIZES)} {any_of(LATE)}",
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
