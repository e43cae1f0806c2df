import random
import re
from collections import Counter

import pytest
from multidict import CIMultiDict

from harvester.sandbox.faults import Fault, FaultBook


def hit(book, path="/helix/clips", method="GET", query=""):
    return book.take(method, path, query)


def test_a_fault_skips_then_happens_so_often():
    book, fault = FaultBook(), Fault(path="^/helix/", status=500, skip=1, times=2)
    book.add(fault)
    assert [hit(book) for _ in range(5)] == [None, fault, fault, None, None]


def test_a_fault_without_number_happens_for_ever_until_cleared():
    book, fault = FaultBook(), Fault(times=0)
    book.add(fault)
    assert all(hit(book) is fault for _ in range(5))
    book.clear()
    assert hit(book) is None


def test_faults_happen_in_the_order_they_were_written_one_a_request():
    book, first, second = FaultBook(), Fault(status=500), Fault(status=502)
    book.add(first)
    book.add(second)
    assert [hit(book), hit(book), hit(book)] == [first, second, None]


@pytest.mark.parametrize(
    ("fault", "matches"),
    [
        (Fault(), True),
        (Fault(path="clips$"), True),
        (Fault(path="^clips"), False),
        (Fault(method="get"), True),
        (Fault(method="POST"), False),
        (Fault(query="after="), True),
        (Fault(query="before="), False),
    ],
)
def test_what_a_fault_matches(fault, matches):
    assert fault.matches("GET", "/helix/clips", "first=1&after=x") is matches


def test_faults_from_json():
    document = {
        "match": {"method": "GET", "path": "^/helix/clips"},
        "action": {"status": 429, "headers": {"Ratelimit-Reset": "+2"}, "body": {"data": []}},
        "times": 3,
        "skip": 1,
    }
    fault = Fault.from_json(document)
    assert (fault.status, fault.times, fault.skip, fault.body) == (429, 3, 1, b'{"data": []}')


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ([], "a fault must be an object"),
        ({"match": {"path": "("}}, "no regular expression"),
        ({"match": {"header": {"Range": "["}}}, "no regular expression"),
        ({"match": {"sent": "["}}, "no regular expression"),
        ({"match": {"host": "x"}}, "match has no key 'host'; there are method"),
        ({"match": "all"}, "match must be an object"),
        ({"action": {"explode": True}}, "action has no key 'explode'"),
        ({"action": {"status": "500"}}, "status must be a whole number"),
        ({"action": {"status": 99}}, "status must be between"),
        ({"action": {"cut": True}}, "cut must be a whole number"),
        ({"action": {"delay_s": -1}}, "delay_s must not be negative"),
        ({"action": {"reset": 1}}, "reset must be true or false"),
        ({"when": "now"}, "a fault has no key 'when'"),
        ({"times": "many"}, "times must be a whole number"),
        ({"probability": 1.5}, "probability must be between 0 and 1"),
    ],
)
def test_a_fault_that_is_none_is_refused_with_a_clear_word(document, word):
    with pytest.raises(ValueError, match=re.escape(word)):
        Fault.from_json(document)


def test_a_fault_may_ask_for_a_request_header():
    book, fault = FaultBook(), Fault.from_json({"match": {"header": {"Range": "^bytes=0-"}}})
    book.add(fault)
    assert book.take("GET", "/", "", CIMultiDict()) is None
    assert book.take("GET", "/", "", CIMultiDict({"range": "bytes=7-9"})) is None
    assert book.take("GET", "/", "", CIMultiDict({"range": "bytes=0-9"})) is fault


def test_a_fault_may_ask_for_what_is_sent():
    book, fault = FaultBook(), Fault.from_json({"match": {"sent": "Token.*persisted"}})
    book.add(fault)
    assert book.take("POST", "/gql", "") is None
    assert book.take("POST", "/gql", "", None, '{"persisted": "Token"}') is None
    assert book.take("POST", "/gql", "", None, '{"name": "Token",\n "persisted": 1}') is fault


def struck(order, **settings):
    """Which (path, n-th request of it) a fault happens to, for requests in some order."""
    book, seen, found = FaultBook(), Counter(), set()
    book.add(Fault(times=0, **settings))
    for path in order:
        seen[path] += 1
        if hit(book, path) is not None:
            found.add((path, seen[path]))
    return found


def test_a_storm_strikes_its_share_whatever_the_order_of_requests():
    paths = [f"/cdn/{number}.ts" for number in range(500)] * 4
    shuffled = random.Random(1).sample(paths, len(paths))
    storm = struck(paths, probability=0.1, seed="a")
    assert 140 < len(storm) < 260
    assert struck(shuffled, probability=0.1, seed="a") == storm
    assert struck(paths, probability=0.1, seed="b") != storm
    assert {number for _, number in storm} == {1, 2, 3, 4}
    assert len({path for path, _ in storm}) > len(storm) / 2, "who was struck once is not struck for ever"
    assert len(struck(paths, probability=0.2, seed="a") & storm) == len(storm)
    assert not struck(paths, probability=0)
    assert len(struck(paths, probability=1)) == len(paths)
