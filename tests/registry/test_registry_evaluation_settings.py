"""What is recorded of evaluations is read from every shape that was ever stored, and given back as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from registry.registry_support import Registry

from caa_registry.catalog import models as t
from caa_registry.errors import RegistryError, UsageError
from caa_registry.models.model import Model
from caa_registry.registry.records import (
    Beside,
    CalibrationSettings,
    DatasetVersion,
    Leaked,
    OpenEndedSettings,
    PropensitySettings,
    RecordedOpenEnded,
    RecordedPropensity,
    RecordedSideEffects,
    Sampling,
)
from caa_registry.registry.records.evaluation_settings import settings_from_json

# As each version of the package stored them.
FIRST: dict[str, Any] = {
    "template_digest": "sha256:7d0c", "dtype": "bfloat16", "layers": [13, 14], "multipliers": [-1.0, 0.0, 1.0],
    "rows": "even", "paper": False, "beyond_letters": 2, "too_long": 1,
    "interval": "percentile bootstrap over items, 95 %", "verdict": "exact",
}  # fmt: skip
SECOND = {**FIRST, "paper": True, "unscorable": 3}
THIRD: dict[str, Any] = {
    "rows": "all", "template_digest": "sha256:7d0c", "paper": False, "more_choices": 4, "beyond_letters": 0,
    "too_long": 1, "unscorable": 3, "interval": "percentile bootstrap over items, 95 %",
    "leaked": {"same": 2, "near": 1},
    "beside": {
        "controls": ["random", "shuffled"], "seeds": 20, "system_positive": "Agree.", "system_negative": "",
        "few_shot": 3,
    },
    "dtype": "float32", "operator": "add", "layers": [0], "multipliers": [-1.5, 2.0], "verdict": "same-weights",
}  # fmt: skip
FOURTH: dict[str, Any] = {**dict(list(THIRD.items())[:3]), "orders": "both", **THIRD}
UNTRAINED: dict[str, Any] = {**FOURTH, "beside": {**THIRD["beside"], "untrained": True}}
FIFTH: dict[str, Any] = {**dict(list(FOURTH.items())[:11]), "plan": "sha256:91ee", **FOURTH}
TEXT: dict[str, Any] = {
    "rows": "all", "text": "english", "text_digest": "sha256:01ab", "passages": 60, "too_long": 1, "too_short": 2,
    "interval": "percentile bootstrap over passages, 95 %", "dtype": "float32", "operator": "add", "layers": [2],
    "multipliers": [1.0], "verdict": "exact",
}  # fmt: skip
ANSWERS: dict[str, Any] = {
    "rows": "all", "template_digest": "sha256:7d0c", "questions": 5, "system": "Be brief.",
    "sampling": {"max_tokens": 48, "temperature": 0.7, "seed": 1},
    "interval": "percentile bootstrap over answers, 95 %",
    "dtype": "float32", "operator": "add", "layers": [2, 3], "multipliers": [-1.0, 1.0], "verdict": "same-architecture",
}  # fmt: skip

STORED = {
    "propensity, first shape": ("propensity", FIRST),
    "propensity, second shape": ("propensity", SECOND),
    "propensity, third shape": ("propensity", THIRD),
    "propensity, fourth shape": ("propensity", FOURTH),
    "propensity, beside an untrained network": ("propensity", UNTRAINED),
    "propensity, fifth shape": ("propensity", FIFTH),
    "side effects": ("side-effects", TEXT),
    "open-ended": ("open-ended", ANSWERS),
    "open-ended, temperature as a whole number": (
        "open-ended",
        {**ANSWERS, "sampling": {"max_tokens": 48, "temperature": 0, "seed": 1}},
    ),
}


@pytest.mark.parametrize(("kind", "stored"), STORED.values(), ids=STORED)
def test_every_stored_shape_comes_back_as_it_was(kind: str, stored: dict[str, Any]) -> None:
    recorded = settings_from_json(kind, stored, 1)
    given_back = recorded.to_json()
    assert json.dumps(given_back, sort_keys=True) == json.dumps(stored, sort_keys=True)
    assert settings_from_json(kind, given_back, 1) == recorded
    assert recorded.layers == tuple(stored["layers"]) and recorded.multipliers == tuple(stored["multipliers"])
    # What is stored from now on has its keys in the order in which they were always written.
    if "operator" in stored:
        assert list(given_back) == list(stored)


def test_what_older_shapes_do_not_say_has_the_meaning_of_their_time() -> None:
    for stored in (FIRST, SECOND):
        recorded = settings_from_json("propensity", stored, 1)
        assert isinstance(recorded, RecordedPropensity)
        assert (recorded.operator, recorded.more_choices, recorded.leaked) == ("add", 0, Leaked(0, 0))
        assert recorded.beside == Beside() and recorded.rows == "even"
        assert recorded.unscorable == stored.get("unscorable", 0)


def test_each_kind_has_its_own_settings() -> None:
    propensity = settings_from_json("propensity", THIRD, 1)
    assert isinstance(propensity, RecordedPropensity)
    assert propensity.beside == Beside(("random", "shuffled"), 20, "Agree.", "", 3)
    text = settings_from_json("side-effects", TEXT, 1)
    assert isinstance(text, RecordedSideEffects) and (text.text, text.passages) == ("english", 60)
    answers = settings_from_json("open-ended", ANSWERS, 1)
    assert isinstance(answers, RecordedOpenEnded) and answers.sampling == Sampling(48, 0.7, 1)


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("propensity", {"layers": None}, "'layers' is None"),
        ("propensity", {"rows": "third"}, "'rows': there is no half 'third'"),
        ("propensity", {"too_long": True}, "'too_long' is True"),
        ("propensity", {"leaked": {"same": 1}}, "'leaked' in .*'near' is missing"),
        ("propensity", {"beside": {}}, "'beside' in .*'controls' is missing"),
        ("propensity", {"revision": 9}, "has revision 9; this version reads 1 to 1"),
        ("side-effects", {}, "'text' is missing"),
        ("open-ended", {}, "'sampling' is missing"),
        ("dreams", {}, "its kind is 'dreams'"),
    ],
    ids=str,
)
def test_what_cannot_be_read_names_the_evaluation_and_the_key(kind: str, change: dict[str, Any], said: str) -> None:
    with pytest.raises(RegistryError, match=said) as error:
        settings_from_json(kind, {**THIRD, **change}, 7)
    assert "the parameters of evaluation 7" in error.value.message


def test_a_missing_key_does_not_make_an_older_shape() -> None:
    without = {key: value for key, value in THIRD.items() if key != "unscorable"}
    with pytest.raises(RegistryError, match="'unscorable' is missing"):
        settings_from_json("propensity", without, 7)


def test_what_is_stored_now_has_the_newest_shape(registry: Registry, pairs: DatasetVersion, model: Model) -> None:
    vector = registry.vectors.compute("team/v", dataset=pairs, model=model)
    scored = registry.evaluations.propensity(vector, model=model, layers=[1], settings=PropensitySettings(draws=19))
    with registry.database.read() as session:
        parameters = session.get_one(t.Evaluation, scored.id).parameters
    assert list(parameters) == list(FOURTH) and list(parameters["beside"]) == list(THIRD["beside"])
    assert scored.settings == settings_from_json("propensity", parameters, scored.id)


@pytest.mark.parametrize(
    ("settings", "options", "said"),
    [
        (PropensitySettings, {"positions": "nowhere"}, "there are no positions 'nowhere'"),
        (PropensitySettings, {"template": "mine"}, "there is no template 'mine'"),
        (PropensitySettings, {"rows": "third"}, "there is no half 'third'"),
        (PropensitySettings, {"controls": ("noise",)}, "there is no control 'noise'"),
        (PropensitySettings, {"draws": 1}, "with 1 vector no p-value can be below 0.5"),
        (OpenEndedSettings, {"positions": "nowhere"}, "there are no positions 'nowhere'"),
        (OpenEndedSettings, {"template": "mine"}, "there is no template 'mine'"),
        (CalibrationSettings, {"positions": "nowhere"}, "there are no positions 'nowhere'"),
        (CalibrationSettings, {"template": "mine"}, "there is no template 'mine'"),
        (CalibrationSettings, {"target_kl": 0.0}, "0.0 nats per token cannot be kept to"),
        (CalibrationSettings, {"target_kl": float("nan")}, "nan nats per token cannot be kept to"),
        (CalibrationSettings, {"direction": "up"}, "there is no direction 'up'"),
        (CalibrationSettings, {"alias": "latest"}, "'latest' cannot be an alias"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused_when_made(settings: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        settings(**options)
    assert PropensitySettings(controls=(), draws=0).draws == 0
