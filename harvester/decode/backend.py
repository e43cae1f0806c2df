"""What a run decodes with: one decoder for each of its threads, and the books of what took another way."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harvester.model import AccessUnit, Codec
from harvester.ports import Decoder, Look
from harvester.stats import StageTimes

if TYPE_CHECKING:
    from harvester import config

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DecoderChoice:
    """Which decoder a run uses: ``name`` is the dataset's column ``decoder``, ``engine`` what is behind it."""

    name: str
    engine: str
    why: str

    def __str__(self) -> str:
        return f"{self.name} ({self.engine}): {self.why}"


class Fallbacks:
    """Pictures that the CPU decoded though a GPU is in use, by reason, and what happened to the GPUs. Thread-safe.

    ``events``: what a user must be told, one printable line each, in order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._events: list[str] = []

    def count(self, reason: str) -> None:
        """One picture more that went to the CPU for ``reason``, a slug."""
        with self._lock:
            self._counts[reason] += 1

    def tell(self, event: str) -> None:
        """Something that changes how the run decodes from now on; it is logged at once."""
        with self._lock:
            self._events.append(event)
        _log.warning("%s", event)

    @property
    def counts(self) -> Counter[str]:
        """A copy of the counts."""
        with self._lock:
            return self._counts.copy()

    @property
    def events(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._events)


class Backend:
    """The decoders of one run.

    ``codecs``: what may be asked of Twitch. ``threads``: how many threads keep it busy. ``make`` makes a decoder
    for one thread; ``release`` gives back what all share, once they are closed.
    """

    def __init__(
        self,
        choice: DecoderChoice,
        codecs: frozenset[Codec],
        threads: int,
        make: Callable[[], Decoder],
        *,
        fallbacks: Fallbacks | None = None,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self.choice = choice
        self.codecs = codecs
        self.threads = threads
        self.fallbacks = fallbacks or Fallbacks()
        self._make = make
        self._release = release
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._all: list[Decoder] = []

    def decoder(self) -> Decoder:
        """This thread's decoder, made when it first asks."""
        decoder: Decoder | None = getattr(self._mine, "decoder", None)
        if decoder is None:
            decoder = self._mine.decoder = self._make()
            with self._lock:
                self._all.append(decoder)
        return decoder

    def alone(self) -> Decoder:
        """A decoder whose closing closes the backend too."""
        return _Alone(self)

    def close(self) -> None:
        """Close all decoders and what they share; their threads must be done."""
        with self._lock:
            decoders, self._all = self._all, []
            self._mine = threading.local()
        for decoder in decoders:
            decoder.close()
        self._release()


class _Alone:
    """One decoder that owns its backend. Implements :class:`harvester.ports.Decoder`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.name = backend.choice.name

    def look(self, unit: AccessUnit) -> Look:
        return self._backend.decoder().look(unit)

    def close(self) -> None:
        self._backend.close()


def cpu_choice(settings: config.Decode, why: str) -> DecoderChoice:
    """The CPU, because it is forced or else for the reason ``why``."""
    from harvester.decode.cpu import NAME, library

    return DecoderChoice(NAME, library(), "forced by [decode] backend" if settings.backend == NAME else why)


def cpu_backend(settings: config.Decode, times: StageTimes | None, choice: DecoderChoice) -> Backend:
    """Decoding on the CPU alone."""
    from harvester.decode.cpu import CpuDecoder, supported

    return Backend(choice, supported(), settings.threads or cores(), lambda: CpuDecoder(times))


def cores() -> int:
    """Cores that this process may use: each keeps one thread that decodes busy."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
