"""What was forgotten stays out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import ForeignDataset
from harvester.store.layout import Layout
from harvester.store.tombstones import Tombstone, Tombstones


@pytest.fixture
def layout(root: Path) -> Layout:
    root.mkdir()
    return Layout(root)


def test_a_tombstone_covers_what_agrees_with_all_its_fields(layout: Layout) -> None:
    stones = Tombstones.open(layout)
    assert not stones.is_forgotten("vod", "1", "2", "3")
    stones = stones.add(Tombstone(source_type="vod", source_id="1"))
    stones = stones.add(Tombstone(broadcaster_id="20", category_id="30"))
    stones = stones.add(Tombstone(category_id="40"))
    for read in (stones, Tombstones.open(layout)):
        assert len(read) == 3
        assert read.is_forgotten("vod", "1", "2", "3")
        assert not read.is_forgotten("clip", "1", "2", "3")
        assert read.is_forgotten("clip", "9", "20", "30")
        assert not read.is_forgotten("clip", "9", "20", "3")
        assert not read.is_forgotten("clip", "9", "2", "30")
        assert read.is_forgotten("vod", "9", "9", "40")
        assert not read.is_forgotten("vod", "40", "40", "9")


def test_the_same_tombstone_is_set_once(layout: Layout) -> None:
    stones = Tombstones.open(layout).add(Tombstone(broadcaster_id="1"))
    assert stones.add(Tombstone(broadcaster_id="1")) is stones
    assert json.loads(layout.tombstones.read_text()) == {"version": 1, "tombstones": [{"broadcaster_id": "1"}]}


@pytest.mark.parametrize("fields", [{}, {"source_id": "1"}, {"source_type": "vod"}])
def test_a_tombstone_names_something(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="nam"):
        Tombstone(**fields)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "damaged"),
        ("[]", "damaged"),
        ('{"version": 1, "tombstones": [{}]}', "damaged"),
        ('{"version": 1, "tombstones": [{"category_id": 5}]}', "damaged"),
        ('{"version": 1, "tombstones": [{"person": "x"}]}', "damaged"),
        ('{"version": 1, "tombstones": ["x"]}', "damaged"),
        ('{"version": 2, "stones": []}', "newer version"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused(layout: Layout, text: str, told: str) -> None:
    layout.tombstones.write_text(text)
    with pytest.raises(ForeignDataset, match=told):
        Tombstones.open(layout)


@given(st.binary(max_size=40))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    layout = Layout(tmp_path_factory.mktemp("stones"))
    layout.tombstones.write_bytes(content)
    with pytest.raises(ForeignDataset):
        Tombstones.open(layout)
