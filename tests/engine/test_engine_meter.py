"""Work is counted as it is done."""

from __future__ import annotations

import threading

import pytest
from support.tiny_models import CHAT, TinyModels

from caa_registry.engine.decoding import answers
from caa_registry.engine.steps import Meter
from caa_registry.evaluation.open_ended.generation import responses
from caa_registry.steering.additions import Addition


def test_a_meter_tells_of_what_several_threads_do_and_ends_where_it_should() -> None:
    told: list[tuple[int, int]] = []
    meter = Meter(lambda *at: told.append(at), 250, 1000)

    def work() -> None:
        worked = meter.of(250)
        for _ in range(100):
            worked(0.01)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told[0] == (250, 1000) and told[-1] == (1000, 1000) and told == sorted(told)
    assert 100 < len(told) <= 202
    # What was estimated too low stays at the end.
    meter.add(500)
    assert told[-1] == (1000, 1000)


@pytest.mark.parametrize("positions", ["after_prompt", "all"])
@pytest.mark.parametrize("rows", [1, 4, 32])
def test_decoding_counts_every_token_and_those_that_do_not_come(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch, rows: int, positions: str
) -> None:
    model = tiny("llama", chat=CHAT)
    monkeypatch.setattr(answers, "_ROWS", rows)
    told: list[tuple[int, int]] = []
    vector = 8 * model.network.model.embed_tokens.weight[3]
    import numpy as np

    steered = {0.0: [], 1.0: [Addition(1, np.array(vector), 1.0)]}
    questions = ["Why?", "What is it that is good?", "And now, what do you think of it, and why?"]
    given = responses(
        model, questions, steered, positions=positions, max_tokens=12, progress=lambda *at: told.append(at)
    )
    assert sum(map(len, given)) == 6
    total = told[0][1]
    assert told[0] == (0, total) and told[-1] == (total, total) and told == sorted(told) and len(told) > 12
