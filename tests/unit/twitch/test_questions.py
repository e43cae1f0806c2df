"""How questions are put after what was answered, and who pays for a refusal; by answers of the test's own."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import SourceError, TryAgainLater
from harvester.model import SourceKind
from harvester.stats import RequestKind
from harvester.transport import Ticket
from harvester.transport.breaker import LIMITS, REFUSED
from harvester.twitch.diagnosis import Said, is_refusal
from harvester.twitch.questions import HASH_TRIES, OPENING, Question, Questions

VOD, CLIP = OPENING["vod"], OPENING["clip"]
#: As streamlink 8.6.3 asks.
VARIABLES: dict[str, dict[str, Any]] = {
    VOD: {"isLive": False, "login": "", "isVod": True, "vodID": "2001", "playerType": "embed", "platform": "site"},
    CLIP: {"slug": "BraveClip-1", "platform": "web"},
}
KINDS: tuple[SourceKind, ...] = ("vod", "clip")


def body(operation: str) -> bytes:
    persisted = {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}
    return json.dumps(
        {"operationName": operation, "extensions": persisted, "variables": VARIABLES[operation]}
    ).encode()


def said(document: object, status: int = 200) -> Said:
    return Said(RequestKind.GQL, status, json.dumps(document).encode())


UNKNOWN = said({"errors": [{"message": "PersistedQueryNotFound"}]})
INTEGRITY = said({"errors": [{"message": "failed integrity check"}], "data": None})
MISPUT = said({"errors": [{"message": "Cannot query field"}]})
BUSY = said({"errors": [{"message": "service timeout"}]})
GOOD = said({"data": {"videoPlaybackAccessToken": None}})
DOWN, SILENT = said({}, 503), Said(RequestKind.GQL, None)


def ask(questions: Questions, answer: Said, operation: str = VOD) -> tuple[Question, SourceError | None]:
    """Put the question and take the answer."""
    question = questions.put(body(operation))
    ticket = questions.enter(question)
    assert isinstance(ticket, Ticket), f"waits {ticket} s"
    return question, questions.settle(question, ticket, answer)


def how(questions: Questions, *answers: Said, operation: str = VOD) -> list[str]:
    """How each was asked that was answered so, and how the next one is."""
    asked = [ask(questions, answer, operation)[0] for answer in answers] + [questions.put(body(operation))]
    return ["hash" if question.spelt_out is None else "text" for question in asked]


def test_a_hash_that_stays_unknown_is_spelt_out_from_then_on() -> None:
    tries = ["hash"] * HASH_TRIES
    assert how(Questions(), *[UNKNOWN] * HASH_TRIES, GOOD, BUSY, DOWN) == [*tries, "text", "text", "text", "text"]


def test_a_hash_that_is_missed_now_and_then_is_not() -> None:
    assert set(how(Questions(), *[UNKNOWN, GOOD] * 5)) == {"hash"}


def test_an_outage_says_nothing_of_a_hash() -> None:
    assert how(Questions(), UNKNOWN, DOWN, SILENT, UNKNOWN)[-1] == "text"


@pytest.mark.parametrize("refusal", [UNKNOWN, INTEGRITY, MISPUT])
def test_a_text_that_is_refused_makes_room_for_the_hash(refusal: Said) -> None:
    asked = how(Questions(), UNKNOWN, UNKNOWN, refusal, GOOD, GOOD)
    assert asked == ["hash", "hash", "text", "hash", "hash", "hash"]


def test_stragglers_by_hash_change_nothing_once_it_is_spelt_out() -> None:
    questions = Questions()
    late = [(question, questions.enter(question)) for question in [questions.put(body(VOD))] * 3]
    assert how(questions, UNKNOWN, UNKNOWN)[-1] == "text"
    for (question, ticket), answer in zip(late, (GOOD, UNKNOWN, GOOD), strict=True):
        assert isinstance(ticket, Ticket)
        questions.settle(question, ticket, answer)
        assert how(questions) == ["text"]


def test_operations_are_asked_each_in_its_own_way() -> None:
    questions = Questions()
    how(questions, UNKNOWN, UNKNOWN, operation=CLIP)
    assert how(questions, operation=VOD) == ["hash"]
    assert how(questions, operation=CLIP) == ["text"]


@pytest.mark.parametrize("operation", [VOD, CLIP])
def test_what_is_spelt_out_is_whole(operation: str) -> None:
    questions = Questions()
    how(questions, UNKNOWN, UNKNOWN, operation=operation)
    put = json.loads(questions.put(body(operation)).spelt_out or b"")
    assert set(put) == {"operationName", "query", "variables"}
    assert put["operationName"] == operation
    head, _, text = put["query"].partition(") {")
    declared = set(re.findall(r"\$(\w+): (?:ID|String)!", head))
    assert declared == set(re.findall(r"\$(\w+)", text)) == set(put["variables"])
    assert put["variables"].items() <= VARIABLES[operation].items()
    assert put["query"].startswith(f"query {operation}(")
    assert all(put["query"].count(a) == put["query"].count(b) for a, b in ("{}", "()"))


def refused(questions: Questions, times: int, operation: str = VOD, by: Said = INTEGRITY) -> list[str]:
    """The reasons of sources that are refused."""
    errors = [ask(questions, by, operation)[1] for _ in range(times)]
    return [error.reason for error in errors if error]


@pytest.mark.parametrize("refusal", [INTEGRITY, UNKNOWN, said({}, 401)])
def test_no_source_is_charged_with_a_refusal(refusal: Said) -> None:
    questions = Questions((1e-9, 1e-9))
    assert refused(questions, LIMITS[REFUSED] + 2, by=refusal) == ["refused"] * (LIMITS[REFUSED] + 2)
    with pytest.raises(TryAgainLater, match="newer version"):
        questions.enter(questions.put(body(VOD)))


def test_nor_with_that_of_a_text_but_with_what_it_is_answered_itself() -> None:
    questions = Questions()
    answers = [UNKNOWN] * HASH_TRIES + [MISPUT, UNKNOWN, GOOD, BUSY, DOWN]
    errors = [ask(questions, answer)[1] for answer in answers]
    assert [error and error.reason for error in errors] == ["refused"] * (HASH_TRIES + 2) + [None] * 3


def test_nor_are_those_that_were_under_way_when_it_is_asked_no_more() -> None:
    questions = Questions((1e9,))
    question = questions.put(body(VOD))
    tickets = [questions.enter(question) for _ in range(LIMITS[REFUSED] + 3)]
    errors = [questions.settle(question, ticket, INTEGRITY) for ticket in tickets if isinstance(ticket, Ticket)]
    assert [error.reason for error in errors if error] == ["refused"] * (LIMITS[REFUSED] + 3)


def test_answers_of_other_operations_do_not_hide_that_one_is_refused() -> None:
    questions = Questions((1e9,), KINDS)
    for _ in range(LIMITS[REFUSED]):
        ask(questions, INTEGRITY, VOD)
        ask(questions, GOOD, CLIP)
    assert isinstance(questions.enter(questions.put(body(VOD))), float)
    assert isinstance(questions.enter(questions.put(body(CLIP))), Ticket)


def test_one_kind_that_is_refused_is_told_apart_from_all_that_is_wanted() -> None:
    questions = Questions((1e-9,), KINDS)
    refused(questions, LIMITS[REFUSED] + 1, VOD)
    questions.check("clip")
    with pytest.raises(SourceError) as caught:
        questions.check("vod")
    assert (caught.value.reason, caught.value.retryable) == ("refused", True)
    refused(questions, LIMITS[REFUSED] + 1, CLIP)
    for kind in KINDS:
        with pytest.raises(TryAgainLater):
            questions.check(kind)


def test_an_answer_ends_the_streak_and_an_outage_does_not() -> None:
    questions = Questions((1e9,))
    refused(questions, LIMITS[REFUSED] - 1)
    ask(questions, GOOD)
    refused(questions, LIMITS[REFUSED] - 1)
    ask(questions, DOWN)
    refused(questions, 1)
    assert isinstance(questions.enter(questions.put(body(VOD))), float)


def test_a_probe_that_meets_an_outage_leaves_its_place_to_another() -> None:
    questions = Questions((1e-9, 1e9))
    refused(questions, LIMITS[REFUSED])
    for answer in (DOWN, SILENT):
        ask(questions, answer)
    question = questions.put(body(VOD))
    ticket = questions.enter(question)
    assert isinstance(ticket, Ticket)
    questions.abandon(question, ticket)
    assert isinstance(questions.enter(question), Ticket)


@pytest.mark.parametrize(
    ("answer", "by_hash", "spelt_out"),
    [
        (UNKNOWN, True, True),
        (INTEGRITY, True, True),
        (said({"error": "Unauthorized", "status": 401, "message": "x"}, 401), True, True),
        (said({"error": "Bad Request", "status": 400, "message": "Client-ID"}, 400), True, True),
        (said({}, 403), True, True),
        (MISPUT, False, True),
        (said({"errors": [{"message": "not found"}], "data": {"clip": None}}), False, False),
        (said({"errors": [{"message": "service error"}]}), False, False),
        (said({"errors": [{"message": "server error"}], "data": None}), False, False),
        (BUSY, False, False),
        (GOOD, False, False),
        (said([]), False, False),
    ],
)
def test_what_every_source_would_be_answered(answer: Said, by_hash: bool, spelt_out: bool) -> None:
    assert is_refusal(answer, spelt_out=False) is by_hash
    assert is_refusal(answer, spelt_out=True) is spelt_out


@given(st.none() | st.binary(max_size=30) | st.text(max_size=30) | st.sampled_from(
    [b"[" * 2000, b"[]", b'{"operationName": 5}', b'{"operationName": "a\\u202eb", "variables": 3}', b"\xff"]
))  # fmt: skip
def test_any_body_is_some_question(sent: bytes | str | None) -> None:
    questions = Questions()
    question = questions.put(sent)
    assert question.spelt_out is None
    assert isinstance(questions.enter(question), Ticket)
