"""Which windows of ``created_at`` to ask for clips: newest first, as wide as what they hold allows. Pure.

One query gives about 1,000 clips and then repeats itself, and loses clips well before that when it spans more than
a day: one client counted 4,116 clips by weeks and 13,612 by windows of one to three days (twitchdev/issues #80,
#1188). So a window is believed when it is at most a day wide and far from full, or when it holds hardly any; any
other is halved, down to ten minutes, where the loss is accepted and counted. What a halved window gave stays.

How wide the first one is follows from what is known. The newest clips that earlier listings found tell how many
come in an hour; a category never listed starts at an hour if it is among the biggest of the top list, where that
was asked for anyway; every other at a day. It is a guess: then the width follows what comes.

A window is ``[start, end)``; what is asked begins one step earlier, because Helix rounds edges (#52) and gives
clips from a little before its start (#521). Steps are hours, and ten minutes within an hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from harvester.model import Clip
from harvester.twitch.paging import PAGE, Read, worst

HOUR, TEN_MINUTES = timedelta(hours=1), timedelta(minutes=10)

#: Clips exist since May 2016: a listing without a start goes back to here.
FIRST_CLIP = datetime(2016, 5, 1, tzinfo=UTC)
#: Widest window that is believed with many clips: with the step before it, a day.
DAY_WINDOW = 23 * HOUR
#: A window with as many clips is taken to be full: Helix ends at 1,000 to 1,100.
FULL = 900
#: A wider window is believed below this: what a page would show if as many were lost as by those weeks.
SPARSE = PAGE * 4116 // 13612
#: Categories of the top list whose first window is an hour, not a day. Too narrow a window costs some five small
#: questions until it has grown to a day, too wide a one eleven pages for every halving: so rather too many.
BIGGEST = 20
#: Windows in a row that hold clips of other times only, after which none is asked any more: the service does not
#: look at them.
MOST_ASTRAY = 12
#: Most requests of one listing: eight minutes at the default pace, 400,000 clips.
MOST_REQUESTS = 4000


@dataclass(frozen=True, slots=True)
class Window:
    """Clips created in ``[start, end)``; ``asked_from`` is the ``started_at`` of the question."""

    start: datetime
    end: datetime
    first: datetime  # nothing before it is wanted

    essential: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.first <= self.start < self.end:
            raise ValueError(f"no window: {self.start} to {self.end}")

    @property
    def width(self) -> timedelta:
        return self.end - self.start

    @property
    def _step(self) -> timedelta:
        return HOUR if self.width >= HOUR else TEN_MINUTES

    @property
    def asked_from(self) -> datetime:
        """One step before the start: neighbours overlap."""
        return max(self.first, self.start - self._step)

    @property
    def most(self) -> int | None:
        """Items after which to read no further: a window wider than a day is not believed with more."""
        return PAGE if self.width > DAY_WINDOW else None

    def holds(self, clip: Clip) -> bool:
        """Whether the clip belongs here, an hour's leak allowed."""
        return self.asked_from - HOUR <= clip.created_at < self.end + HOUR

    def is_trusted(self, read: Read) -> bool:
        """Whether all clips of the window were given."""
        return read.stopped == "end" and read.items < (FULL if self.width <= DAY_WINDOW else SPARSE)

    def halves(self) -> tuple[Window, ...]:
        """The older and the newer half; () of a window of ten minutes."""
        step = HOUR if self.width > HOUR else TEN_MINUTES
        steps = self.width // step
        if steps < 2:
            return ()
        middle = self.start + step * (steps // 2)
        return Window(self.start, middle, self.first), Window(middle, self.end, self.first)


class ClipWindows:
    """The windows of ``[since, until)``: ask :meth:`next`, tell :meth:`told` what came, until there is none.

    ``width``: of the first one, in whole hours.
    """

    def __init__(self, since: datetime | None, until: datetime, width: timedelta = DAY_WINDOW) -> None:
        self._first = _full_hour(since or FIRST_CLIP)
        self._edge = _full_hour_up(until)
        self._width = width
        self._halves: list[Window] = []  # the newest last
        self._requests = 0
        self._astray = 0
        self._over = False
        self.lost = 0
        self.stopped = "end"

    def next(self) -> Window | None:
        """The newest window that is not known yet."""
        if self._over:
            return None
        if self._halves:
            return self._halves.pop()
        if self._edge <= self._first:
            return None
        window = Window(max(self._first, self._edge - self._width), self._edge, self._first)
        self._edge = window.start
        return window

    def told(self, window: Window, read: Read) -> None:
        """Take note of what ``window`` gave."""
        self._requests += read.requests
        if read.items:
            self._astray = 0 if read.inside else self._astray + 1
        if self._astray == MOST_ASTRAY:
            self._give_up("no-new-ids")
        elif window.is_trusted(read):
            self._width = max(HOUR, _next_width(window.width, read.items) // HOUR * HOUR)
        elif read.items >= PAGE and not read.inside:
            self._give_up("no-new-ids")  # windows mean nothing to this service: smaller ones will not help
        elif halves := window.halves():
            self._halves += halves
        else:
            self._lose("cap" if read.items >= FULL else read.stopped)
        if self._requests >= MOST_REQUESTS and (self._halves or self._edge > self._first):
            self._give_up("requests")

    def _give_up(self, reason: str) -> None:
        self._over = True
        self._lose(reason)

    def _lose(self, reason: str) -> None:
        self.lost += 1
        self.stopped = worst(self.stopped, reason)


def first_width(clips_per_h: float | None, *, biggest: bool) -> timedelta:
    """Width of a listing's first window, 1 to 23 whole hours: half of what is believed at that pace.

    ``clips_per_h``: as far as known, None = not at all; then only ``biggest`` counts: one of the top list's first.
    """
    if clips_per_h is None:
        return HOUR if biggest else DAY_WINDOW
    return min(max(1, int(FULL / 2 / clips_per_h)) * HOUR, DAY_WINDOW) if clips_per_h > 0 else DAY_WINDOW


def _next_width(width: timedelta, items: int) -> timedelta:
    """Width of the window after a believed one of ``width`` that held ``items``: half of what would be believed if
    it went on like that."""
    if items < SPARSE // 2:
        return width * max(2, SPARSE // 2 // (items + 1))
    if items < FULL // 2:
        return max(width, min(2 * width, DAY_WINDOW))
    return width


def _full_hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _full_hour_up(moment: datetime) -> datetime:
    floor = _full_hour(moment)
    return floor if floor == moment else floor + HOUR
