"""When a host is left alone, and by whom it is asked again: by a clock of the test's own."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import FetchError, TryAgainLater
from harvester.stats import RequestKind
from harvester.transport.breaker import (
    CONNECTION,
    LIMITS,
    LOOK_S,
    SERVER_ERROR,
    TIMEOUT,
    Breakers,
    Circuit,
    Ticket,
    settling,
    trouble_of,
)

PAUSES = (5.0, 15.0, 40.0)
MEDIA, PLAYLIST = RequestKind.MEDIA, RequestKind.PLAYLIST


class Time:
    """The clock of the breakers; ``later`` moves it."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.breakers = Breakers(PAUSES, lambda: self.now_s)

    def later(self, seconds: float) -> None:
        self.now_s += seconds


def ticket(circuit: Circuit) -> Ticket:
    leave = circuit.enter()
    assert isinstance(leave, Ticket), f"waits {leave} s"
    return leave


def once(circuit: Circuit, trouble: str | None, witness: str | None = None) -> None:
    circuit.settle(ticket(circuit), trouble, witness)


def fail(circuit: Circuit, times: int, trouble: str = SERVER_ERROR) -> None:
    for _ in range(times):
        once(circuit, trouble)


def opened(time: Time, host: str = "a") -> Circuit:
    circuit = time.breakers.circuit(host, MEDIA)
    fail(circuit, LIMITS[SERVER_ERROR])
    return circuit


def given_up(time: Time, host: str = "a") -> Circuit:
    circuit = opened(time, host)
    for pause_s in PAUSES:
        time.later(pause_s)
        once(circuit, SERVER_ERROR)
    return circuit


@pytest.mark.parametrize("trouble", LIMITS)
def test_opens_at_so_many_failures_in_a_row(trouble: str) -> None:
    circuit = Time().breakers.circuit("a", MEDIA)
    fail(circuit, LIMITS[trouble] - 1, trouble)
    assert not circuit.is_open
    fail(circuit, 1, trouble)
    assert circuit.is_open
    assert circuit.enter() == PAUSES[0]


def test_an_answer_begins_anew() -> None:
    circuit = Time().breakers.circuit("a", MEDIA)
    for _ in range(3):
        fail(circuit, LIMITS[SERVER_ERROR] - 1)
        once(circuit, None)
    assert not circuit.is_open


def test_each_kind_of_failure_has_its_own_count() -> None:
    circuit = Time().breakers.circuit("a", MEDIA)
    for trouble, limit in LIMITS.items():
        fail(circuit, limit - 1, trouble)
    assert not circuit.is_open


def test_hosts_and_kinds_of_requests_do_not_answer_for_each_other() -> None:
    time = Time()
    assert opened(time).is_open
    for host, kind in (("b", MEDIA), ("a", PLAYLIST), ("a:8443", MEDIA)):
        ticket(time.breakers.circuit(host, kind))
    assert time.breakers.circuit("a", MEDIA).is_open


def test_one_probe_after_each_growing_pause() -> None:
    time = Time()
    circuit = opened(time)
    for pause_s in PAUSES:
        time.later(pause_s - 1)
        assert circuit.enter() == pytest.approx(1)
        time.later(1)
        probe = ticket(circuit)
        assert probe.probe
        assert circuit.enter() == LOOK_S
        circuit.settle(probe, TIMEOUT)
    with pytest.raises(TryAgainLater):
        circuit.enter()


@pytest.mark.parametrize("failed_probes", [0, 1, 2])
def test_a_probe_that_works_lets_everybody_go_and_forgets_the_pauses(failed_probes: int) -> None:
    time = Time()
    circuit = opened(time)
    for pause_s in PAUSES[:failed_probes]:
        time.later(pause_s)
        once(circuit, SERVER_ERROR)
    time.later(PAUSES[failed_probes])
    once(circuit, None)
    assert not ticket(circuit).probe
    assert not ticket(circuit).probe
    fail(circuit, LIMITS[SERVER_ERROR])
    assert circuit.enter() == PAUSES[0]


def test_a_cancelled_probe_leaves_its_place() -> None:
    time = Time()
    circuit = opened(time)
    time.later(PAUSES[0])
    circuit.abandon(ticket(circuit))
    assert ticket(circuit).probe


def test_stragglers_neither_shorten_nor_lengthen_the_pauses() -> None:
    time = Time()
    circuit = time.breakers.circuit("a", MEDIA)
    stragglers = [ticket(circuit) for _ in range(50)]
    fail(circuit, LIMITS[SERVER_ERROR])
    for straggler in stragglers:
        circuit.settle(straggler, SERVER_ERROR)
    assert circuit.enter() == PAUSES[0]
    time.later(PAUSES[0])
    probe = ticket(circuit)
    circuit.abandon(stragglers[0])
    assert circuit.enter() == LOOK_S
    circuit.settle(probe, None)
    ticket(circuit)


