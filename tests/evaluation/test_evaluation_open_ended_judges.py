"""Judges: an endpoint on the loopback, and a local model."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from support.judge_server import JudgeServer, Reply
from support.tiny_models import CHAT, TinyModels

from caa_registry.errors import CaaError, JudgeError, ModelError, UsageError
from caa_registry.evaluation.open_ended.endpoint import ATTEMPTS, LONGEST_PAUSE, REPLY_TOKENS, EndpointJudge
from caa_registry.evaluation.open_ended.endpoint_replies import pause_asked_for
from caa_registry.evaluation.open_ended.judging import INSTRUCTIONS, Answered, Judge, Rating, judged_text
from caa_registry.evaluation.open_ended.local_judge import LocalJudge
from caa_registry.evaluation.open_ended.rating import parsed_rating
from caa_registry.evaluation.open_ended.rubrics import find_rubric
from caa_registry.steering.additions import steering

RUBRIC = find_rubric("sycophancy")
ANSWERS = [Answered(f"Question {i}?", f"Answer {i}.") for i in range(9)]
SECRET = "sk-only-for-tests-4711"


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CAA_JUDGE_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer(lambda body: f"{number(body)}/10") as running:
        yield running


def number(body: dict[str, Any]) -> str:
    """Which of ``ANSWERS`` a request is about."""
    return str(body["messages"][-1]["content"].partition("Answer ")[2].partition(".")[0])


def judge_at(server: JudgeServer, **options: Any) -> tuple[EndpointJudge, list[float]]:
    """A judge that notes its pauses instead of making them."""
    pauses: list[float] = []
    return EndpointJudge(server.base_url, "judge-1", RUBRIC, pause=pauses.append, **options), pauses


def rate(judge: Judge, answers: list[Answered] = ANSWERS) -> list[Rating]:
    return sorted(judge.ratings(answers), key=lambda rating: rating.index)


def refused(judge: Judge) -> CaaError:
    with pytest.raises(JudgeError) as caught:
        rate(judge, ANSWERS[:1])
    assert caught.value.hint
    return caught.value


def test_every_answer_is_rated_once(server: JudgeServer) -> None:
    judge, pauses = judge_at(server)
    assert rate(judge) == [Rating(i, float(i), f"{i}/10") for i in range(len(ANSWERS))]
    assert len(server.requests) == len(ANSWERS) and pauses == []
    assert list(judge.ratings([])) == []


def test_what_is_asked(server: JudgeServer) -> None:
    judge, _ = judge_at(server)
    rate(judge, ANSWERS[:1])
    (request,) = server.requests
    assert request.path == "/v1/chat/completions" and "Authorization" not in request.headers
    assert request.body == {
        "model": "judge-1",
        "temperature": 0,
        "max_tokens": REPLY_TOKENS,
        "messages": [
            {"role": "system", "content": INSTRUCTIONS},
            {"role": "user", "content": judged_text(RUBRIC, ANSWERS[0])},
        ],
    }
    identity = judge.identity
    assert (identity.kind, identity.name, identity.source) == ("endpoint", "judge-1", server.base_url)
    assert identity.rubric == RUBRIC.digest and identity.sampling == {"temperature": 0, "max_tokens": REPLY_TOKENS}
    assert EndpointJudge(server.base_url + "/", "judge-1", RUBRIC).identity == identity


def test_several_requests_are_under_way() -> None:
    with JudgeServer(lambda body: "5", together=3) as server:
        judge, _ = judge_at(server, at_a_time=3)
        assert [rating.value for rating in rate(judge)] == [5] * 9
        assert max(request.at_once for request in server.requests) == 3


def test_a_reply_without_a_rating_is_kept() -> None:
    replies = {"0": "I cannot rate this.", "1": None, "2": "12", "3": "4"}
    with JudgeServer(lambda body: replies[number(body)]) as server:
        judge, _ = judge_at(server)
        found = [(rating.value, rating.reply) for rating in rate(judge, ANSWERS[:4])]
    assert found == [(None, "I cannot rate this."), (None, ""), (None, "12"), (4, "4")]


def test_the_key_comes_from_the_environment_and_is_shown_nowhere(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    judge, _ = judge_at(server, key_env="OPENAI_API_KEY")
    rate(judge, ANSWERS[:1])
    judge, _ = judge_at(server)
    monkeypatch.setenv("CAA_JUDGE_KEY", f" {SECRET}\n")
    with caplog.at_level(logging.DEBUG):
        rate(judge, ANSWERS[:1])
        sent = [request.headers["Authorization"] for request in server.requests]
        assert sent == ["Bearer sk-other", f"Bearer {SECRET}"]
        shown = [repr(judge), str(judge.identity.as_json())]
        for status in (400, 401, 403, 404, 418, 429, 500):
            body = {"error": {"message": f"Bearer {SECRET} is wrong"}}
            server.queue.extend([Reply(status, body)] * (ATTEMPTS if status in (429, 500) else 1))
            shown.append(str(refused(judge)))
        server.queue.append(Reply(200, f"<p>{SECRET}</p>"))
        shown += [str(refused(judge)), caplog.text]
    assert "POST" in caplog.text
    server.queue.append(Reply(301, "", {"Location": f"/?key={SECRET}"}))
    shown.append(str(refused(judge)))
    assert SECRET not in "".join(shown) and "[key]" in "".join(shown)
    assert "CAA_JUDGE_KEY" in shown[3]
    monkeypatch.setenv("CAA_JUDGE_KEY", "sk-with a ☃")
    with pytest.raises(UsageError, match="CAA_JUDGE_KEY holds characters") as caught:
        rate(judge, ANSWERS[:1])
    assert "☃" not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(401, {"error": {"message": "no"}}), ["refused access (HTTP 401)", "Set CAA_JUDGE_KEY"]),
        (Reply(404, {"detail": "Not Found"}), ["was not found (HTTP 404: Not Found)", "/v1"]),
        (Reply(404, {"error": {"message": "model judge-1 does not exist"}}), ["model judge-1 does not exist"]),
        (Reply(400, {"message": "max_tokens is not supported"}), ["HTTP 400: max_tokens is not supported"]),
        (Reply(422, "<html>\x1b[31mno</html>"), ["HTTP 422: <html> [31mno</html>"]),
        (Reply(302, "", {"Location": "https://elsewhere/v1"}), ["has moved", "https://elsewhere/v1"]),
        (Reply(200, "<html>welcome</html>"), ["not as an OpenAI-compatible endpoint does: <html>welcome"]),
        (Reply(200, {"choices": []}), ["not as an OpenAI-compatible endpoint does", "choices"]),
        (Reply(200, ["no"]), ["not as an OpenAI-compatible endpoint does"]),
        (Reply(200, ""), ["does: nothing"]),
    ],
)
def test_what_will_not_change_is_an_error_at_once(reply: Reply, words: list[str], server: JudgeServer) -> None:
    judge, pauses = judge_at(server)
    server.queue.append(reply)
    said = str(refused(judge))
    assert all(word in said for word in [*words, "judge-1", server.base_url])
    assert len(server.requests) == 1 and pauses == []
    assert all(c.isprintable() or c == "\n" for c in said)


def test_what_may_change_is_asked_again_after_the_pause_it_names(server: JudgeServer) -> None:
    judge, pauses = judge_at(server)
    server.queue.extend(
        [
            *(Reply(429, "", {"Retry-After": "7"}), Reply(503), Reply(0), Reply(500, "", {"Retry-After": "soon"})),
            Reply(529, "", {"Retry-After": "-3"}),
        ]
    )
    assert rate(judge, ANSWERS[3:4]) == [Rating(0, 3, "3/10")]
    assert pauses == [7, 2, 4, 8, 0]


@pytest.mark.parametrize("reply", [Reply(429, {"error": "busy"}), Reply(503, {"error": "busy"}), Reply(0)])
def test_it_is_not_asked_forever(reply: Reply, server: JudgeServer) -> None:
    judge, pauses = judge_at(server)
    server.queue.extend([reply] * 20)
    words = "cannot be reached (RemoteProtocolError)" if reply.status == 0 else f"(HTTP {reply.status}: busy)"
    assert words in str(refused(judge))
    assert len(server.requests) == ATTEMPTS and pauses == [2.0**i for i in range(ATTEMPTS - 1)]


def test_a_long_pause_is_not_made(server: JudgeServer) -> None:
    judge, pauses = judge_at(server)
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=LONGEST_PAUSE + 60), usegmt=True)
    for header in (str(LONGEST_PAUSE + 1), later, "inf"):
        server.queue.append(Reply(429, {"error": {"message": "daily limit"}}, {"Retry-After": header}))
        assert "asks for a pause (HTTP 429: daily limit)" in str(refused(judge))
    assert len(server.requests) == 3 and pauses == []


def test_retry_after_is_a_number_or_a_date() -> None:
    assert [pause_asked_for(header, 4.0) for header in (None, "", "soon", "nan", "2", "0.5", "-1")] == [
        *(4.0, 4.0, 4.0, 4.0),
        *(2.0, 0.5, 0.0),
    ]
    now = datetime.now(UTC)
    assert 0 < pause_asked_for(format_datetime(now + timedelta(seconds=60), usegmt=True), 4.0) <= 60
    assert pause_asked_for(format_datetime(now - timedelta(days=1), usegmt=True), 4.0) == 0
    assert pause_asked_for("Wed, 21 Oct 2015 07:28:00", 4.0) == 0


def test_where_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pauses: list[float] = []
    judge = EndpointJudge(f"http://127.0.0.1:{port}/v1", "judge-1", RUBRIC, pause=pauses.append)
    assert "cannot be reached (ConnectError)" in str(refused(judge)) and len(pauses) == ATTEMPTS - 1


def test_what_was_rated_is_handed_out_before_an_error(server: JudgeServer) -> None:
    judge, _ = judge_at(server, at_a_time=1)
    ratings = judge.ratings(ANSWERS)
    found = [next(ratings) for _ in range(3)]
    server.queue.append(Reply(404))
    with pytest.raises(JudgeError):
        found.extend(ratings)
    assert [rating.index for rating in found] == [0, 1, 2] and len(server.requests) == 4


def test_no_more_is_asked_when_no_more_is_wanted(server: JudgeServer) -> None:
    judge, _ = judge_at(server, at_a_time=2)
    ratings = judge.ratings(ANSWERS)
    next(ratings)
    ratings.close()  # type: ignore[attr-defined]
    assert len(server.requests) <= 3


def test_a_pause_ends_when_no_more_is_wanted() -> None:
    """The default pause: one answer fails for good while another waits for two minutes."""
    with JudgeServer(lambda body: "5", together=2) as server:
        server.queue.extend([Reply(429, "", {"Retry-After": str(LONGEST_PAUSE)}), Reply(404)])
        judge = EndpointJudge(server.base_url, "judge-1", RUBRIC, at_a_time=2)
        with pytest.raises(JudgeError, match="404"):
            rate(judge, ANSWERS[:2])
        assert len(server.requests) == 2


@pytest.mark.parametrize("url", ["", "api.openai.com/v1", "ftp://h/v1", "http://", "http://h:x/v1", "http://h/v1?a=b"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is not the base URL"):
        EndpointJudge(url, "judge-1", RUBRIC)


def test_other_nonsense_is_refused() -> None:
    for url in ("https://me:secret@h/v1", "secret@h"):
        with pytest.raises(UsageError, match="holds a user name or a password") as caught:
            EndpointJudge(url, "judge-1", RUBRIC)
        assert "secret" not in str(caught.value)
    with pytest.raises(UsageError, match="no name"):
        EndpointJudge("http://h/v1", " ", RUBRIC)
    with pytest.raises(UsageError, match="0 requests"):
        EndpointJudge("http://h/v1", "judge-1", RUBRIC, at_a_time=0)


def test_a_local_model_judges_greedily(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT, max_position_embeddings=4096)
    judge = LocalJudge(model, RUBRIC)
    found = list(judge.ratings(ANSWERS[:2]))
    for rating, answered in zip(found, ANSWERS, strict=False):
        prompt = f"{INSTRUCTIONS}\n\n{judged_text(RUBRIC, answered)}"
        assert rating.reply == model.generate(prompt, max_tokens=REPLY_TOKENS)
        assert rating.value == parsed_rating(rating.reply)
    assert [rating.index for rating in found] == [0, 1]
    identity = judge.identity
    assert (identity.kind, identity.name) == ("local", model.info.name)
    assert identity.source == model.info.fingerprint.digest and identity.rubric == RUBRIC.digest


def test_a_local_judge_that_cannot_judge(tiny: TinyModels) -> None:
    judge = LocalJudge(tiny("llama", chat=CHAT), RUBRIC)
    with pytest.raises(ModelError, match="answer 1 cannot be judged: the prompt has"):
        list(judge.ratings(ANSWERS))
    with steering(judge.model, []), pytest.raises(UsageError, match="the judge is steered"):
        list(judge.ratings(ANSWERS))
