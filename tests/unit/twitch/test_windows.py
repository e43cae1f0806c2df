"""Clip windows against a model of Helix: complete or known to be short, aligned, overlapping, few."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harvester.errors import TryAgainLater
from harvester.model import Clip
from harvester.twitch.paging import PAGE, Read
from harvester.twitch.windows import (
    FIRST_CLIP,
    FULL,
    HOUR,
    MOST_ASTRAY,
    MOST_REQUESTS,
    SPARSE,
    TEN_MINUTES,
    ClipWindows,
    Window,
    first_width,
)

NOW = datetime(2026, 11, 2, 3, 20, tzinfo=UTC)
CAP = 1000
DAY = 24 * HOUR


class Service:
    """Clips at ``times``, of which a query gives the first 1,000, as if that were the order of views."""

    def __init__(self, times: list[datetime], *, cap: int = CAP, wide_loss: float = 0.0) -> None:
        self.times = sorted(times)
        self.cap, self.wide_loss = cap, wide_loss
        self.asked: list[Window] = []

    def read(self, window: Window) -> tuple[Read, set[int]]:
        """What a client learns of the window, and the numbers of the clips it was given."""
        self.asked.append(window)
        first, last = (bisect_left(self.times, moment) for moment in (window.asked_from, window.end))
        inside = list(range(first, last))
        if window.end - window.asked_from > DAY and len(inside) > PAGE:
            inside = inside[: round(len(inside) * (1 - self.wide_loss))]
        given = inside[: self.cap]
        stopped = "no-new-ids" if len(inside) > self.cap else "end"
        if window.most is not None and len(given) >= window.most:
            given, stopped = given[: window.most], "more"
        return Read(stopped, items=len(given), inside=len(given)), set(given)


def listed(service: Service, windows: ClipWindows) -> set[int]:
    found: set[int] = set()
    while (window := windows.next()) is not None:
        read, numbers = service.read(window)
        windows.told(window, read)
        found |= numbers
    return found


def ages(count: int, first: timedelta, span: timedelta) -> list[datetime]:
    """``count`` clips over ``span``, the newest ``first`` ago."""
    return [NOW - first - span * n / max(1, count) for n in range(count)]


CROWDS = st.lists(
    st.tuples(st.integers(0, 2500), st.integers(0, 5_000_000), st.integers(1, 500_000)), min_size=0, max_size=3
)


@given(CROWDS, st.integers(1, 3000))
@example([(1500, 0, 86_400 // 60)], 10)
@example([(2500, 100, 1)], 10)
@example([(931, 1279, 31)], 2)
def test_everything_is_found_or_the_loss_is_known(crowds: list[tuple[int, int, int]], days: int) -> None:
    """Counts of clips, minutes since the newest, minutes from it to the oldest."""
    times = [
        moment
        for count, first, span in crowds
        for moment in ages(count, timedelta(minutes=first), timedelta(minutes=span))
    ]
    service, since = Service(times, wide_loss=0.69), NOW - timedelta(days=days)
    windows = ClipWindows(since, NOW + timedelta(seconds=1))
    found = listed(service, windows)
    wanted = {n for n, moment in enumerate(service.times) if moment >= since}
    assert (windows.stopped == "end") == (windows.lost == 0)
    if not windows.lost:
        assert wanted <= found
    for window in service.asked:
        assert_well_cut(window)
    assert len(service.asked) <= 40 + days / 2 + len(times) / 5


def assert_well_cut(window: Window) -> None:
    minutes = 60 if window.width >= HOUR else 10
    for edge in (window.start, window.asked_from):
        assert (edge.minute % minutes, edge.second, edge.microsecond) == (0, 0, 0)
    assert window.start - window.asked_from >= TEN_MINUTES or window.start == window.first


@given(st.integers(1, 400), st.integers(0, 10_000))
def test_windows_and_their_halves_leave_no_gap(hours: int, lead: int) -> None:
    window = Window(FIRST_CLIP + lead * HOUR, FIRST_CLIP + (lead + hours) * HOUR, FIRST_CLIP)
    pieces, smallest = [window], []
    while pieces:
        piece = pieces.pop()
        halves = piece.halves()
        smallest += [] if halves else [piece]
        pieces += halves
        if hours > 30 and halves:
            pieces = pieces[-1:]
    if hours <= 30:
        smallest.sort(key=lambda piece: piece.start)
        assert (smallest[0].start, smallest[-1].end) == (window.start, window.end)
        assert all(a.end == b.start for a, b in pairwise(smallest))
    assert {piece.width for piece in smallest} == {TEN_MINUTES}


def test_an_empty_category_takes_few_questions_for_all_years() -> None:
    service, windows = Service([]), ClipWindows(None, NOW)
    assert listed(service, windows) == set()
    assert len(service.asked) <= 5
    assert (service.asked[0].end, service.asked[-1].start) == (datetime(2026, 11, 2, 4, tzinfo=UTC), FIRST_CLIP)


def test_width_follows_the_density() -> None:
    """A big category settles at the width that is read whole, and a quiet year widens it again."""
    service = Service(ages(24 * 200 * 10, timedelta(0), timedelta(days=10)))
    assert len(listed(service, ClipWindows(NOW - timedelta(days=300), NOW))) == len(service.times)
    widths = [window.width / HOUR for window in service.asked]
    assert sorted(widths[20:40])[10] in (2, 3, 4)
    assert max(widths) > 1000
    assert len(widths) <= 150


@pytest.mark.parametrize(
    ("pace_per_h", "biggest", "hours"),
    [
        (None, False, 23),
        (None, True, 1),
        (0.5, True, 23),  # what is known counts more than what is guessed
        (0.0, True, 23),
        (FULL / 20, False, 10),  # half full
        (FULL / 2, False, 1),
        (1e9, False, 1),
    ],
)
def test_the_first_window_is_as_wide_as_what_is_known_allows(
    pace_per_h: float | None, biggest: bool, hours: int
) -> None:
    width = first_width(pace_per_h, biggest=biggest)
    assert width == hours * HOUR
    window = ClipWindows(None, NOW, width).next()
    assert window is not None
    assert window.width == width


def test_a_known_density_saves_the_questions_that_find_it_out() -> None:
    """200 clips an hour: a day of them is asked for in vain, and its half, and its quarter."""
    times = ages(200 * 72, timedelta(0), timedelta(hours=72))

    def requests(width: timedelta) -> int:
        service, windows = Service(times), ClipWindows(NOW - timedelta(hours=72), NOW, width)
        assert len(listed(service, windows)) == len(service.times)
        assert not windows.lost
        return sum(1 + len(service.read(window)[1]) // PAGE for window in list(service.asked))

    of_a_day, guessed, known = (requests(width) for width in (DAY - HOUR, HOUR, first_width(200, biggest=False)))
    assert known < of_a_day * 0.8
    assert guessed < of_a_day * 0.8


def test_a_window_that_is_all_full_ends_at_ten_minutes_with_a_loss() -> None:
    service = Service([NOW - timedelta(hours=5)] * 5000)
    windows = ClipWindows(NOW - timedelta(days=1), NOW)
    assert len(listed(service, windows)) == CAP
    assert (windows.stopped, windows.lost >= 1) == ("cap", True)
    assert min(window.width for window in service.asked) == TEN_MINUTES


@pytest.mark.parametrize(
    ("read", "trusted"),
    [
        (Read("end", items=FULL - 1), True),
        (Read("end", items=FULL), False),
        (Read("repeated-cursor", items=200), False),
        (Read("no-new-ids", items=1000), False),
        (Read("empty-page"), False),
        (Read("cap", items=1100), False),
        (Read("broken-off", items=600, failure=TryAgainLater("no")), False),
    ],
)
def test_which_windows_are_believed(read: Read, trusted: bool) -> None:
    assert Window(NOW - 23 * HOUR, NOW, FIRST_CLIP).is_trusted(read) == trusted
    assert not Window(NOW - 46 * HOUR, NOW, FIRST_CLIP).is_trusted(Read("end", items=PAGE // 2))


def test_a_service_that_does_not_know_windows_is_given_up() -> None:
    windows = ClipWindows(None, NOW)
    window = windows.next()
    assert window is not None
    windows.told(window, Read("no-new-ids", items=1000))
    assert (windows.next(), windows.stopped, windows.lost) == (None, "no-new-ids", 1)


def test_requests_are_bounded() -> None:
    windows, asked = ClipWindows(None, NOW), 0
    while (window := windows.next()) is not None:
        windows.told(window, Read("cap", items=1100, inside=1100))
        asked += 12
    assert (windows.stopped, asked <= MOST_REQUESTS + 12) == ("requests", True)


def test_clips_of_other_times_are_told() -> None:
    window = Window(NOW - 2 * HOUR, NOW, FIRST_CLIP)
    held = [window.holds(clip_at(NOW + offset)) for offset in (-5 * HOUR, -3 * HOUR, -HOUR, TEN_MINUTES, 2 * HOUR)]
    assert held == [False, True, True, True, False]


def clip_at(moment: datetime) -> Clip:
    return Clip("Slug", "1", "9", "Ann", "", moment, 1, "en", 0)


def test_a_service_that_does_not_look_at_the_window_is_left_after_a_dozen_believable_answers() -> None:
    windows, asked = ClipWindows(None, NOW), 0
    while (window := windows.next()) is not None:
        asked += 1
        windows.told(window, Read("end", items=SPARSE))
    assert asked == MOST_ASTRAY
    assert (windows.stopped, windows.lost) == ("no-new-ids", 1)
