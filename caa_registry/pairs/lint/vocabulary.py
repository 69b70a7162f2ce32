"""Rules about words: what they alone tell of the sides of a set, and of the labels of two sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from caa_registry.pairs.answers import sides_of
from caa_registry.pairs.lint.findings import Finding
from caa_registry.pairs.lint.rows import Row, Subject
from caa_registry.pairs.questions import plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from caa_registry.pairs.record import Pair

FIRST_WORD_AUC = 0.8
VOCABULARY_AUC = 0.9
_FOLDS = 5
_FEW = 20
_FEWEST_CLUSTERS = 10
# More pairs than this add time and no knowledge.
_MOST = 5000
_OPPOSITE = 0.4
_WORD = r"(?u)\b\w+\b"


def confounds(subject: Subject) -> Iterator[Finding]:
    """How well the sides are told apart by their first words, and by all their words, in any order.

    Area under the ROC curve of a naive Bayes model, cross-validated over pairs; ``figures["auc"]`` by rule.
    """
    used = [row for row in subject.rows if row.speaks and plain(row.positive) != plain(row.negative)][:_MOST]
    if len(used) < _FEW:
        return
    figures = subject.figures["auc"]
    for rule, name, limit, texts in (
        ("first-word-confound", "first words", FIRST_WORD_AUC, [[_first(t) for t in _sides(row)] for row in used]),
        ("vocabulary-confound", "words", VOCABULARY_AUC, [_sides(row) for row in used]),
    ):
        auc = cross_validated_auc(texts)
        figures[rule] = auc
        if auc >= limit:
            message = f"{name} tell the sides apart with an AUC of {auc:.2f} (chance: 0.50)"
            yield Finding(rule, message, figures={"auc": auc, "n": len(used)})


def words_auc(pairs: Sequence[Pair], clusters: NDArray[np.intp]) -> float | None:
    """How well words alone, without a model, tell the sides of pairs apart that they were not counted on: the AUC of
    naive Bayes, cross-validated over ``clusters`` of pairs that ask the same.

    ``None`` where pairs answer by letters, which words do not tell apart, and for fewer than 10 clusters.
    """
    folds = np.unique(clusters[:_MOST], return_inverse=True)[1]
    if any(sides_of(pair).letters for pair in pairs) or len(np.unique(folds)) < _FEWEST_CLUSTERS:
        return None
    return cross_validated_auc([(pair.positive, pair.negative) for pair in pairs[:_MOST]], folds)


def cross_validated_auc(sides: Sequence[Sequence[str]], groups: NDArray[np.intp] | None = None) -> float:
    """Five folds over pairs, or over ``groups`` of them, numbered from 0; both sides of a pair are in one fold. 0.5
    where no text has a word."""
    from sklearn.metrics import roc_auc_score
    from sklearn.naive_bayes import MultinomialNB

    counts = _counts([text for pair in sides for text in pair])
    if counts is None:
        return 0.5
    labels = np.tile([1, 0], len(sides))
    folds = np.repeat((np.arange(len(sides)) if groups is None else groups) % _FOLDS, 2)
    scores = np.zeros(len(labels))
    for fold in range(_FOLDS):
        model = MultinomialNB().fit(counts[folds != fold], labels[folds != fold])
        scores[folds == fold] = counts[folds == fold] @ _weights(model)
    return float(np.mean([roc_auc_score(labels[folds == fold], scores[folds == fold]) for fold in range(_FOLDS)]))


def opposite_direction(subject: Subject) -> Iterator[Finding]:
    """Whether other sets of the behavior call matching what this one does not.

    A naive Bayes model of matching against other answers is trained on one set and tested on the other, both ways:
    the share of pairs whose matching answer scores higher. A finding where both shares, and the upper ends of their
    95 % intervals (Wilson 1927), are far below one half. ``figures["accuracy_by_other"]``: the shares by reference.
    """
    from scipy.stats import binomtest

    own = _learnable(subject.rows)
    for reference, rows in subject.others.items():
        theirs = _learnable(rows)
        if min(len(own), len(theirs)) < _FEW:
            continue
        shares = []
        opposite = True
        for train, test in ((theirs, own), (own, theirs)):
            right = pairwise_accuracy(train, test)
            shares.append(right)
            interval = binomtest(round(right * len(test)), len(test)).proportion_ci(0.95, "wilson")
            opposite = opposite and right < _OPPOSITE and interval.high < 0.5
        subject.figures["accuracy_by_other"][reference] = shares[0]
        if opposite:
            yield Finding(
                "opposite-direction",
                f"a model of {reference} gets {shares[0]:.0%} of these pairs right, and one of these pairs "
                f"{shares[1]:.0%} of {reference}",
                figures={"by_other": shares[0], "of_other": shares[1], "n": len(own), "n_other": len(theirs)},
            )


def pairwise_accuracy(train: Sequence[tuple[str, str]], test: Sequence[tuple[str, str]]) -> float:
    """The share of ``test`` whose first text scores higher; equal scores count one half."""
    from sklearn.naive_bayes import MultinomialNB

    texts = [text for pair in (*train, *test) for text in pair]
    counts = _counts(texts)
    if counts is None:
        return 0.5
    seen = 2 * len(train)
    model = MultinomialNB().fit(counts[:seen], np.tile([1, 0], len(train)))
    # A word that the model was not trained on carries no weight.
    known = np.asarray(counts[:seen].sum(axis=0)).ravel() > 0
    scores = (counts[seen:] @ (_weights(model) * known)).reshape(-1, 2)
    difference = scores[:, 0] - scores[:, 1]
    return float(np.mean(difference > 1e-12) + np.mean(np.abs(difference) <= 1e-12) / 2)


def _counts(texts: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer

    try:
        return CountVectorizer(token_pattern=_WORD).fit_transform(texts)
    except ValueError:  # no text has a word
        return None


def _weights(model: Any) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = model.feature_log_prob_[1] - model.feature_log_prob_[0]
    return weights


def _sides(row: Row) -> tuple[str, str]:
    return row.positive, row.negative


def _first(text: str) -> str:
    return text.split(maxsplit=1)[0] if text.split() else ""


def _learnable(rows: Sequence[Row]) -> list[tuple[str, str]]:
    return [_sides(row) for row in rows if row.speaks][:_MOST]
