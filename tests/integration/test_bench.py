"""``scripts/bench_harvest.py`` runs as it stands: small pictures, few frames; what it says is checked, not how fast.

What it serves is read by libavformat: whole segments, one after another, as if one recording.
"""

from __future__ import annotations

import importlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import av
import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
QUALITY = "180p15"
LONGEST_HEAD = 64_000  # of that quality (bytes), far from whole segments
ARMS = ("harvester x 4", "limit: fetch x 4", "limit: decode", "segments x 16")


def bench(cache: Path, report: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "bench_harvest.py"), "--quality", QUALITY]
    command += ["--cache", str(cache), "--json", str(report), "--quick", *options]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def stock() -> Iterator[ModuleType]:
    """The module that puts segments together."""
    sys.path.insert(0, str(SCRIPTS))
    yield importlib.import_module("bench.stock")
    sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def cache(stock: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the footage made."""
    folder = tmp_path_factory.mktemp("bench")
    footage = importlib.import_module("bench.footage")
    footage.build(footage.QUALITIES[QUALITY], folder)
    return folder


@pytest.fixture(scope="module")
def segments(stock: ModuleType, cache: Path) -> list[bytes]:
    """Two segments of a VOD, from its third on."""
    footage = importlib.import_module("bench.footage")
    media = stock.Stock(footage.QUALITIES[QUALITY], next(cache.iterdir()))
    places = [stock.Place(1, number) for number in (2, 3)]
    whole = [media.read(place, 0, media.size(place)) for place in places]
    for place, data in zip(places, whole, strict=True):
        for start, end in ((0, 1000), (500, 30_000), (media.head(place).end - media.head(place).start, 10**9)):
            assert media.read(place, start, end) == data[start:end]
    return whole


def test_served_segments_are_one_recording(segments: list[bytes]) -> None:
    with av.open(io.BytesIO(b"".join(segments)), format="mpegts") as container:
        found = [
            (packet.stream.type, float(packet.pts * packet.time_base), packet.is_keyframe, packet.is_corrupt)
            for packet in container.demux()
            if packet.size
        ]
    assert not [packet for packet in found if packet[3]]  # counters go on from segment to segment
    pictures = sorted(packet for packet in found if packet[0] == "video")
    assert [at_s for _, at_s, _, _ in pictures] == pytest.approx([30 + n / 15 for n in range(300)], abs=1e-4)
    assert [at_s for _, at_s, key, _ in pictures if key] == pytest.approx([30 + 2 * n for n in range(10)])
    sounds = sorted(packet for packet in found if packet[0] == "audio")
    assert [at_s for _, at_s, _, _ in sounds] == pytest.approx([30 + n * 20 / 936 for n in range(936)], abs=0.02)


def test_a_storyboard_shows_the_pictures_that_segments_begin_with(stock: ModuleType, cache: Path) -> None:
    footage, world = (importlib.import_module(f"bench.{name}") for name in ("footage", "world"))
    quality = footage.QUALITIES[QUALITY]
    media = stock.Stock(quality, next(cache.iterdir()))
    reels = world.Reels(quality, media)
    video = world.world_of(quality).videos[1]
    for at_s, number in ((0.0, 0), (29.9, 2), (40.0, 4), (72.0, 7)):
        luma = reels.picture(video, at_s, 160, 90)[: 160 * 90].reshape(90, 160)
        assert media.shows(stock.Place(1, number), footage.picture_hash(luma))


def test_served_segments_decode_without_an_error(segments: list[bytes]) -> None:
    with av.open(io.BytesIO(segments[0]), format="mpegts") as container:
        container.streams.video[0].codec_context.options = {"err_detect": "explode"}
        assert sum(not frame.is_corrupt for frame in container.decode(video=0)) == 150


@pytest.mark.long
def test_a_small_run_verifies_measures_and_reports(cache: Path, tmp_path: Path) -> None:
    report = tmp_path / "results" / "bench.json"
    done = bench(cache, report, "--frames", "6", "--rtt-ms", "5", "--mbps", "0", "--arms", ",".join(ARMS))
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) not in report.read_text(encoding="utf-8")
    assert "are right" in done.stderr
    assert "share of the smaller limit" in done.stdout
    (cell,) = json.loads(report.read_text(encoding="utf-8"))["cells"]
    assert (cell["quality"], cell["rtt_ms"], cell["mbps"], cell["targets"]) == (QUALITY, 5, 0, 6)
    assert set(cell["arms"]) == set(ARMS)
    for arm in cell["arms"].values():
        assert arm["frames"]["median"] == 6
        assert 0 < arm["frames_per_s"]["least"] <= arm["frames_per_s"]["most"]
        assert arm["cpu_ms_per_frame_whole_command"]["median"] > 0
    harvester, fetched = cell["arms"]["harvester x 4"], cell["arms"]["limit: fetch x 4"]
    assert 1 <= harvester["requests_per_frame"]["median"] <= 3
    # The same ranges; but of those that harvester gives up when it has its frames, the server counts what it sent.
    assert fetched["requests_per_frame"] == harvester["requests_per_frame"]
    given_up = 4 * LONGEST_HEAD / 6  # one a connection
    least = harvester["bytes_per_frame"]["median"]
    assert least <= fetched["bytes_per_frame"]["median"] <= least + given_up
    whole = cell["arms"]["segments x 16"]
    assert whole["requests_per_frame"]["median"] == 1
    assert whole["bytes_per_frame"]["median"] > 10 * cell["access_unit_bytes"]
    assert cell["arms"]["limit: decode"]["requests_per_frame"]["median"] == 0
    assert {goal["name"] for goal in cell["goals"]} >= {"bytes / access units", "requests a target"}


def test_another_picture_than_that_of_the_segment_is_found_out(cache: Path, tmp_path: Path) -> None:
    shutil.copytree(cache, tmp_path / "cache")
    (index,) = (tmp_path / "cache").rglob("heads.json")
    heads = json.loads(index.read_text(encoding="utf-8"))
    hashes = [head.pop() for head in heads]
    index.write_text(
        json.dumps([[*head, value] for head, value in zip(heads, hashes[1:] + hashes[:1], strict=True)])
    )
    done = bench(tmp_path / "cache", tmp_path / "bench.json", "--frames", "2", "--arms", "harvester x 4")
    assert done.returncode == 1
    assert "harvester x 4 delivered 2 wrong pictures of 2" in done.stderr
    assert not (tmp_path / "bench.json").exists()
