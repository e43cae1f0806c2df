"""Targets that read what GQL tells of a VOD: chapters, storyboards and their sheets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path

from harvester.config import Endpoints
from harvester.media.jpeg import jpeg_size
from harvester.media.storyboard import MAX_FILE_BYTES, parse_storyboards
from harvester.stats import Traffic
from harvester.transport import RateLimit
from harvester.twitch.gql import GqlDetails
from tests.fuzz.loopback import answering
from tests.fuzz.mutations import any_of, blind, document, numbers
from tests.fuzz.target import Reader, Target, plain
from tests.fuzz.text import FETCH, answers
from tests.unit.media.test_storyboard import HIGH, LOW, URL
from tests.unit.twitch.test_gql import NAMES, VIDEO, complaint

_FRAMES = Path(__file__).parents[1] / "data" / "frames"


def storyboards() -> tuple[bytes, ...]:
    return tuple(json.dumps(entries).encode() for entries in ([LOW, HIGH], [HIGH]))


def _read_storyboards(data: bytes) -> object:
    found = parse_storyboards(data, URL)
    for storyboard in found:
        assert len(storyboard.sheets) * 10 <= MAX_FILE_BYTES
        cells = storyboard.cells(len(storyboard.sheets) - 1)[:100]
        assert all(before.time_s < after.time_s for before, after in pairwise(cells))
    return found


@cache
def sheets() -> tuple[bytes, ...]:
    """The fronts of pictures, headers and all."""
    return tuple(path.read_bytes()[:2000] for path in sorted(_FRAMES.glob("*.jpg"))[:3])


def _read_size(data: bytes) -> object:
    width, height = jpeg_size(data)
    assert 0 <= min(width, height)
    assert max(width, height) < 1 << 16
    return width, height


def batches() -> tuple[bytes, ...]:
    good = [{"data": {"video": {"id": "2001", **VIDEO[name]}}} for name in NAMES]
    refused = [complaint("service timeout"), {"data": {"video": None}}, good[2]]
    return tuple(json.dumps(each).encode() for each in (good, refused))


@contextmanager
def _asking() -> Iterator[Reader]:
    with answering() as server:
        endpoints = Endpoints(**{name: server.url(f"/{name}/") for name in ("helix", "auth", "gql", "usher")})

        async def read() -> object:
            async with GqlDetails(endpoints, FETCH, Traffic(), RateLimit(100_000)) as door:
                found = await door.of_vod("2001")
            spans = [chapter.span for chapter in (found and found.chapters) or ()]
            assert all(before.end_s <= after.start_s for before, after in pairwise(spans))
            json.dumps(str(found), ensure_ascii=False).encode()
            return found

        yield lambda data: server.ask(read, lambda line: data)


DETAILS: tuple[Target, ...] = (
    Target("storyboard", 50, storyboards, document, plain(_read_storyboards)),
    Target("jpeg head", 30, sheets, any_of(blind, numbers), plain(_read_size)),
    Target("gql details", 15, *answers(batches, document), _asking),
)