def test_a_host_given_up_fails_its_requests_if_another_works() -> None:
    time = Time()
    other = time.breakers.circuit("b", MEDIA)
    circuit = given_up(time)
    once(other, None)
    with pytest.raises(FetchError, match="a is down for media requests") as caught:
        circuit.enter()
    assert (caught.value.reason, caught.value.retryable) == ("host-down", True)
    ticket(other)


@pytest.mark.parametrize("other", [("b", PLAYLIST), ("a", PLAYLIST)])
def test_a_host_given_up_ends_the_run_if_no_other_works(other: tuple[str, RequestKind]) -> None:
    time = Time()
    once(time.breakers.circuit("b", MEDIA), None)  # before the outage: of no weight
    time.later(1)
    circuit = given_up(time)
    once(time.breakers.circuit(*other), None)
    with pytest.raises(TryAgainLater, match="try again") as caught:
        circuit.enter()
    assert caught.value.exit_code == 5


def test_a_witness_is_asked_at_once_before_any_pause() -> None:
    time = Time()
    circuit = time.breakers.circuit("a", MEDIA)
    once(circuit, None, "https://a/good.ts")
    fail(circuit, LIMITS[SERVER_ERROR])
    assert circuit.witness == "https://a/good.ts"
    probe = ticket(circuit)
    assert probe.probe
    circuit.settle(probe, SERVER_ERROR)
    assert circuit.enter() == PAUSES[0]


def test_without_pauses_no_circuit_opens() -> None:
    circuit = Breakers(()).circuit("a", MEDIA)
    fail(circuit, 10 * LIMITS[SERVER_ERROR])
    assert not circuit.is_open


@pytest.mark.parametrize("trouble", LIMITS)
def test_one_failure_in_ten_opens_none(trouble: str) -> None:
    rng = random.Random(7)
    circuit = Time().breakers.circuit("a", MEDIA)
    for _ in range(50_000):
        once(circuit, trouble if rng.random() < 0.1 else None)
        assert not circuit.is_open


@given(st.lists(st.sampled_from(["enter", *LIMITS, "answer", "cancel", "later"]), max_size=300), st.booleans())
def test_never_two_probes_and_never_stuck(steps: list[str], remembers: bool) -> None:
    time = Time()
    circuit = time.breakers.circuit("a", MEDIA)
    out: list[Ticket] = []
    for step in steps:
        if step == "later":
            time.later(max(PAUSES))
        elif step == "enter":
            try:
                leave = circuit.enter()
            except TryAgainLater:
                continue
            if isinstance(leave, Ticket):
                out.append(leave)
        elif out and step == "cancel":
            circuit.abandon(out.pop())
        elif out:
            circuit.settle(out.pop(), None if step == "answer" else step, "w" if remembers else None)
        assert sum(held.probe for held in out) <= 1 or not circuit.is_open
    for held in out:
        circuit.abandon(held)
    time.later(max(PAUSES))
    try:
        assert isinstance(circuit.enter(), Ticket)
    except TryAgainLater:
        assert circuit.is_open


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (FetchError("", reason="timeout"), TIMEOUT),
        (FetchError("", reason="connection"), CONNECTION),
        (FetchError("", reason="short-body", status=206), CONNECTION),
        (FetchError("", reason="proxy"), CONNECTION),
        (FetchError("", reason="foreign-body", status=200), "not-media"),
        (FetchError("", reason="http-503", status=503), SERVER_ERROR),
        (FetchError("", reason="http-429", status=429), "429"),
        (FetchError("", reason="http-404", status=404), None),
        (FetchError("", reason="http-403", status=403), None),
        (FetchError("", reason="http-401", status=401), None),
        (FetchError("", reason="too-large"), None),
    ],
)
def test_what_speaks_of_the_host(error: FetchError, trouble: str | None) -> None:
    assert trouble_of(error) == trouble


def test_a_cancelled_request_teaches_nothing_and_a_failed_one_does() -> None:
    time = Time()
    circuit = opened(time)
    time.later(PAUSES[0])
    with pytest.raises(asyncio.CancelledError), settling(circuit, ticket(circuit)):
        raise asyncio.CancelledError
    with pytest.raises(FetchError), settling(circuit, ticket(circuit)):
        raise FetchError("", reason="timeout")
    assert circuit.enter() == PAUSES[1]
