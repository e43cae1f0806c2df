"""Mutated inputs at every door: a checked error or a right answer, in bounded time and memory."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.mutations import any_of, blind, document, text
from tests.fuzz.runner import Finding, Hang, assault, input_of, storm, watchdog
from tests.fuzz.target import Target, plain
from tests.fuzz.targets import TARGETS

SEED = 20261122
QUICK, ALL = 2_000, 100_000


def test_mutated_inputs() -> None:
    print(f"seed {SEED}")
    reports = storm(TARGETS, SEED, QUICK)
    assert sum(report.inputs for report in reports.values()) >= QUICK


@pytest.mark.long
def test_a_storm_of_mutated_inputs() -> None:
    """Both answers and refusals come of each target, else its mutations are too tame or too wild to show anything."""
    print(f"seed {SEED + 1}")
    reports = storm(TARGETS, SEED + 1, ALL)
    assert sum(report.inputs for report in reports.values()) >= ALL
    assert not [kind for kind, report in reports.items() if not report.errors and kind not in ALWAYS_ANSWERED]
    assert not [kind for kind, report in reports.items() if not report.answers and kind not in NEVER_ANSWERED]


#: Readers that make the best of everything, and inputs with a check sum or without part of their picture.
ALWAYS_ANSWERED = ("gql and usher bodies", "http dates")
NEVER_ANSWERED = ("decode lost h264", "decode cut av1", "packed measurement")


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.kind)
def test_good_inputs_get_an_answer(target: Target) -> None:
    """At least one of each corpus is good, and the reader says so: else only refusals would be tested."""
    answers = 0
    with target.opened() as read:
        for data in target.corpus():
            try:
                read(data)
                answers += 1
            except target.checked:
                pass
    assert answers >= 1


def test_corpora_are_small() -> None:
    assert max(len(data) for target in TARGETS for data in target.corpus()) < 20_000


def test_an_input_depends_on_its_number_alone() -> None:
    for target in TARGETS:
        once = [input_of(target, 3, number) for number in range(6)]
        assert [input_of(target, 3, number) for number in reversed(range(6))] == once[::-1]
        assert len(set(once)) > 1


def broken(read: object) -> Target:
    return Target("broken", 1, lambda: (b"abc 12",), any_of(blind, text), plain(read), (ValueError,))  # type: ignore[arg-type]


def stumble(data: bytes) -> object:
    return {}[data] if len(data) == 3 else data


def grow(data: bytes) -> object:
    return bytearray(1 << 30)


def lie(data: bytes) -> object:
    raise ValueError("two\nlines")


@pytest.mark.parametrize("read", [stumble, grow, lie])
def test_what_is_wrong_is_found_and_can_be_made_again(read: object) -> None:
    with pytest.raises(Finding, match="--seed 5 --number") as found:
        assault(broken(read), 5, range(200))
    number = int(str(found.value).split()[-1])
    with pytest.raises(Finding):
        assault(broken(read), 5, [number])


def test_a_hang_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.runner.WATCHDOG_S", 1)
    with pytest.raises(Hang), watchdog():
        while True:
            pass


def test_documents_stay_documents_mostly() -> None:
    """JSON that no parser gets through tests nothing behind the parser."""
    rng, good = (
        random.Random(1),
        b'{"data": [{"id": "1", "n": 2.5, "tags": ["a"]}], "pagination": {"cursor": "x"}}',
    )
    changed = [document(rng, good, good) for _ in range(200)]
    assert sum(data.startswith((b"{", b"[")) and data.endswith((b"}", b"]")) for data in changed) > 120
