"""Labels, slugs and splits never change."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.errors import ForeignDataset, MachineError
from harvester.model import SPLITS, Category
from harvester.store.classes import ClassEntry, Classes, SplitRule, holds_dataset
from harvester.store.layout import Layout, is_file_name
from tests.unit.store.conftest import DiskSteps, Killed


@pytest.fixture
def layout(root: Path) -> Layout:
    root.mkdir()
    return Layout(root)


def test_first_come_first_numbered_and_frozen(layout: Layout) -> None:
    classes = Classes.create(layout)
    assert classes.register(Category("509658", "Hades II")) == ClassEntry(0, "509658", "hades-ii", "Hades II")
    assert classes.register(Category("493036", "Pokémon: Écarlate")).slug == "pokemon-ecarlate"
    assert classes.register(Category("509658", "Hades 2")) == ClassEntry(0, "509658", "hades-ii", "Hades 2")

    again = Classes.load(layout)
    assert list(again) == list(classes)
    assert [entry.label_id for entry in again] == [0, 1]
    assert again.find("493036") == again[1]
    assert again.find("1") is None
    assert len(again) == 2
    stored = json.loads(layout.classes.read_text(encoding="utf-8"))
    assert stored == {
        "format": 1,
        "split": {"salt": "split:", "fractions": {"train": 0.8, "validation": 0.1, "test": 0.1}},
        "classes": [
            {"label_id": 0, "category_id": "509658", "slug": "hades-ii", "names": ["Hades II", "Hades 2"]},
            {"label_id": 1, "category_id": "493036", "slug": "pokemon-ecarlate", "names": ["Pokémon: Écarlate"]},
        ],
    }


def test_a_category_is_known_by_every_name_it_had(layout: Layout) -> None:
    classes = Classes.create(layout)
    classes.register(Category("1", "Hades II"))
    classes.register(Category("2", "Celeste"))
    classes.register(Category("1", "Hades 2"))
    classes.register_other()
    assert [classes.named(name) for name in ("hades ii", "Hades 2", "Celeste", "Hades", "_other")] == [
        *("1", "1", "2"),
        *(None, None),
    ]
    classes.register(Category("2", "Hades II"))  # of two that had it, nobody knows which is meant
    assert classes.named("Hades II") is None
    classes.forget("1")
    assert classes.named("Hades 2") is None


def test_all_that_is_no_game_is_one_class_of_no_category(layout: Layout) -> None:
    classes = Classes.create(layout)
    classes.register(Category("1", "_other"))  # a game of that name stays one
    other = classes.register_other()
    assert other == classes.register_other() == ClassEntry(1, "", "_other", "_other")
    assert classes.register(Category("509658", "Just Chatting")).label_id == 2
    again = Classes.load(layout)
    assert [(entry.label_id, entry.slug) for entry in again] == [(0, "other"), (1, "_other"), (2, "just-chatting")]
    assert again.register_other() == other
    assert is_file_name("_other/vod-1-000000000.jpg")
    assert not is_file_name("_mine/vod-1-000000000.jpg")


@pytest.mark.parametrize(("category_id", "slug"), [("", "hades"), ("5", "_other"), ("", "_mine")])
def test_only_that_class_is_of_no_category(layout: Layout, category_id: str, slug: str) -> None:
    Classes.create(layout).register(Category("1", "A"))
    stored = json.loads(layout.classes.read_text())
    stored["classes"][0] |= {"category_id": category_id, "slug": slug}
    layout.classes.write_text(json.dumps(stored))
    with pytest.raises(ForeignDataset, match="damaged"):
        Classes.load(layout)


def test_alternating_names_do_not_grow_the_history(layout: Layout) -> None:
    classes = Classes.create(layout)
    for name in ("A", "B", "A", "B", "A"):
        classes.register(Category("1", name))
    assert json.loads(layout.classes.read_text())["classes"][0]["names"] == ["B", "A"]
    assert classes[0].name == "A"


def test_nothing_is_written_when_nothing_changes(layout: Layout) -> None:
    classes = Classes.create(layout)
    classes.register(Category("1", "A"))
    before = layout.classes.stat().st_ino
    classes.register(Category("1", "A"))
    classes.register(Category("1", "A\u200b"))  # the same once it is printable
    assert layout.classes.stat().st_ino == before


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("../../etc", "etc"),
        ("CON", "con-9"),
        ("nul.", "nul-9"),
        ("COM¹", "com1-9"),
        ("Lpt7", "lpt7-9"),
        ("🎮🎲", "category-9"),
        ("\u202e\u200f", "category-9"),
        ("ゼルダの伝説", "category-9"),
        ("Test Drive Unlimited", "category-9"),
        ("Game Dev Story", "category-9"),
        ("Train2Game", "category-9"),
        ("Trainz: Testament of Devils", "trainz-testament-of-devils"),
        ("\u202eabc", "abc"),
        ("</script>", "script"),
        ("a" * 300, "a" * 60),
        ("x\x1b[2Jy", "x-2jy"),
        ("--Tom Clancy's: R6 ", "tom-clancy-s-r6"),
        ("half \ud800 surrogate", "half-surrogate"),
    ],
)
def test_slugs_are_safe(layout: Layout, name: str, slug: str) -> None:
    classes = Classes.create(layout)
    assert classes.register(Category("9", name)).slug == slug
    assert Classes.load(layout)[0].slug == slug
    assert Classes.load(layout)[0].name.isprintable()


def test_a_taken_slug_gets_the_id(layout: Layout) -> None:
    classes = Classes.create(layout)
    names = [("1", "Prey"), ("2", "PREY!"), ("4", "Prey 3"), ("3", "prey"), ("77", "Category 78"), ("78", "。")]
    slugs = [classes.register(Category(number, name)).slug for number, name in names]
    assert slugs == ["prey", "prey-2", "prey-3", "category-3", "category-78", "category-78-78"]


@settings(max_examples=25)
@given(st.lists(st.text(min_size=1, max_size=80), max_size=12))
def test_whatever_the_names_slugs_are_unique_safe_and_stable(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    layout = Layout(tmp_path_factory.mktemp("classes"))
    classes = Classes.create(layout)
    entries = [classes.register(Category(str(n), name)) for n, name in enumerate(names)]
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.slug) for entry in entries)
    assert len({entry.slug for entry in entries}) == len(entries)
    assert list(Classes.load(layout)) == entries
    assert all(entry.name and entry.name.isprintable() for entry in entries)


def test_splits_follow_the_formula_of_the_contract(layout: Layout) -> None:
    classes = Classes.create(layout)
    seen = []
    for number in range(2000):
        digest = hashlib.sha256(f"split:{number}".encode()).hexdigest()[:16]
        share = int(digest, 16) / 2**64
        expected = "train" if share < 0.8 else "validation" if share < 0.9 else "test"
        assert classes.split_of(str(number)) == expected
        seen.append(expected)
    assert seen.count("train") == pytest.approx(1600, abs=60)
    # By the program sha256sum: 3df9..., cccc..., e664..., e667...; the bounds are cccc... and e666...
    near = [classes.split_of(number) for number in ("141981764", "12865", "27908", "25987")]
    assert near == ["train", "validation", "validation", "test"]


def test_splits_come_from_the_file_not_from_the_program(layout: Layout) -> None:
    Classes.create(layout)
    text = layout.classes.read_text()
    layout.classes.write_text(text.replace('"split:"', '"other:"').replace("0.8", "0.5").replace("0.1", "0.25"))
    rule = SplitRule(salt="other:", fractions={"train": 0.5, "validation": 0.25, "test": 0.25})
    ours = [Classes.load(layout).split_of(str(n)) for n in range(200)]
    assert ours == [rule.split_of(str(n)) for n in range(200)]
    assert ours != [SplitRule().split_of(str(n)) for n in range(200)]
    assert set(ours) == set(SPLITS)


_GOOD = {
    "format": 1,
    "split": {"salt": "split:", "fractions": {"train": 0.8, "validation": 0.1, "test": 0.1}},
    "classes": [{"label_id": 0, "category_id": "1", "slug": "a", "names": ["A"]}],
}
_CLASS = {"label_id": 1, "category_id": "2", "slug": "b", "names": ["B"]}


@pytest.mark.parametrize(
    "change",
    [
        {"format": "1"},
        {"format": True},
        {"format": None},
        {"split": {"salt": "split:", "fractions": {"train": 0.8, "validation": 0.1, "test": 0.3}}},
        {"split": {"salt": "split:", "fractions": {"test": 0.8, "validation": 0.1, "train": 0.1}}},
        {"classes": [_CLASS]},
        {"classes": [*_GOOD["classes"], _CLASS | {"slug": "../../etc"}]},  # type: ignore[misc]
        {"classes": [*_GOOD["classes"], _CLASS | {"slug": "a"}]},  # type: ignore[misc]
        {"classes": [*_GOOD["classes"], _CLASS | {"category_id": "1"}]},  # type: ignore[misc]
        {"classes": [*_GOOD["classes"], _CLASS | {"category_id": "x"}]},  # type: ignore[misc]
        {"classes": [*_GOOD["classes"], _CLASS | {"names": []}]},  # type: ignore[misc]
        {"classes": [*_GOOD["classes"], _CLASS | {"label_id": 5}]},  # type: ignore[misc]
        {"classes": {}},
        {"more": 1},
    ],
)
def test_a_damaged_file_is_refused(layout: Layout, change: dict[str, object]) -> None:
    layout.classes.write_text(json.dumps(_GOOD))
    assert len(Classes.load(layout)) == 1
    layout.classes.write_text(json.dumps(_GOOD | change))
    with pytest.raises(ForeignDataset, match="damaged"):
        Classes.load(layout)


def test_the_format_of_a_newer_version_is_told_apart(layout: Layout) -> None:
    layout.classes.write_text(json.dumps({"format": 2, "what": "ever"}))
    with pytest.raises(ForeignDataset, match="newer version"):
        holds_dataset(layout.root)


@settings(max_examples=60)
@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr).map(str.encode)
)
def test_any_bytes_are_ours_or_foreign(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.mktemp("any")
    (root / "classes.json").write_bytes(content)
    with pytest.raises(ForeignDataset):
        holds_dataset(root)


def test_deeply_nested_json_is_foreign(layout: Layout) -> None:
    layout.classes.write_text("[" * 200_000)
    with pytest.raises(ForeignDataset):
        Classes.load(layout)


def test_a_registration_is_whole_or_absent(layout: Layout, disk_steps: DiskSteps) -> None:
    classes = Classes.create(layout)
    classes.register(Category("1", "A"))
    steps = disk_steps.run(lambda: classes.register(Category("2", "B")))
    assert steps >= 3
    for k in range(1, steps + 1):
        before = list(Classes.load(layout))
        with pytest.raises(Killed):
            disk_steps.run(lambda: Classes.load(layout).register(Category("3", "C")), k)
        after = list(Classes.load(layout))
        assert after == before or [entry.category_id for entry in after] == ["1", "2", "3"]


def test_a_full_disk_leaves_the_classes_as_they_were(layout: Layout, disk_steps: DiskSteps) -> None:
    classes = Classes.create(layout)
    disk_steps.error = lambda: OSError(28, "No space left on device")
    with pytest.raises(MachineError):
        disk_steps.run(lambda: classes.register(Category("2", "B")), 1)
    assert len(classes) == 0
    assert classes.register(Category("3", "C")).label_id == 0
