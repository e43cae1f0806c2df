"""A circuit breaker: while a host is down nobody asks it, everybody waits, and one request at a time finds out.

There is one :class:`Circuit` for each host and kind of request (segments may fail while playlists come), and one
for each operation that GQL may refuse (:mod:`harvester.twitch.questions`); in it one streak for each kind of
failure. It opens when a streak reaches :data:`LIMITS`. While it is open callers wait; after a pause one of them
probes; a probe that works closes the circuit, one that fails begins the next, longer pause. After the last pause
the host is given up for the run: its requests fail at once (``host-down``) if another host of the same kind has
worked meanwhile, else the run ends and may be tried again later: the trouble is then nearer to us than to any
host.

Only what speaks of the host counts: silence, broken connections, 5xx, 429, web pages in place of media; and of an
operation, a refusal that any question would meet. An answer of any other status shows that the host works,
be it 401, 403 or 404. A request whose own resource is broken fails like one of a broken host; so a client that
remembers the last resource that came (``witness``) asks for that one as its probe, and the first such probe goes
out without a pause: broken files cost one small request, and an outage is told from them by the host itself.

Thread-safe; a circuit itself never waits: callers are told how long, and wait in their own way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from harvester.errors import FetchError, TryAgainLater
from harvester.stats import RequestKind

#: Reason of the failures of a host that was given up.
HOST_DOWN = "host-down"

#: Kinds of failures that speak of the host.
TIMEOUT, CONNECTION, SERVER_ERROR, TOO_MANY, NOT_MEDIA = "timeout", "connection", "http-5xx", "429", "not-media"
REFUSED = "every question is refused"

#: Failures of one kind in a row that open a circuit. A host that fails one request in ten at random begins a
#: streak of n at a given request with probability 0.9 x 0.1^n: of 20, once in 10^20 requests; and even one that
#: fails every second request does so once in two million. Such failures come back at once: 20 of them cost little
#: time. Time-outs take up to half a minute each, four at a time, so fewer must do: 8, once in 10^8 requests.
#: Refusals are no accident: 8 too.
LIMITS = {TIMEOUT: 8, CONNECTION: 20, SERVER_ERROR: 20, TOO_MANY: 20, NOT_MEDIA: 20, REFUSED: 8}

#: How often those who wait for another one's probe look again (s).
LOOK_S = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """Leave to send one request. ``probe``: what becomes of it decides for all who wait."""

    probe: bool = False


class Breakers:
    """All circuits of a run. ``pauses_s``: before each probe; () = no circuit ever opens.

    ``now_s``: a clock that never goes back.
    """

    def __init__(self, pauses_s: Sequence[float], now_s: Callable[[], float] = time.monotonic) -> None:
        self.pauses_s = tuple(pauses_s)
        self.now_s = now_s
        self.lock = threading.Lock()
        self._circuits: dict[tuple[str, RequestKind], Circuit] = {}

    def circuit(self, host: str, kind: RequestKind) -> Circuit:
        """The circuit of a host (with its port, where it is told) for a kind of request."""
        with self.lock:
            return self._circuits.setdefault((host, kind), Circuit(self, host, kind))

    def has_worked(self, kind: RequestKind, since_s: float) -> bool:
        """True if any host has answered a request of that kind after ``since_s``. The lock is held."""
        return any(circuit.worked_s > since_s for (_, k), circuit in self._circuits.items() if k is kind)


class Circuit:
    """One host for one kind of request: ``enter`` before each request, ``settle`` after it.

    ``witness``: URL of the last resource that came, for clients that probe with it.
    """

    def __init__(self, breakers: Breakers, host: str, kind: RequestKind) -> None:
        self._breakers = breakers
        self._host = host
        self._kind = kind
        self._streaks: dict[str, int] = {}
        self._begun_s = 0.0  # when the first of the streaks began
        self._resume_s: float | None = None  # None: closed; else when the next probe may go
        self._pauses_left: list[float] | None = None  # of the open circuit
        self._probe: Ticket | None = None
        self._trouble = ""
        self._given_up = False
        self.worked_s = float("-inf")
        self.witness: str | None = None

    @property
    def is_open(self) -> bool:
        """True while requests wait or are refused."""
        return self._resume_s is not None

    @property
    def given_up(self) -> bool:
        """True once no request is let through any more."""
        return self._given_up

    def enter(self) -> Ticket | float:
        """Leave to send now, or the seconds after which to ask again.

        Raises :class:`FetchError` (``host-down``) or :class:`TryAgainLater` once the host is given up.
        """
        with self._breakers.lock:
            if self._given_up:
                raise self._refusal()
            if self._resume_s is None:
                return Ticket()
            wait_s = self._resume_s - self._breakers.now_s()
            if wait_s > 0:
                return wait_s
            if self._probe is not None:
                return LOOK_S
            self._probe = Ticket(probe=True)
            return self._probe

    def settle(self, ticket: Ticket, trouble: str | None, witness: str | None = None) -> None:
        """What became of the request: a key of :data:`LIMITS`, or None if the host answered."""
        with self._breakers.lock:
            if trouble is None:
                self._close(witness)
            elif ticket is self._probe:
                self._pause(trouble)
            elif self._resume_s is None:
                self._count(trouble)

    def abandon(self, ticket: Ticket) -> None:
        """The request was cancelled: nothing was learnt, and if it was the probe another one may go."""
        with self._breakers.lock:
            if ticket is self._probe:
                self._probe = None

    def _close(self, witness: str | None) -> None:
        self.worked_s = self._breakers.now_s()
        self.witness = witness or self.witness
        self._streaks.clear()
        self._resume_s = self._pauses_left = self._probe = None
        self._given_up = False

    def _count(self, trouble: str) -> None:
        if not self._streaks:
            self._begun_s = self._breakers.now_s()
        self._streaks[trouble] = self._streaks.get(trouble, 0) + 1
        if self._breakers.pauses_s and self._streaks[trouble] >= LIMITS[trouble]:
            at_once = [0.0] if self.witness else []
            self._pauses_left = [*at_once, *self._breakers.pauses_s]
            self._pause(trouble)

    def _pause(self, trouble: str) -> None:
        self._trouble = trouble
        self._probe = None
        if self._pauses_left:
            self._resume_s = self._breakers.now_s() + self._pauses_left.pop(0)
        else:
            self._given_up = True

    def _refusal(self) -> FetchError | TryAgainLater:
        said = f"{self._host} is down for {self._kind} requests ({self._trouble}, also after pauses)"
        if self._breakers.has_worked(self._kind, self._begun_s):
            return FetchError(said, reason=HOST_DOWN)
        return TryAgainLater(f"{said}, and no other host works: check the network, or try again later")


@contextmanager
def settling(circuit: Circuit, ticket: Ticket) -> Iterator[None]:
    """Tells the circuit of a request that fails or is cancelled inside; one that is answered settles itself."""
    try:
        yield
    except FetchError as error:
        circuit.settle(ticket, trouble_of(error))
        raise
    except BaseException:
        circuit.abandon(ticket)
        raise


_BY_REASON = {
    "timeout": TIMEOUT,
    "connection": CONNECTION,
    "short-body": CONNECTION,
    "proxy": CONNECTION,
    "foreign-body": NOT_MEDIA,
}


def trouble_of(error: FetchError) -> str | None:
    """What an error says about the host, as a key of :data:`LIMITS`; None if it answered."""
    if error.status is not None and error.status >= 500:
        return SERVER_ERROR
    if error.status == 429:
        return TOO_MANY
    return _BY_REASON.get(error.reason)


def trouble_of_status(status: int) -> str | None:
    """The same for a status that came."""
    if status >= 500:
        return SERVER_ERROR
    return TOO_MANY if status == 429 else None
