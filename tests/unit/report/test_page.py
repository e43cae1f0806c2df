"""The page: what it tells is what is there, nothing in it runs or reaches outside, and it has a bounded size."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from harvester.report import page
from harvester.report.page import PAGE_BYTES, render_page
from harvester.report.summary import CategoryReport, RunReport
from harvester.store.overview import CategoryOverview, DatasetOverview
from harvester.store.pictures import SeenPicture
from harvester.store.survey import Contents, Survey
from harvester.vision.measure import measure, pack
from tests.unit.report.markup import Markup
from tests.unit.vision.conftest import gray_picture

NOW = datetime(2026, 11, 9, 9, tzinfo=UTC)
HOSTILE = '<script>alert("1")</script>\u202egnp.\x00\x1b[31m\'"><img src=x onerror=y>&amp;{{7*7}}'
#: The same as it may be shown: on one line, without control and direction marks.
HARMLESS = '<script>alert("1")</script>gnp.[31m\'"><img src=x onerror=y>&amp;{{7*7}}'


def run(number: int, kept: int = 3, **dropped: int) -> dict[str, Any]:
    import json

    books = CategoryReport("Hades II", kept=kept, total=kept, dropped=dropped)
    report = RunReport(
        f"run-{number}",
        "done",
        0,
        "/data",
        seconds=10,
        planned=kept + sum(dropped.values()),
        kept=kept,
        dropped=dropped,
        bytes={"media": 2_000_000 * number},
        categories={"1": books},
    )
    started = f"2026-11-{number % 28 + 1:02}T03:00:00+00:00"
    return {
        "id": f"run-{number}",
        "started_at": started,
        "ended_at": started,
        "report": json.loads(report.to_json()),
    }


def picture(seed: int = 1) -> bytes:
    luma = np.random.default_rng(seed).integers(16, 236, (180, 320)).astype(np.uint8)
    return pack(measure(gray_picture(luma)))


def noise(path: Path) -> Path:
    """An image that hardly compresses."""
    image = np.random.default_rng(0).integers(0, 256, (144, 256, 3), dtype=np.uint8)
    path.write_bytes(bytes(cv2.imencode(".jpg", image)[1]))
    return path


def found(images: tuple[Path, ...] = (), name: str = "Hades II", reason: str = "black") -> Survey:
    category = CategoryOverview(
        "1",
        name,
        frames=10,
        broadcasters=3,
        splits={"train": 8, "test": 2},
        sources={"vod": 10},
        dropped={reason: 4, "broadcaster-cap": 6},
    )
    contents = Contents(Counter({"b1": 7, "b2": 2, name: 1}), Counter({"clip": 4, "chapter": 6}), images)
    return Survey(
        overview=DatasetOverview((category,), (run(2, 4), run(1, 2, **{reason: 4}))),
        contents=(contents,),
        versions=Counter({"0.1.0": 10}),
        decoders=Counter({"cpu": 10}),
        dropped={reason: [SeenPicture(reason, "1", "vod", "77", 61.0, picture())]},
        removed={},
        waiting={"due": 2, "later": 1},
    )


def shown(survey: Survey) -> Markup:
    return Markup(render_page(survey, Path("/data/frames"), NOW).decode())


def test_it_tells_what_is_there(tmp_path):
    html = shown(found((noise(tmp_path / "vod-77-000001000.jpg"),)))
    for told in (
        "10 frames, 1 category, 2 runs; as of 2026-11-09 09:00 UTC",
        "2 failures are due to be tried again, 1 later",
        "In all: 6 targets beyond max_per_broadcaster. In the latest run that ended: nothing.",
        "10 frames of 3 broadcasters lost to caps: 6 targets beyond max_per_broadcaster",
        "most frames: b1 70 %, b2 20 %, Hades II 10 %",
        "by chapters by its clip",
        "black: 4",
        "harvester 0.1.0: 10 frames",
        "decoder cpu: 10 frames",
    ):
        assert told in html.text
    assert re.findall(r"2026-11-0[23]: [\d.,]+ [\w/]+", html.text) == [
        "2026-11-02: 2 kept",
        "2026-11-02: 4 dropped",
        "2026-11-03: 4 kept",
        "2026-11-02: 4 black",
        "2026-11-02: 2,000,000 received",
        "2026-11-03: 4,000,000 received",
        "2026-11-02: 0.6 frames/s",
        "2026-11-03: 0.4 frames/s",
    ]
    frame, tiles = (base64.b64decode(str(image["src"]).split(",")[1]) for image in html.all("img"))
    assert cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_COLOR).shape == (144, 256, 3)
    assert cv2.imdecode(np.frombuffer(tiles, np.uint8), cv2.IMREAD_GRAYSCALE).shape == (18, 32)


def test_the_tiles_are_the_picture_as_it_looked():
    """Luma as coded, 16 to 235, is stretched to grey, 0 to 255."""
    luma = np.repeat(np.linspace(16, 235, 32).astype(np.uint8), 10)[None].repeat(180, 0)
    seen = SeenPicture("black", "1", "vod", "77", 61.0, pack(measure(gray_picture(luma))))
    [image] = shown(replace(found(), dropped={"black": [seen]})).all("img")
    tiles = cv2.imdecode(
        np.frombuffer(base64.b64decode(str(image["src"]).split(",")[1]), np.uint8), cv2.IMREAD_GRAYSCALE
    )
    assert np.abs(tiles[0].astype(int) - np.linspace(0, 255, 32)).max() <= 2
    assert (tiles == tiles[0]).all()
    assert image["alt"] == "Hades II, vod 77 at 1 min 1 s"


def test_what_strangers_wrote_is_text_and_nothing_else(tmp_path):
    survey = found((noise(tmp_path / "a.jpg"),), name=HOSTILE, reason=HOSTILE)
    survey = replace(
        survey,
        versions=Counter({HOSTILE: 1}),
        decoders=Counter({HOSTILE: 1}),
        removed=survey.dropped,
        overview=replace(survey.overview, runs=({**run(3), "id": HOSTILE, "started_at": HOSTILE}, run(2))),
    )
    raw = render_page(survey, Path("/data") / "x<b>", NOW).decode()
    html, plain = Markup(raw), shown(found((noise(tmp_path / "a.jpg"),)))
    assert {name for name, _ in html.elements} <= {name for name, _ in plain.elements}
    assert HARMLESS in html.text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]", raw)
    for _, attributes in html.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes)


def test_nothing_in_it_runs_or_reaches_outside(tmp_path):
    html = shown(found((noise(tmp_path / "a.jpg"),)))
    [policy] = [str(meta["content"]) for meta in html.all("meta") if "http-equiv" in meta]
    digest = base64.b64encode(hashlib.sha256(html.style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    names = {name for name, _ in html.elements}
    assert not names & {"script", "iframe", "object", "embed", "form", "a", "audio", "video", "base"}
    for _, attributes in html.elements:
        for name in ("src", "href", "srcset", "data", "action"):
            assert str(attributes.get(name, "data:")).startswith("data:")
    assert not re.search(r"url\(|@import|https?:", html.style)


def test_a_page_has_a_bounded_size_whatever_the_dataset_holds(tmp_path):
    """Three times as much of everything as is shown, with the longest names and pictures of noise."""
    survey, image = found(), noise(tmp_path / "a.jpg")
    long = "&" * 100  # five bytes each in HTML
    reasons = {f"{n}{long}": n for n in range(3 * page.REASONS_SHOWN)}
    category = replace(survey.overview.categories[0], name=long, dropped=reasons, failed=reasons, removed=reasons)
    night = run(1)
    night["report"] |= {"dropped": reasons, "failed": reasons, "removed": reasons, "errors": [long * 5] * 9}
    count = 3 * page.CATEGORIES_SHOWN
    contents = Contents(Counter({f"{n}{long}": 1 for n in range(99)}), Counter(reasons), (image,) * 48)
    seen = SeenPicture("r", "1", "vod", long, 1.0, picture())
    survey = replace(
        survey,
        overview=DatasetOverview((category,) * count, (night,) * 3 * page.RUNS_SHOWN),
        contents=(contents,) * count,
        versions=Counter(reasons),
        decoders=Counter(reasons),
        dropped=dict.fromkeys(reasons, [seen] * page.PICTURES_SHOWN),
        removed=dict.fromkeys(reasons, [seen] * page.PICTURES_SHOWN),
    )
    raw = render_page(survey, Path("/data"), NOW)
    html = Markup(raw.decode())
    assert len(raw) < PAGE_BYTES
    assert sum(len(str(image["src"])) for image in html.all("img")) <= page.PICTURE_BYTES
    assert f"{page.CATEGORIES_SHOWN} of {count}, the neediest first" in html.text
    assert "pictures are left out, or it would be too large" in html.text


def test_the_neediest_category_comes_first():
    rich, poor = found().overview.categories[0], replace(found().overview.categories[0], name="Poor", frames=1)
    survey = replace(found(), overview=DatasetOverview((rich, poor), ()), contents=found().contents * 2)
    text = shown(survey).text
    assert text.index("Poor") < text.index("Hades II 1")
    assert "No run has ended yet" in text


def test_other_frames_are_shown_after_another_run_and_the_same_ones_until_then(tmp_path):
    images = tuple(noise(tmp_path / f"{n:02}.jpg") for n in range(48))
    survey = found(images)
    later = replace(survey, overview=replace(survey.overview, runs=(run(9), *survey.overview.runs)))

    def chosen(of: Survey) -> set[str | None]:
        return {image["alt"] for image in shown(of).all("img")} & {image.stem for image in images}

    assert chosen(survey) == chosen(survey)
    assert len(chosen(survey)) == page.FRAMES_SHOWN
    assert chosen(survey) != chosen(later)


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_frame_that_cannot_be_read_is_left_out(tmp_path, content):
    file = tmp_path / "a.jpg"
    if content is not None:
        file.write_bytes(content)
    survey = replace(found((file,)), dropped={"black": [SeenPicture("black", "1", "vod", "7", 1.0, b"damaged")]})
    assert shown(survey).all("img") == []


def test_a_run_that_was_killed_is_named_and_in_no_chart():
    killed = {"id": "k", "started_at": "2026-11-08T03:00:00+00:00", "ended_at": None, "report": None}
    survey = found()
    html = shown(replace(survey, overview=replace(survey.overview, runs=(killed, *survey.overview.runs))))
    assert "2026-11-08T03:00 not finished (killed, or still running)" in html.text
    assert "2026-11-08:" not in html.text
