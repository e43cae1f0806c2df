"""The page in a real browser: it shows, nobody complains, nothing is asked for, and a phone need not scroll sideways."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import program
from tests.integration.browser import Seen, look_at
from tests.integration.commands import Commands

#: What a broadcaster might call a game to get a script into the page; a long word must not widen it.
HOSTILE = "<script>document.title='owned'</script>\u202e\x00<img src=https://example.com/x>" + "W" * 200

WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
PICTURES = "[...document.images].map(image => image.naturalWidth)"
BARS = (
    "[...document.querySelectorAll('svg.columns rect')].filter(r => r.getBoundingClientRect().height > 1).length"
)
SCRIPTS = "document.scripts.length"
TEXT = "document.body.textContent"
STYLED = "getComputedStyle(document.body).maxWidth"
OPEN = "document.querySelectorAll('details').forEach(details => { details.open = true })"


@pytest.fixture
def page(default_commands: Commands, dataset: Path, tmp_path: Path) -> Path:
    """A page about a dataset whose category has a hostile name, and dropped pictures for a hostile reason."""
    classes = dataset / "classes.json"
    values = json.loads(classes.read_text("utf-8"))
    assert values["classes"][0]["names"]
    values["classes"][0]["names"].append(HOSTILE.replace("\x00", ""))
    classes.write_text(json.dumps(values), encoding="utf-8")
    ledger = sqlite3.connect(dataset / ".harvester" / "ledger.sqlite3")
    with ledger:
        ledger.execute("UPDATE outcomes SET verdict = 'dropped', reason = ? WHERE seq = 1", (HOSTILE,))
    ledger.close()
    file = tmp_path / "report.html"
    ended = default_commands("report", "--out", dataset, "--html", file)
    assert ended.code == 0, ended.err
    return file


def check(seen: Seen, page: Path, width: int) -> None:
    """What holds at every width."""
    (scrolled, fitting), pictures, bars, scripts, text, styled = seen.answers[:6]
    assert seen.complaints == []
    assert [url for url in seen.requests if not url.startswith("data:")] == [page.as_uri()]
    assert scrolled <= fitting <= width
    assert len(pictures) >= 2
    assert min(pictures) > 0
    assert (bars > 0, scripts) == (True, 0)
    assert "<script>document.title='owned'</script>" in text
    assert styled == "1120px"
    picture = cv2.imdecode(np.frombuffer(seen.screenshot, np.uint8), cv2.IMREAD_COLOR)
    assert picture.std() > 5


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_shows_on_a_phone_and_on_a_desk(page: Path, tmp_path: Path, width: int):
    scripts = [WIDTHS, PICTURES, BARS, SCRIPTS, TEXT, STYLED, OPEN, WIDTHS, "document.title"]
    seen = look_at(program("chromium"), page.as_uri(), width, scripts, tmp_path)
    check(seen, page, width)
    scrolled, fitting = seen.answers[7]
    assert scrolled <= fitting, "the table of runs widens the page"
    assert seen.answers[8].startswith("harvester: ")
