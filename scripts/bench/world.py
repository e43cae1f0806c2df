"""The benchmark's Twitch: one category, a broadcaster a VOD. Helix, GQL and usher are the sandbox's own."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.footage import SEGMENT_S, Quality
from bench.stock import Place, Stock
from harvester.decode.cpu import CpuDecoder
from harvester.model import VodType
from harvester.sandbox.build import DEFAULT_NOW
from harvester.sandbox.footage import FootageFile, Session
from harvester.sandbox.world import (
    SOURCE_FOLDER,
    Channel,
    Cutting,
    Game,
    Piece,
    RenditionInfo,
    SegmentEntry,
    Video,
    World,
)

CATEGORY = Game("490100", "Benchmark", "benchmark", viewers=1)
_FIRST_VOD, _FIRST_CHANNEL = 2_400_000_000, 40_000_000


def world_of(quality: Quality) -> World:
    """As many archives as the quality has, a day apart, each of one broadcaster."""
    videos = tuple(_video(quality, number) for number in range(quality.vods))
    channels = tuple(video.channel for video in videos)
    return World("bench", DEFAULT_NOW, (CATEGORY,), channels, videos, ())


def _video(quality: Quality, number: int) -> Video:
    seconds = float(quality.segments * SEGMENT_S)
    file = FootageFile(Path(), quality.width, quality.height, 0)
    session = Session(f"vod {number}", CATEGORY.name, CATEGORY.slug, "", seconds, float(quality.fps), (file,))
    login = f"broadcaster_{number}"
    return Video(
        id=str(_FIRST_VOD + number),
        stream_id=str(318_000_000_000 + number),
        channel=Channel(str(_FIRST_CHANNEL + number), login, login),
        game=CATEGORY,
        pieces=(Piece(session, number),),
        cutting=Cutting(SEGMENT_S),
        container="ts",
        title="benchmark",
        created_at=DEFAULT_NOW - timedelta(days=1 + number % 50),
        language="en",
        views=100,
        type=VodType.ARCHIVE,
        distribution="dbench",
    )


class Reels:
    """What the sandbox's routes ask about media, answered for footage that is put together elsewhere."""

    def __init__(self, quality: Quality, stock: Stock) -> None:
        self._quality = quality
        self._stock = stock
        self._scaled = lru_cache(maxsize=1)(self._scale)  # cells come in order, some of each segment

    def renditions(self, _video: Video) -> tuple[RenditionInfo, ...]:
        """The one quality, as the broadcaster's own."""
        quality = self._quality
        return (
            RenditionInfo(
                folder=SOURCE_FOLDER,
                name=quality.name,
                width=quality.width,
                height=quality.height,
                fps=float(quality.fps),
                codecs="avc1.64002A,mp4a.40.2",
                bandwidth=round(quality.mbps * 1e6),
            ),
        )

    def height_of(self, _video: Video, folder: str) -> int | None:
        """Height of the rendition in ``folder``; None if there is none."""
        return self._quality.height if folder == SOURCE_FOLDER else None

    def entries(self, _video: Video, _height: int) -> tuple[SegmentEntry, ...]:
        """Ten seconds each."""
        length_s = float(SEGMENT_S)
        return tuple(SegmentEntry(0, (), n * length_s, length_s) for n in range(self._quality.segments))

    def picture(self, video: Video, at_s: float, width: int, height: int) -> NDArray[np.uint8]:
        """The first picture of the segment that plays then, for storyboards: planes one above another."""
        return self._scaled(place_of(video.id, at_s - at_s % SEGMENT_S), width, height)

    def _scale(self, place: Place, width: int, height: int) -> NDArray[np.uint8]:
        picture = CpuDecoder().decode(self._stock.unit(place))
        sizes = ((width, height), (width // 2, height // 2), (width // 2, height // 2))
        planes = zip((picture.y, picture.u, picture.v), sizes, strict=True)
        scaled = [cv2.resize(np.asarray(plane), size, interpolation=cv2.INTER_AREA) for plane, size in planes]
        return np.concatenate([plane.ravel() for plane in scaled]).astype(np.uint8, copy=False)


def place_of(vod_id: str, offset_s: float) -> Place:
    """The segment of a VOD that begins at that time."""
    return Place(int(vod_id) - _FIRST_VOD, round(offset_s / SEGMENT_S))
