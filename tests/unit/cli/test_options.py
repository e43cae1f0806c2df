"""What options amount to: sources from their URLs, categories from a file, a log that is only text."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.cli.logbook import LOG_CHARS
from harvester.cli.options import request_of, source_of, terminal
from harvester.config import Config, Loaded
from harvester.errors import UsageError
from harvester.pipeline.listing import Request

VODS = [
    "2345678901",
    "v2345678901",
    "https://www.twitch.tv/videos/2345678901",
    "http://twitch.tv/videos/2345678901/",
    "www.twitch.tv/videos/2345678901?t=1h2m3s",
    "https://m.twitch.tv/videos/2345678901#chat",
    "https://www.twitch.tv/streamer/v/2345678901",
    "https://www.twitch.tv/streamer/video/2345678901?filter=archives",
]
CLIPS = [
    "BraveOtter-a_B1",
    "https://clips.twitch.tv/BraveOtter-a_B1",
    "clips.twitch.tv/BraveOtter-a_B1?tt_medium=x",
    "https://www.twitch.tv/streamer/clip/BraveOtter-a_B1",
    "https://m.twitch.tv/streamer/clip/BraveOtter-a_B1/?range=7d",
]
NEITHER = [
    "",
    " ",
    "v",
    "clip",
    "https://www.twitch.tv/streamer",
    "https://www.twitch.tv/videos/",
    "https://www.twitch.tv/videos/12x",
    "https://example.com/videos/2345678901",
    "https://www.twitch.tv.example.com/videos/1",
    "https://clips.twitch.tv.example.com/BraveOtter",
    "ftp://www.twitch.tv/videos/1",
    "../../etc/passwd",
    "BraveOtter a_B1",
    "überclip",
    "٣٤٥",
    "x" * 121,
]


@pytest.mark.parametrize("text", VODS)
def test_a_vod_by_its_page_or_number(text: str) -> None:
    assert source_of(text) == ("vod", "2345678901")


@pytest.mark.parametrize("text", CLIPS)
def test_a_clip_by_its_page_or_slug(text: str) -> None:
    assert source_of(text) == ("clip", "BraveOtter-a_B1")


@pytest.mark.parametrize("text", NEITHER)
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no VOD or clip"):
        source_of(text)


@given(st.text(max_size=40) | st.from_regex(r"(https://)?(www\.|clips\.)?twitch\.tv/\w+/.{0,20}"))
def test_whatever_is_given_an_id_is_harmless(text: str) -> None:
    try:
        kind, source_id = source_of(text)
    except UsageError:
        return
    assert source_id.isascii()
    assert source_id.isdigit() if kind == "vod" else source_id.replace("-", "").replace("_", "x").isalnum()


def categories_of(file: Path, content: str) -> tuple[str, ...]:
    file.write_text(content, encoding="utf-8")
    return request_of(Loaded(Config(), None), (), file, None, None).categories


def test_a_categories_file_has_one_a_line_and_comments(tmp_path: Path) -> None:
    lines = "\ufeffHades II\r\n\n# a comment\n  id:123  # why\nC#\nname:#KILLALLZOMBIES\n\t#x\n"
    assert categories_of(tmp_path / "games", lines) == ("Hades II", "id:123", "C#", "name:#KILLALLZOMBIES")


def test_flags_come_before_the_file_and_both_before_the_configuration(tmp_path: Path) -> None:
    configured = Loaded(Config().replace("discover", categories=("Celeste",)), None)
    file = tmp_path / "games"
    file.write_text("Hades II\n")
    assert request_of(configured, ("Doom",), file, 5, "v12").categories == ("Doom", "Hades II")
    assert request_of(configured, (), None, None, None).categories == ("Celeste",)
    top = Loaded(configured.config.replace("discover", top=3), None)
    request = request_of(top, (), None, None, None)
    assert (request.categories, request.top) == (("Celeste",), 3)
    with pytest.raises(UsageError, match="nothing to harvest"):
        request_of(Loaded(Config(), None), (), None, None, None)


def test_one_source_alone_needs_a_category_only_where_nothing_tells_it() -> None:
    top = Loaded(Config().replace("discover", top=3), None)
    assert request_of(top, ("Doom",), None, None, "v12") == Request(("Doom",), 0, None, ("vod", "12"))
    assert request_of(top, (), None, None, "v12") == Request((), 0, None, ("vod", "12"))
    off = Loaded(top.config.replace("discover", details="off"), None)
    assert request_of(off, (), None, None, "BraveClip") == Request((), 0, None, ("clip", "BraveClip"))
    with pytest.raises(UsageError, match="--source needs --category"):
        request_of(off, (), None, None, "v12")


@pytest.fixture
def restored_log() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_whatever_is_logged_is_one_harmless_line(restored_log: None, capsys: pytest.CaptureFixture[str]) -> None:
    terminal(as_json=False, quiet=False, verbose=True)
    logging.getLogger("some.package").warning("%s asked\r\n%s", "\x1b[31m\u202e", "https://h/x?sig=SECRET&a=1")
    logging.getLogger("some.package").info("y" * 5000)
    first, second = capsys.readouterr().err.splitlines()
    assert first.lower() == "warning some.package: [31m asked https://h/x?sig=***&a=1"
    assert len(second) < LOG_CHARS + 50
