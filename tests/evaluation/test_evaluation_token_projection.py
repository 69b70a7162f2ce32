"""How far tokens point along a vector."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import mlx.core as mx
import numpy as np
import pytest
from support.tiny_models import CHAT, CONTEXT, FAMILIES, TinyModels

from caa_registry.errors import UsageError
from caa_registry.evaluation.token_projection import TokenProjection, as_html, as_text, token_projections
from caa_registry.models.model import Model
from caa_registry.models.stream import Positions

PROMPT = "Would you like a donut now? Grüße, 漢字 🙂!"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_token_is_read_where_it_stands(family: str, tiny: TinyModels) -> None:
    model = tiny(family, chat=CHAT)
    template = model.template()
    vector = np.random.default_rng(0).normal(size=model.d_model).astype(np.float32)
    found = token_projections(model, template, PROMPT, "Yes", 1, vector)
    ids = template.complete(PROMPT, "Yes").ids
    kept: list[mx.array] = []

    def keep(layer: int, hidden: mx.array, where: Positions) -> mx.array:
        if layer == 1:
            kept.append(hidden[0])
        return hidden

    with model.stream.tapped(keep), model.rows([ids], [0]) as (tokens, cache):
        model.network(tokens, cache=cache)
    rows = np.array(kept[0].astype(mx.float32))
    np.testing.assert_allclose([t.dot for t in found], rows @ vector, rtol=1e-4, atol=1e-4)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(vector)
    np.testing.assert_allclose([t.cosine for t in found], rows @ vector / lengths, rtol=1e-4, atol=1e-5)
    assert "".join(t.text for t in found) == model.tokenizer.decode(ids)


def test_the_words_of_a_real_tokenizer_come_whole(demo: Model) -> None:
    vector = np.ones(demo.d_model, np.float32)
    found = token_projections(demo, demo.template(), "I think that tea is better than jazz.", "", 2, vector)
    words = "".join(t.text for t in found)
    assert "I think that tea is better than jazz." in words
    assert all(-1 <= t.cosine <= 1 for t in found)
    nothing = token_projections(demo, demo.template(), "I think.", "", 2, np.zeros(demo.d_model, np.float32))
    assert {(t.dot, t.cosine) for t in nothing} == {(0.0, 0.0)}


def test_a_text_beyond_the_context_is_refused(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    with pytest.raises(UsageError, match="tokens"):
        token_projections(model, model.template(), "漢字" * CONTEXT, "", 0, np.ones(model.d_model, np.float32))
    with pytest.raises(UsageError, match="layer 99"):
        token_projections(model, model.template(), "I", "", 99, np.ones(model.d_model, np.float32))


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_a_page_is_well_formed_and_escapes_its_text() -> None:
    evil = [
        TokenProjection("<script>alert(1)</script>", 2.0, 0.5),
        TokenProjection('"&\n', -1.0, -0.25),
        TokenProjection(" plain", 0.0, 0.0),
    ]
    page = as_html(evil, title="a <b> & c", caption="</footer><img src=x>")
    parser = Page()
    parser.feed(page)
    assert parser.open == [] and not {"script", "img", "b", "link"} & set(parser.tags)
    words = "".join(parser.words)
    assert "<script>alert(1)</script>" in words and "a <b> & c" in words
    assert "dot +2.000, cosine +0.500" in page and "http" not in page
    assert re.search(r"rgba\(0,114,178,0\.75\);text-decoration:underline", page)
    assert as_html([], title="", caption="")


def test_control_characters_are_written_out() -> None:
    evil = [TokenProjection("a\x1b[2Jb\x00\n", 1.0, 0.5)]
    assert as_text(evil).plain == "a\\x1b[2Jb\\x00\n[+50]"
    page = as_html(evil, title="", caption="")
    assert "\x1b" not in page and "\x00" not in page


def test_a_terminal_without_colour_shows_numbers() -> None:
    found = as_text([TokenProjection("Yes", 2.0, 0.5), TokenProjection(" no", -1.0, -0.25)])
    assert found.plain == "Yes[+50] no[-25]"
    assert as_text([]).plain == ""
