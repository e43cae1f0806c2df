"""How a run's questions for playback are put: as streamlink puts them, spelt out, or no more.

streamlink asks by *persisted* queries, a name and a hash that stands for the text. Twitch changes the hashes every
few months, and sometimes does not find a good one. So an operation whose hash was not found twice in a row is
spelt out for the rest of the run; if that is refused, it is the hash's turn again.

Each operation has a circuit of its own for refusals (hash, integrity check, client id): clips that come do not
hide that no VOD does. No source pays for a refusal with one of its tries, however often it meets one; once the
operation is given up, its sources are left for another run, and this one goes on with those of the other kind.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harvester.errors import PROGRAM_REFUSED, FetchError, SourceError, TryAgainLater
from harvester.model import SourceKind
from harvester.stats import RequestKind
from harvester.text import printable
from harvester.transport import Ticket
from harvester.transport.breaker import REFUSED, Breakers, Circuit
from harvester.twitch.diagnosis import Said, document_of, is_outage, is_refusal, knows_hash, refusal_of

#: Answers in a row that do not know an operation's hash before it is spelt out: good ones are missed now and then.
HASH_TRIES = 2

#: streamlink's name of the operation that opens a source of each kind.
OPENING: Mapping[SourceKind, str] = {"vod": "PlaybackAccessToken", "clip": "VideoAccessToken_Clip"}

#: Their texts, for what streamlink reads and with its names of variables. Unverified: that of clips.
_TEXTS = {
    OPENING["vod"]: (
        "query PlaybackAccessToken($vodID: ID!, $platform: String!, $playerType: String!) "
        "{ videoPlaybackAccessToken(id: $vodID, "
        'params: {platform: $platform, playerBackend: "mediaplayer", playerType: $playerType}) '
        "{ value signature } }"
    ),
    OPENING["clip"]: (
        "query VideoAccessToken_Clip($slug: ID!, $platform: String!) { clip(slug: $slug) { id "
        'playbackAccessToken(params: {platform: $platform, playerBackend: "mediaplayer", playerType: "site"}) '
        "{ signature value } videoQualities { frameRate quality sourceURL } } }"
    ),
}
_DECLARED = re.compile(r"\$(\w+):")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """One question of ``operation``. ``spelt_out``: the body to send in place of streamlink's; None = its own."""

    operation: str
    spelt_out: bytes | None = None


class Questions:
    """What a run has learnt about its questions. One for all who ask; thread-safe.

    ``pauses_s``: before each probe of an operation that is refused, () = none is ever given up. ``wanted``: the
    kinds of sources that the run opens; while one of them may still come, the end of the other does not end it.
    """

    def __init__(self, pauses_s: Sequence[float] = (), wanted: Collection[SourceKind] = ()) -> None:
        self._circuits = Breakers(pauses_s)
        self._wanted = [OPENING[kind] for kind in wanted]
        self._lock = threading.Lock()
        self._unknown_hash: Counter[str] = Counter()
        self._warned: set[str] = set()

    def put(self, body: bytes | str | None) -> Question:
        """The question that a request's body holds, as it is to be put now."""
        document = _object(document_of(body or b""))
        name = document.get("operationName")
        operation = printable(name, 60) if isinstance(name, str) else ""
        text = _TEXTS.get(operation)
        with self._lock:
            by_hash = self._unknown_hash[operation] < HASH_TRIES
        return Question(operation) if text is None or by_hash else Question(operation, _spelt_out(document, text))

    def enter(self, question: Question) -> Ticket | float:
        """Leave to ask now, or the seconds after which to try again; raises as :meth:`check` does."""
        try:
            return self._circuit(question.operation).enter()
        except (FetchError, TryAgainLater):
            raise self._given_up(question.operation) from None

    def check(self, kind: SourceKind) -> None:
        """Raise what it means that no source of that kind can be opened any more: a :class:`SourceError`
        (:data:`~harvester.errors.PROGRAM_REFUSED`), or :class:`TryAgainLater` if none of any kind can."""
        if self._circuit(OPENING[kind]).given_up:
            raise self._given_up(OPENING[kind])

    def settle(self, question: Question, ticket: Ticket, said: Said) -> SourceError | None:
        """Learn from an answer. Returns the error of a source whose question was refused whatever it asked for
        (:data:`~harvester.errors.PROGRAM_REFUSED`)."""
        circuit = self._circuit(question.operation)
        if is_outage(said):  # the host's matter
            circuit.abandon(ticket)
            return None
        refusal = refusal_of(said) if is_refusal(said, spelt_out=question.spelt_out is not None) else None
        self._remember(question, said, refusal is not None)
        circuit.settle(ticket, REFUSED if refusal else None)
        if circuit.given_up:
            self._warn(question.operation)
        return refusal

    def abandon(self, question: Question, ticket: Ticket) -> None:
        """No answer came: nothing was learnt."""
        self._circuit(question.operation).abandon(ticket)

    def _circuit(self, operation: str) -> Circuit:
        return self._circuits.circuit(operation, RequestKind.GQL)

    def _remember(self, question: Question, said: Said, refused: bool) -> None:
        """Count what the hash met; what is spelt out stays so, unless that is refused."""
        name = question.operation
        with self._lock:
            if question.spelt_out is not None:
                self._unknown_hash[name] = 0 if refused else HASH_TRIES
            elif not knows_hash(said):
                self._unknown_hash[name] += 1
                if self._unknown_hash[name] == HASH_TRIES:
                    _log.info("GQL does not know the hash of %s any more: spelt out from now on", name)
            elif self._unknown_hash[name] < HASH_TRIES:
                self._unknown_hash[name] = 0

    def _warn(self, operation: str) -> None:
        with self._lock:
            if operation in self._warned:
                return
            self._warned.add(operation)
        _log.warning("Twitch refuses every question of %s: not asked any more in this run", operation)

    def _given_up(self, operation: str) -> SourceError | TryAgainLater:
        said = f"{operation}: every question is refused, also after pauses"
        others = [self._circuit(name) for name in self._wanted if name != operation]
        if any(not other.given_up for other in others):
            return SourceError(f"{said}: look for a newer version", reason=PROGRAM_REFUSED, retryable=True)
        return TryAgainLater(f"{said}: look for a newer version, or try again later")


def _spelt_out(document: Mapping[str, Any], text: str) -> bytes:
    """The same question by its text, with the variables that the text declares."""
    known = _object(document.get("variables"))
    variables = {name: known[name] for name in _DECLARED.findall(text) if name in known}
    return json.dumps({"operationName": document["operationName"], "variables": variables, "query": text}).encode()


def _object(document: object) -> Mapping[str, Any]:
    return document if isinstance(document, dict) else {}
