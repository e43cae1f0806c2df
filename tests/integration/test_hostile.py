"""What comes from outside may be meant to harm: names, URLs and bodies. Nothing of it gets further than text."""

from __future__ import annotations

import json
import re
import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from harvester.sandbox import Fault, SandboxServer, world_from_index
from harvester.sandbox.footage import PACKAGE_INDEX
from tests.integration.commands import Commands, Ended

HOSTILE_NAMES = (
    "../../etc",
    "CON",
    "🎮✨",
    "\u202egnp.exe\u200f of\u2066 right\x00 to left",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07\r\nforged: line",
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>",
    "x" * 300,
    "| a | [link](javascript:alert(1)) `code` {{ 7 * 7 }} {% raw %} [red]markup[/red]",
    "C:\\NUL.txt%2f%00$(touch pwned);`touch pwned`",
    "test",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    """Every session of the package's footage, 360 lines high, under a name of its own."""
    entries = [entry for entry in json.loads(PACKAGE_INDEX.read_text(encoding="utf-8")) if entry["game"]]
    for number, (entry, name) in enumerate(zip(entries, HOSTILE_NAMES, strict=True)):
        small = {"file": str(PACKAGE_INDEX.parent / entry.pop("file_360p")), "width": 640, "height": 360}
        entry.update(small, game=name, slug=f"hostile-{number}", derived_from=None)
    index = tmp_path_factory.mktemp("hostile") / "index.json"
    index.write_text(json.dumps(entries), encoding="utf-8")
    sandbox = SandboxServer(world_from_index(index, segment_s=2.0), cache_dir=index.parent)
    with sandbox.running():
        yield sandbox


@pytest.fixture
def harvester(server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    server.faults.clear()
    server.log.clear()
    return Commands(server, tmp_path, capsys)


def is_harmless(text: str) -> bool:
    """Nothing that moves a cursor, colours a terminal or reorders a line."""
    return all(unicodedata.category(c)[0] != "C" for c in text.replace("\n", ""))


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [row for file in out.glob("data/*/metadata.parquet") for row in pq.read_table(file).to_pylist()]


class Tags(HTMLParser):
    """The HTML tags of a page, and where its links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links |= {str(value) for name, value in attrs if name in ("href", "src")}


def test_hostile_names_are_harmless_everywhere(harvester: Commands, tmp_path: Path) -> None:
    out = tmp_path / "a" / "b" / "dataset"
    ended = harvester("run", "--top", "10", "--frames", "2", "--out", out, "--json", "-v")
    assert ended.code == 0, ended.err
    assert [entry["total"] for entry in ended.json["categories"].values()] == [2] * len(HOSTILE_NAMES)
    check_paths(out, tmp_path)
    check_names(out)
    check_card(out)
    check_readers(out, tmp_path)
    check_terminal(harvester, ended, out)
    with Image.open(out / ".harvester" / "contact-sheet.jpg") as sheet:
        assert sheet.height > 10 * 135
    assert harvester("verify", "--out", out, "--replay").code == 0


def check_paths(out: Path, tmp_path: Path) -> None:
    """Only what the layout names, nothing outside of it, and nothing that any system cannot hold."""
    beside = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if out not in (path, *path.parents)}
    assert beside == {Path("a"), Path("a/b"), Path("sandbox.toml")}
    inside = {path.name for path in out.iterdir()}
    assert inside - {"tombstones.json"} == {"data", "README.md", "classes.json", ".harvester"}
    folders = {path.name for path in out.glob("data/*/*") if path.is_dir()}
    assert len(folders) == len(HOSTILE_NAMES)
    for folder in folders:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", folder)
        assert len(folder) <= 80
        assert folder not in ("con", "nul", "test")
    assert {path.suffix for path in out.glob("data/*/*/*")} == {".jpg"}


def check_names(out: Path) -> None:
    """The names are still told, as text: in the metadata and the list of classes."""
    labels = {row["label"] for row in rows_of(out)}
    names = {
        name for entry in json.loads((out / "classes.json").read_text())["classes"] for name in entry["names"]
    }
    assert labels == names
    assert {"../../etc", "CON", "🎮✨", "x" * 300} < labels
    assert all(is_harmless(label) for label in labels)
    with closing(sqlite3.connect(out / ".harvester" / "ledger.sqlite3")) as ledger:
        (reports,) = zip(*ledger.execute("SELECT report FROM runs"), strict=True)
    assert all(report.isascii() and is_harmless(report) for report in reports)


def check_card(out: Path) -> None:
    """As a page it has the card's own structure and links, whatever the names say."""
    text = (out / "README.md").read_text(encoding="utf-8")
    assert is_harmless(text)
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(text.split("---\n", 2)[2])
    tags = Tags(page)
    assert not tags.tags & {"script", "img", "a", "b"}, page
    assert not tags.links
    assert page.count("<tr>") == 1 + len(HOSTILE_NAMES) + 1  # heads and sums
    assert "7 * 7" in page.replace("&amp;", "&")


def check_readers(out: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    loaded = load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "cache"))
    assert sum(split.num_rows for split in loaded.values()) == 2 * len(HOSTILE_NAMES)


def check_terminal(harvester: Commands, logged: Ended, out: Path) -> None:
    """Neither the log nor what any command prints can do anything to a terminal."""
    status = harvester("status", "--out", out)
    plan = harvester("plan", "--top", "10", "--out", out)
    again = harvester("run", "--top", "10", "--frames", "2", "--out", out)
    unknown = harvester("run", "--category", HOSTILE_NAMES[4].replace("\x00", "") + "?", "--out", out)
    assert (status.code, plan.code, again.code, unknown.code) == (0, 0, 0, 2)
    for ended in (logged, status, plan, again, unknown):
        for text in (ended.out, ended.err):
            assert is_harmless(text)
            assert "forged: line" not in [line.strip() for line in text.splitlines()]


# -- URLs that lead elsewhere, and bodies that are something else --------------------------------------------------
# 192.0.2.1 is an address for documentation (RFC 5737): a connection to it fails these tests by their audit hook.

ELSEWHERE = "http://192.0.2.1/x"
VARIANT = f'#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=640x360,CODECS="avc1.4D401F"\n{ELSEWHERE}.m3u8\n'
SEGMENTS = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n" + f"#EXTINF:2.0,\n{ELSEWHERE}.ts\n" * 12 + "#EXT-X-ENDLIST\n"
INIT = f'#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI="{ELSEWHERE}.mp4"\n' + "".join(
    f"#EXTINF:2.0,\n{n}.mp4\n" for n in range(12)
)
CLIP = {
    "id": "1",
    "playbackAccessToken": {"signature": "s", "value": "{}"},
    "videoQualities": [{"frameRate": 30, "quality": "360", "sourceURL": f"{ELSEWHERE}.mp4"}],
}


def redirect(path: str, times: int = 0) -> Fault:
    return Fault(path=path, status=302, headers={"Location": f"{ELSEWHERE}?sig=secret"}, body=b"", times=times)


TS, FMP4 = "CON", "🎮✨"  # categories whose VOD comes in the one container and in the other
REFUSED = [
    (TS, "vod", Fault(path="^/vod/", body=VARIANT.encode(), times=0), "host-refused"),
    (TS, "vod", Fault(path=r"\.m3u8$", query="^$", body=SEGMENTS.encode(), times=0), "host-refused"),
    (FMP4, "vod", Fault(path=r"/cdn/.*\.m3u8$", body=INIT.encode(), times=0), "host-refused"),
    (TS, "vod", redirect(r"/cdn/.*\.m3u8$"), "host-refused"),
    (TS, "vod", redirect(r"/cdn/.*\.(ts|mp4)$"), "host-refused"),
    (TS, "vod", redirect("^/vod/"), "broken"),
    (TS, "vod", redirect("^/gql"), "broken"),
    (TS, "clip", redirect(r"/cdn/clips/"), "host-refused"),
    (TS, "clip", Fault(path="^/gql", body=json.dumps({"data": {"clip": CLIP}}).encode(), times=0), "host-refused"),
]


@pytest.mark.parametrize(("category", "kind", "fault", "reason"), REFUSED)
def test_urls_that_lead_to_other_hosts_are_refused(
    harvester: Commands, tmp_path: Path, category: str, kind: str, fault: Fault, reason: str
) -> None:
    out = tmp_path / "dataset"
    harvester.server.inject(fault)
    ended = harvester("run", "--category", category, "--source-type", kind, "--out", out, "--json", "-v")
    assert ended.json["failed"].keys() == {reason}, ended.err
    assert ended.json["kept"] == 0
    assert ended.code == 4
    assert "secret" not in ended.out + ended.err
    assert not rows_of(out)
    assert harvester("verify", "--out", out, "--replay").code == 0


def test_helix_and_the_token_service_cannot_lead_elsewhere_either(harvester: Commands, tmp_path: Path) -> None:
    for path in ("^/helix/", "^/oauth2/"):
        harvester.server.faults.clear()
        harvester.server.inject(redirect(path))
        ended = harvester("run", "--category", TS, "--out", tmp_path / "dataset", "--json")
        assert ended.code == 5
        assert not (tmp_path / "dataset").exists()


@pytest.mark.parametrize("kind", ["vod", "clip"])
def test_a_web_page_in_place_of_media_is_no_picture(harvester: Commands, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "dataset"
    harvester.server.inject(Fault(path=r"/cdn/.*\.(ts|mp4)$", html=True, times=0))
    ended = harvester("run", "--category", TS, "--source-type", kind, "--out", out, "--json")
    assert ended.json["failed"].keys() == {"foreign-body"}
    assert (ended.code, ended.json["kept"]) == (5, 0)  # all of it may pass
    assert not rows_of(out)
