"""What every second shows: borders, ends, gaps, and the same as the sandbox serves."""

from __future__ import annotations

from pathlib import Path

import pytest
from labels.truth import Shown, Stretch, Truth, bin_of, laid_out
from labels.world import (
    SEGMENT_S,
    VOD_KINDS,
    Broadcast,
    broadcasts_of,
    cast_of,
    designs,
    games_named,
    guards_of,
    halved,
    video_of,
)

GAME, CARD = Shown("gameplay", "7"), Shown("idle", design="plain")
TRUTH = Truth({"1": laid_out([(CARD, (11, 12)), (GAME, (13, 14, 15))], 10.0)})


@pytest.mark.parametrize(
    ("offset_s", "shown", "phash"),
    [
        (0.0, CARD, 11),
        (9.9, CARD, 11),
        (10.0, CARD, 12),
        (19.98, CARD, 12),
        (19.995, GAME, 13),  # a time base rounds
        (20.0, GAME, 13),
        (49.9, GAME, 15),
    ],
)
def test_what_stands_at_an_offset(offset_s: float, shown: Shown, phash: int) -> None:
    there = TRUTH.at("1", offset_s)
    assert (there.shown, there.phash) == (shown, phash)


@pytest.mark.parametrize(("source_id", "offset_s"), [("1", 50.1), ("1", -1.0), ("2", 0.0)])
def test_nothing_is_known_outside(source_id: str, offset_s: float) -> None:
    with pytest.raises(LookupError):
        TRUTH.at(source_id, offset_s)


def test_every_segment_has_a_moment() -> None:
    assert [(moment.offset_s, moment.phash) for moment in TRUTH.moments("1")] == [
        (0, 11),
        (10, 12),
        (20, 13),
        (30, 14),
        (40, 15),
    ]


def test_gaps_and_nothings_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing is known at 10"):
        Truth({"1": (Stretch(0, 10, CARD, (1,)), Stretch(20, 10, GAME, (2,)))})
    with pytest.raises(ValueError, match="a stretch of nothing"):
        Stretch(0, 10, CARD, ())
    for kind, game in (("gameplay", ""), ("idle", "7")):
        with pytest.raises(ValueError, match="a game shows"):
            Shown(kind, game)  # type: ignore[arg-type]


def test_bins_are_half_open() -> None:
    assert [bin_of(offset_s) for offset_s in (0, 29.9, 29.995, 30, 60)] == [0, 0, 1, 1, 2]


# -- the world ----------------------------------------------------------------------------------------------------

GAMES = games_named(["Alpha", "Beta", "Gamma"])


def broadcasts() -> list[Broadcast]:
    return [broadcast for one in cast_of(GAMES, "all", 4) for broadcast in broadcasts_of(one)]


def test_the_truth_is_what_the_sandbox_shows(tmp_path: Path) -> None:
    file = tmp_path / "scene.mp4"
    file.write_bytes(b"")
    for broadcast in broadcasts()[: len(VOD_KINDS)]:
        video = video_of(broadcast, [file] * len(broadcast.scenes))
        numbered = [(scene.shown, range(scene.segments)) for scene in broadcast.scenes]
        truth = Truth({broadcast.id: laid_out(numbered, SEGMENT_S)})
        assert video.duration_s == broadcast.length_s
        for moment in truth.moments(broadcast.id):
            piece, second = video.footage_at(moment.offset_s)
            assert broadcast.scenes[video.pieces.index(piece)].shown == moment.shown
            assert second == 2.0 * moment.phash


def test_guard_bands_lie_at_the_ends_of_what_twitch_tells() -> None:
    for broadcast in broadcasts():
        guards, told = guards_of(broadcast), broadcast.chapters
        assert len(guards) == 2 * max(1, len(told))
        assert (guards[0].start_s, guards[-1].end_s) == (0, pytest.approx(broadcast.length_s))
        lengths_s = [chapter.length_s for chapter in told] or [broadcast.length_s]
        for length_s, first, last in zip(lengths_s, guards[::2], guards[1::2], strict=True):
            assert first.length_s == pytest.approx(min(90, length_s / 20))
            assert last.end_s - first.start_s == pytest.approx(length_s)
            assert first.length_s == pytest.approx(last.length_s)


def test_chapters_cover_a_mixed_vod_and_change_late() -> None:
    for broadcast in broadcasts():
        if not broadcast.chapters:
            continue
        assert broadcast.chapters[0].start_s == 0
        ends = [chapter.start_s + chapter.length_s for chapter in broadcast.chapters]
        assert ends[:-1] == pytest.approx([chapter.start_s for chapter in broadcast.chapters[1:]])
        assert ends[-1] == pytest.approx(broadcast.length_s)
        at_s, begins = 0.0, {}
        for scene in broadcast.scenes:
            begins.setdefault(scene.shown.game, at_s)
            at_s += scene.length_s
        for chapter in broadcast.chapters[1:]:
            if chapter.game_id in begins:
                assert 0 <= chapter.start_s - begins[chapter.game_id] <= 100


def test_the_halves_share_nothing_and_miss_nothing() -> None:
    things = [(name, name) for name in "abcdefghijklmno"]
    tuning, reporting = halved(things, "tuning"), halved(things, "reporting")
    assert sorted(tuning + reporting) == sorted(halved(things, "all")) == list("abcdefghijklmno")
    assert len(reporting) - len(tuning) == 1
    cards = {half: {card.name for card in designs(half)[0]} for half in ("tuning", "reporting", "all")}
    assert not cards["tuning"] & cards["reporting"]
    assert len(cards["all"]) == 14
    for half in ("tuning", "reporting"):
        assert {card.motion for card in designs(half)[0]} == {"still", "ticking", "animated"}


def test_cards_recur_over_sources_days_and_categories() -> None:
    for one in cast_of(GAMES, "reporting", 2):
        mine = [vod for vod in broadcasts_of(one) if any(scene.shown.kind == "idle" for scene in vod.scenes)]
        assert {scene.shown.design for vod in mine for scene in vod.scenes if scene.shown.kind == "idle"} == {
            one.card.name
        }
        assert len({vod.listed.id for vod in mine}) == 2
        assert len({vod.age.days for vod in mine}) == len(mine) == 4


def test_some_vods_are_listed_wrongly_and_some_games_are_told_to_nobody() -> None:
    plain = [vod for vod in broadcasts() if not vod.chapters]
    played = [{scene.shown.game for scene in vod.scenes} - {""} for vod in plain]
    wrong = [vod for vod, games in zip(plain, played, strict=True) if vod.listed.id not in games]
    untold = [vod for vod, games in zip(plain, played, strict=True) if len(games) > 1]
    assert wrong
    assert all(vod.told == vod.by.second for vod in wrong)
    assert untold
    assert all(vod.told is None for vod in untold)
