"""Crossed video queries against a model of Helix: complete where types and languages part, honest where they do not."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from harvester.errors import TryAgainLater
from harvester.model import VodType
from harvester.ports import ListingScope
from harvester.twitch.crossing import LANGUAGES, MOST_QUERIES, Crossing, VideoQuery
from harvester.twitch.paging import Read

NOW = datetime(2026, 11, 2, tzinfo=UTC)
CAP = 500
Item = tuple[int, VodType, str]  # age in hours, which also numbers it


class Service:
    """Videos, one an hour back in time."""

    def __init__(self, videos: list[Item]) -> None:
        self._parts: dict[tuple[VodType | None, str | None], list[Item]] = {}
        for video in videos:
            for part in product((None, video[1]), (None, video[2])):
                self._parts.setdefault(part, []).append(video)
        self.asked: list[VideoQuery] = []

    def read(self, query: VideoQuery) -> tuple[Read, set[int]]:
        self.asked.append(query)
        most_h = {"all": 1e9, "month": 720, "week": 168, "day": 24}[query.period]
        fits = [v for v in self._parts.get((query.type, query.language), []) if v[0] <= most_h]
        order = sorted(fits) if query.sort == "time" else sorted(fits, key=lambda v: (v[0] * 7919) % 10_007)
        given = order[:CAP]
        oldest = NOW - timedelta(hours=max((v[0] for v in given), default=0))
        stopped = "cap" if len(given) == CAP else "end"
        languages = dict.fromkeys(v[2] for v in given)
        read = Read(stopped, items=len(given), inside=len(given), oldest=oldest, languages=languages)
        return read, {v[0] for v in given}


def listed(service: Service, crossing: Crossing) -> set[int]:
    found: set[int] = set()
    while (query := crossing.next()) is not None:
        read, numbers = service.read(query)
        crossing.told(query, read)
        found |= numbers
    return found


def videos(count: int, languages: tuple[str, ...], types: tuple[VodType, ...] = tuple(VodType)) -> list[Item]:
    rng = random.Random(count)
    return [(n, rng.choice(types), rng.choice(languages)) for n in range(count)]


def test_a_small_category_is_one_query() -> None:
    service, crossing = Service(videos(499, ("en",))), Crossing(ListingScope())
    assert len(listed(service, crossing)) == 499
    assert (service.asked, crossing.stopped, crossing.lost) == (
        [VideoQuery(None, None, "all", essential=True)],
        "end",
        0,
    )


def test_types_part_a_category() -> None:
    service, crossing = Service(videos(1200, ("en",))), Crossing(ListingScope())
    assert len(listed(service, crossing)) == 1200
    assert [query.type for query in service.asked] == [None, *VodType]
    assert (crossing.stopped, crossing.lost) == ("end", 0)


def test_languages_part_a_type_those_seen_first() -> None:
    service = Service(videos(2000, ("en", "tlh", "de", "fi", "th"), (VodType.ARCHIVE,)))
    crossing = Crossing(ListingScope())
    assert len(listed(service, crossing)) == 2000
    assert (crossing.stopped, crossing.lost) == ("end", 0)
    asked = [query.language for query in service.asked if query.language]
    assert set(asked[:5]) == {"en", "tlh", "de", "fi", "th"}
    assert len(asked) == len(set(asked)) == len(set(LANGUAGES) | {"tlh"})


def test_what_nothing_parts_is_shown_from_other_sides_and_told_as_short() -> None:
    service = Service(videos(3000, ("en",), (VodType.UPLOAD,)))
    crossing = Crossing(ListingScope())
    assert 1000 < len(listed(service, crossing)) < 3000
    assert (crossing.stopped, crossing.lost) == ("cap", 1)
    sides = [(query.sort, query.period) for query in service.asked if query.sort != "time"]
    periods = ("all", "month", "week", "day")
    assert sides == [(sort, period) for period in periods for sort in ("views", "trending")]


def test_queries_are_bounded_and_always_the_same() -> None:
    services = [Service(videos(70_000, LANGUAGES)) for _ in range(2)]
    crossings = [Crossing(ListingScope()) for _ in services]
    found = [listed(service, crossing) for service, crossing in zip(services, crossings, strict=True)]
    assert services[0].asked == services[1].asked
    assert found[0] == found[1]
    assert (len(services[0].asked), crossings[0].stopped) == (MOST_QUERIES, "requests")
    assert crossings[0].lost > 10


def test_a_query_that_reached_what_is_too_old_is_not_full() -> None:
    service = Service(videos(2000, ("en",)))
    crossing = Crossing(ListingScope(since=NOW - timedelta(hours=400)))
    listed(service, crossing)
    assert (len(service.asked), crossing.stopped) == (1, "end")
    crossing = Crossing(ListingScope(since=NOW - timedelta(hours=600)))
    assert len(listed(service, crossing)) > 600
    assert len(service.asked) > 2


@pytest.mark.parametrize(
    ("scope", "asked"),
    [
        ({"languages": ("en", "de")}, [(None, "en"), (None, "de")]),
        ({"vod_types": (VodType.UPLOAD, VodType.UPLOAD)}, [(VodType.UPLOAD, None)]),
        ({"vod_types": (VodType.UPLOAD, VodType.ARCHIVE, VodType.HIGHLIGHT)}, [(None, None)]),
    ],
)
def test_what_is_wanted_is_asked_first(scope: dict[str, Any], asked: list[tuple[Any, Any]]) -> None:
    service = Service([])
    listed(service, Crossing(ListingScope(**scope)))
    assert [(query.type, query.language) for query in service.asked] == asked
    assert all(query.essential for query in service.asked)


def test_only_shorter_periods_than_the_wanted_one_are_other_sides() -> None:
    service = Service(
        videos(150, ("en",), (VodType.UPLOAD,)) + [(n, VodType.UPLOAD, "en") for n in range(150)] * 3
    )
    listed(service, Crossing(ListingScope(period="week", languages=("en",), vod_types=(VodType.UPLOAD,))))
    assert {query.period for query in service.asked} == {"week", "day"}


def test_a_language_that_helix_does_not_take_is_a_loss_and_no_end() -> None:
    service, crossing = Service(videos(700, ("en", "de"), (VodType.UPLOAD,))), Crossing(ListingScope())
    found: set[int] = set()
    while (query := crossing.next()) is not None:
        read, numbers = service.read(query)
        if query.language == "asl":
            read, numbers = Read("broken-off", failure=TryAgainLater("no", reason="bad-request")), set()
        crossing.told(query, read)
        found |= numbers
    assert len(found) == 700
    assert (crossing.stopped, crossing.lost) == ("broken-off", 1)


def test_a_service_that_does_not_know_filters_is_given_up() -> None:
    crossing = Crossing(ListingScope())
    asked = 0
    while (query := crossing.next()) is not None:
        asked += 1
        crossing.told(query, Read("cap", items=500, inside=500 * (query.type is not VodType.HIGHLIGHT)))
    assert (asked, crossing.stopped) == (3, "cap")
