"""The card, and the whole directory, read by the real ``datasets`` library and by ImageFolder's rule."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harvester.model import Category
from harvester.store.card import CardFacts, CategoryCount, card_text, inert, write_card
from harvester.store.classes import ClassEntry
from harvester.store.dataset import Dataset
from tests.unit.store.conftest import CELESTE, HADES, batch_of, jpeg_of, nothing

HOSTILE = [
    "</script><script>alert(1)</script>",
    "| a | b |\n---\n# Title",
    "[click](javascript:x) ![i](//h/x.png) www.example.com https://example.com",
    "`code` *bold* _it_ ~~no~~ <b>&amp; \\",
    "../../etc",
    "🎮 \u202eevil\u200f \x1b[31m",
    "x" * 300,
    "{{ 7 * 7 }} {% raw %}",
]


def facts_of(*names: str, basis: str = "own channels", train: int = 1) -> CardFacts:
    entries = [ClassEntry(n, str(n + 1), f"slug-{n}", name) for n, name in enumerate(names)]
    rows = tuple(CategoryCount(entry, train, 0, 2) for entry in entries)
    return CardFacts("0.1.0", basis, rows, {"vod": train, "clip": 2})


def header_of(text: str) -> dict[str, Any]:
    _, header, _ = text.split("---\n", 2)
    loaded = yaml.safe_load(header)
    assert isinstance(loaded, dict)
    return loaded


def test_the_header_names_the_splits_that_have_images() -> None:
    header = header_of(card_text(facts_of("A")))
    assert header["license"] == "other"
    assert header["configs"] == [
        {
            "config_name": "default",
            "data_files": [
                {"split": "train", "path": "data/train/**"},
                {"split": "test", "path": "data/test/**"},
            ],
        }
    ]
    assert "configs" not in header_of(card_text(facts_of()))


def test_the_card_tells_what_a_reader_must_know() -> None:
    text = card_text(facts_of("Hades II", "Celeste", basis="written permission of the channels"))
    assert "| 0 | Hades II | 1 | slug-0 | 1 | 0 | 2 | 3 |" in text
    assert "| | **all** | | | 2 | 0 | 4 | 6 |" in text
    assert "6 images of 2 categories from vods (1) and clips (2)." in text
    assert "> Ground: written permission of the channels\n" in text
    for told in ("label_id", "per split", "belong to their broadcasters", "faces", "chats", "removed", "biases"):
        assert told in text
    assert "> Ground: not stated" in card_text(facts_of("A", basis=""))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_text(name: str) -> None:
    plain, hostile = card_text(facts_of("Plain", basis="B")), card_text(facts_of(name, basis=name))
    assert header_of(hostile) == header_of(plain)
    assert len(hostile.splitlines()) == len(plain.splitlines())
    row = next(line for line in hostile.splitlines() if line.startswith("| 0 |"))
    assert row.count("|") == 9
    assert "49" not in row
    assert tags(hostile) == []


def tags(text: str) -> list[str]:
    found: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append(tag)

        handle_startendtag = handle_starttag

    Tags().feed(text)
    return found


@given(st.text(max_size=400))
def test_inert_text_is_one_harmless_line_that_shows_the_same(text: str) -> None:
    safe = inert(text)
    assert not set(re.sub(r"&#\d+;", "", safe)) & set('|<>[]`*_~#\\/.@{}"$&+=^\n\r\x1b\u202e')
    assert safe.isprintable()


def test_inert_text_is_readable() -> None:
    assert inert("Baldur's Gate 3: Épée (2023)!") == "Baldur's Gate 3: Épée (2023)!"
    assert inert("a|b") == "a&#124;b"


def test_the_card_is_written_once(root: Path) -> None:
    Dataset.open(root)
    write_card(root, facts_of("A"))
    before = (root / "README.md").stat().st_ino
    write_card(root, facts_of("A"))
    assert (root / "README.md").stat().st_ino == before
    write_card(root, facts_of("A", train=2))
    assert (root / "README.md").read_text(encoding="utf-8") == card_text(facts_of("A", train=2))
    assert sorted(p.name for p in root.iterdir()) == [".harvester", "README.md", "classes.json", "tombstones.json"]


#: Words that dataset readers take for splits when they stand in a path.
TEST_DRIVE = Category("3", "Test Drive: Train Dev 2")


def published(root: Path, splits: tuple[str, ...]) -> Dataset:
    dataset = Dataset.open(root)
    wanted = [
        (category, split, seed)
        for seed, (category, split) in enumerate((c, s) for s in splits for c in (HADES, CELESTE, TEST_DRIVE))
    ]
    dataset.publish(batch_of(dataset, *wanted), nothing)  # type: ignore[arg-type]
    write_card(root, dataset.card_facts("0.1.0", "own channels"))
    return dataset


@pytest.mark.parametrize("splits", [("train", "validation", "test"), ("train",), ("train", "test")])
@pytest.mark.parametrize("way", ["imagefolder", "directory"])
def test_the_datasets_library_opens_it(
    root: Path, tmp_path: Path, splits: tuple[str, ...], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = published(root, splits)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()
    cache = str(tmp_path / "cache")
    if way == "imagefolder":
        loaded = datasets.load_dataset("imagefolder", data_dir=str(root), cache_dir=cache)
    else:
        loaded = datasets.load_dataset(str(root), cache_dir=cache)
    assert list(loaded) == list(splits)
    rows = {(row["split"], row["phash"]): row for split in loaded for row in loaded[split]}
    assert len(rows) == len(dataset) == sum(loaded[split].num_rows for split in loaded)
    for frame in dataset.frames():
        row = rows[frame.split, frame.phash]
        assert row["image"].size == (16, 8)
        assert (row["label"], row["label_id"]) == (frame.label, frame.label_id)
        assert row["offset_s"] == frame.offset_s
        assert row["streamed_at"] == frame.streamed_at


def test_image_folder_finds_every_image_under_its_class(root: Path) -> None:
    dataset = published(root, ("train", "test"))
    folder = root / "data" / "train"
    # torchvision's rule: classes are the sorted folders; each must hold at least one file with an image's suffix.
    classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    samples = [
        (os.path.join(path, name), number)
        for number, target in enumerate(classes)
        for path, _, names in sorted(os.walk(folder / target))
        for name in sorted(names)
        if name.lower().endswith((".jpg", ".jpeg", ".png"))
    ]
    assert {number for _, number in samples} == set(range(len(classes)))
    slugs = {dataset.classes[f.label_id].slug for f in dataset.frames() if f.split == "train"}
    assert set(classes) == slugs
    assert len(samples) == 3
    assert Path(samples[0][0]).read_bytes() in {jpeg_of(seed) for seed in range(6)}
