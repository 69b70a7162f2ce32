"""Endpoints that mean harm, and where keys go."""

from __future__ import annotations

import pytest
from support.hostile_judge import HOSTILE, LEAKED, HostileJudge, outcome
from support.judge_server import JudgeServer, Reply
from support.limited import MOST_ABOVE, peaks

from caa_registry.errors import JudgeError, UsageError
from caa_registry.evaluation.open_ended.endpoint import EndpointJudge
from caa_registry.evaluation.open_ended.endpoint_key import judge_key
from caa_registry.evaluation.open_ended.judging import Answered
from caa_registry.evaluation.open_ended.rubrics import find_rubric

RUBRIC = find_rubric("sycophancy")
ASKED = [Answered("Question?", "Answer.")]
OPENAI = "https://api.openai.com/v1"


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CAA_JUDGE_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.long
def test_no_reply_takes_more_than_its_share_of_memory_and_time() -> None:
    with HostileJudge() as server:
        report = peaks("support.hostile_judge:report", server.url)
    assert set(report["outcomes"]) == set(HOSTILE) - {"short-length"}
    for name, said in report["outcomes"].items():
        assert HOSTILE[name][1] in said, (name, said)
    assert report["above"] < MOST_ABOVE


def test_what_a_reply_may_not_hold_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_JUDGE_KEY", LEAKED)
    with HostileJudge() as server:
        assert outcome(server.base_url("surrogates")) == "rated \ufffd no \ufffd"
        assert outcome(server.base_url("repeats-key")) == "rated your key is [key]"
        assert outcome(server.base_url("parts")) == "rated no "
        assert [seen["Authorization"] for seen in server.seen] == [f"Bearer {LEAKED}"] * 3
        assert {seen["Accept-Encoding"] for seen in server.seen} == {"identity"}


def test_compressed_replies_of_a_sane_size_are_read() -> None:
    import gzip

    from support.hostile_judge import completion, reply

    body = gzip.compress(completion("7"))
    HOSTILE["sane"] = (lambda closing: iter([reply(body, "Content-Encoding: gzip")]), "rated")
    try:
        with HostileJudge() as server:
            assert outcome(server.base_url("sane")) == "rated 7"
    finally:
        del HOSTILE["sane"]


@pytest.mark.parametrize(
    ("url", "named", "variable"),
    [
        (OPENAI, None, "OPENAI_API_KEY"),
        ("https://API.OpenAI.com:443/v1", None, "OPENAI_API_KEY"),
        ("https://api.openai.com.evil.example/v1", None, ""),
        ("https://api.openai.com:8443/v1", None, ""),
        ("https://openai.com/v1", None, ""),
        ("http://127.0.0.1:8080/v1", None, ""),
        ("http://gpu:8080/v1", None, ""),
        ("https://judge.example/v1", "OPENAI_API_KEY", "OPENAI_API_KEY"),
        ("http://127.9.9.9/v1", "OPENAI_API_KEY", "OPENAI_API_KEY"),
        ("http://[::1]:80/v1", "OPENAI_API_KEY", "OPENAI_API_KEY"),
        ("http://localhost/v1", "OPENAI_API_KEY", "OPENAI_API_KEY"),
    ],
)
def test_the_key_of_one_service_goes_to_no_other(
    url: str, named: str | None, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    key = judge_key(url, named)
    assert (key.variable, key.secret) == (variable, "sk-openai" if variable else "")
    assert "sk-openai" not in repr(key)


def test_the_judges_own_key_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("CAA_JUDGE_KEY", "sk-judge")
    assert judge_key(OPENAI).variable == "CAA_JUDGE_KEY" == judge_key("https://judge.example/v1").variable


@pytest.mark.parametrize("host", ["gpu:8080", "api.openai.com", "10.0.0.1", "127.0.0.1.evil.example", "128.0.0.1"])
@pytest.mark.parametrize("variable", ["CAA_JUDGE_KEY", "OPENAI_API_KEY", "TEAM_KEY"])
def test_no_key_goes_over_plain_http_to_another_machine(
    host: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "sk-secret")
    named = None if variable == "CAA_JUDGE_KEY" else variable
    with pytest.raises(UsageError, match=f"{variable} would go to .* over plain http") as caught:
        EndpointJudge(f"http://{host}/v1", "judge", RUBRIC, key_env=named)
    assert "https" in caught.value.hint and "sk-secret" not in str(caught.value)


def test_a_key_that_is_set_later_is_checked_before_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = EndpointJudge("http://gpu.invalid/v1", "judge", RUBRIC)
    monkeypatch.setenv("CAA_JUDGE_KEY", "sk-secret")
    with pytest.raises(UsageError, match="plain http"):
        list(judge.ratings(ASKED))


def test_a_variable_that_is_named_has_to_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_JUDGE_KEY", "sk-judge")
    for name in ("TEAM_KEY", ""):
        with pytest.raises(UsageError, match="which is not set"):
            EndpointJudge(OPENAI, "judge", RUBRIC, key_env=name)


def test_who_refuses_access_is_told_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def hint(key_env: str | None = None) -> str:
        server.queue.append(Reply(401, {"error": {"message": "no"}}))
        with pytest.raises(JudgeError, match="refused access") as caught:
            list(EndpointJudge(server.base_url, "judge", RUBRIC, key_env=key_env).ratings(ASKED))
        return caught.value.hint

    with JudgeServer(lambda body: "5") as server:
        assert hint() == "It was given no key, since none is set. Set CAA_JUDGE_KEY."
        monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
        assert "OPENAI_API_KEY goes to https://api.openai.com only" in hint() and "--judge-key-env" in hint()
        assert hint("OPENAI_API_KEY") == "It was given OPENAI_API_KEY."
        monkeypatch.setenv("CAA_JUDGE_KEY", "sk-judge")
        assert hint() == "It was given CAA_JUDGE_KEY."


def test_a_key_for_this_machine_passes_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_JUDGE_KEY", "sk-judge")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with JudgeServer(lambda body: "5") as server, JudgeServer(lambda body: "6") as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        (rating,) = EndpointJudge(server.base_url, "judge", RUBRIC).ratings(ASKED)
        assert rating.value == 5 and not proxy.requests


def test_a_redirect_carries_no_key_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_JUDGE_KEY", "sk-judge")
    with JudgeServer(lambda body: "5") as server, JudgeServer(lambda body: "6") as elsewhere:
        for status in (301, 302, 303, 307, 308):
            server.queue.append(Reply(status, "", {"Location": elsewhere.base_url}))
            with pytest.raises(JudgeError, match="has moved"):
                list(EndpointJudge(server.base_url, "judge", RUBRIC).ratings(ASKED))
        assert not elsewhere.requests
