"""How well words alone tell the sides of pairs apart, and where that is not asked."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from caa_registry.pairs.lint.vocabulary import words_auc
from caa_registry.pairs.record import Pair

WORDS = ["tea", "jazz", "soup", "cafe", "seven", "plus", "two", "ten", "rain", "music", "bread", "film"]


def texts(n: int, *, lean: float, seed: int = 0) -> list[Pair]:
    """Pairs of random words, among them "good" on the positive and "bad" on the negative side as often as ``lean``."""
    drawn = np.random.default_rng(seed)

    def side(own: str, other: str) -> str:
        return " ".join([*drawn.choice(WORDS, 6), own if drawn.random() < lean else other])

    return [Pair(f"Question {i}?", side("good", "bad"), side("bad", "good")) for i in range(n)]


@pytest.mark.parametrize("lean", [0.5, 0.8, 1.0])
def test_it_is_what_scikit_learn_reaches_on_the_clusters_left_out(lean: float) -> None:
    pairs = texts(60, lean=lean)
    clusters = np.repeat(np.arange(30), 2)
    sides = [text for pair in pairs for text in (pair.positive, pair.negative)]
    vocabulary = CountVectorizer(token_pattern=r"(?u)\b\w+\b").fit(sides).vocabulary_
    labels, folds = np.tile([1, 0], 60), np.repeat(clusters % 5, 2)
    aucs = []
    for fold in range(5):
        model = make_pipeline(CountVectorizer(token_pattern=r"(?u)\b\w+\b", vocabulary=vocabulary), MultinomialNB())
        model.fit([s for s, f in zip(sides, folds, strict=True) if f != fold], labels[folds != fold])
        scores = model.predict_log_proba([s for s, f in zip(sides, folds, strict=True) if f == fold])
        aucs.append(roc_auc_score(labels[folds == fold], scores[:, 1] - scores[:, 0]))
    found = words_auc(pairs, clusters)
    assert found == pytest.approx(np.mean(aucs))
    assert found > 0.95 if lean == 1 else found < 0.9


def test_repeats_do_not_make_words_look_better() -> None:
    pairs, own = texts(40, lean=0.5), np.arange(40)
    repeated = [pair for pair in pairs for _ in range(4)]
    together = words_auc(repeated, np.repeat(own, 4))
    apart = words_auc(repeated, np.arange(160))
    assert together is not None and apart is not None
    assert together < 0.7 < apart


def test_it_is_not_asked_of_letters_and_of_few() -> None:
    letters = [Pair(f"Is it {i}?\n (A) Yes\n (B) No", "(A)", "(B)") for i in range(40)]
    assert words_auc(letters, np.arange(40)) is None
    assert words_auc(texts(9, lean=1), np.arange(9)) is None
    assert words_auc(texts(40, lean=1), np.arange(40) % 9) is None
    assert words_auc([Pair("?", "...", "!!!")] * 10, np.arange(10)) == 0.5
