"""What has left, in the ledger: barriers over literal sightings, the books, and the replay that repeats them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from harvester.config import Filter, Sample
from harvester.model import (
    Category,
    Chapter,
    Clip,
    Label,
    LabelledSpan,
    Measurement,
    Rank,
    Source,
    Span,
    Variogram,
    Vod,
    VodType,
)
from harvester.sampling.labels import Evidence
from harvester.sampling.looks import WIDTH, Glance
from harvester.sampling.plan import Opened, Wish, first_part, plan_visits
from harvester.sampling.scene import Scene
from harvester.store.barrier import leaving
from harvester.store.ledger import Ledger
from harvester.store.records import Outcome
from harvester.store.verify import rejudged, replay, rules_record
from harvester.vision.caps import Origin
from harvester.vision.fold import CategoryFold, Rules
from harvester.vision.hamming import HashIndex
from harvester.vision.measure import measure, pack, thumbnail
from tests.unit.vision.conftest import gray_picture

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SAMPLE = Sample(round_size=2, max_per_vod=5)
RULES = Rules(Filter(), 6)


def picture(seed: int, noise: int = 0) -> Measurement:
    luma = np.kron(np.random.default_rng(seed).integers(30, 220, (9, 16)), np.ones((8, 8)))
    luma += np.random.default_rng(noise).integers(0, 3, luma.shape) if noise else 0
    return measure(gray_picture(luma.astype(np.uint8)))


class Books:
    """A ledger that decides what it is shown, by the fold."""

    def __init__(self, path: Path | None = None, rules: Rules = RULES) -> None:
        self.ledger = Ledger(path)
        self.rules = rules
        self.ledger.begin_run("run", NOW, rules_record(rules))
        self.folds: dict[str, CategoryFold] = {}

    def vod(
        self,
        number: int,
        category: str,
        broadcaster: str,
        day: int = 0,
        sure: float = 0.9,
        evidence: Evidence | None = None,
    ) -> Source:
        made = NOW - timedelta(days=day)
        source = Vod(str(number), category, broadcaster, "ann", "t", made, 600, VodType.ARCHIVE, "en", 5)
        pass_id = self.ledger.new_pass_id()
        visits = plan_visits(pass_id, [Wish(source)], SAMPLE)
        times = {"opened_at": NOW, "planned_at": NOW}
        self.ledger.commit_pass(pass_id, category, "all", **times, listing={}, visits=visits)
        spans = (LabelledSpan(Span(0, 600), category, Label("chapter", sure)),)
        part = replace(first_part(source, SAMPLE), opened=Opened(Span(0, 600), 5, True, spans))
        self.ledger.remember_opened(source, [part], evidence or Evidence(category))
        return source

    def list(self, clip: Clip) -> None:
        pass_id = self.ledger.new_pass_id()
        visits = plan_visits(pass_id, [Wish(clip)], SAMPLE)
        times = {"opened_at": NOW, "planned_at": NOW}
        self.ledger.commit_pass(pass_id, clip.category_id, "all", **times, listing={}, visits=visits)

    def show(self, source: Source, shown: Measurement, k: int = 0) -> Outcome:
        fold = self.folds.setdefault(source.category_id, CategoryFold(self.rules, HashIndex()))
        fold.left = self.ledger.left_of(source.category_id)
        seq = self.ledger.next_seq()
        decided = fold.decide(seq, Origin.of(source), shown)
        kept = decided.verdict.kept
        outcome = Outcome(
            seq,
            "run",
            source.category_id,
            Rank(1, 0, 0, 0, seq),
            source.kind,
            source.id,
            source.broadcaster_id,
            k,
            "kept" if kept else "dropped",
            decided.verdict.reason,
            NOW,
            offset_s=10.0 * k,
            phash=decided.phash,
            near_key=decided.near_key,
            near_distance=decided.near_distance,
            measurement=pack(shown),
            file_name=f"game-{source.category_id}/{source.id}-{k}.jpg" if kept else None,
        )
        self.ledger.commit([outcome])
        return outcome

    def barrier(self) -> dict[int, str]:
        barrier = self.ledger.next_barrier()
        assert barrier is not None
        reasons = leaving(self.ledger, barrier, self.rules)
        self.ledger.commit_barrier(barrier, "run", NOW, reasons)
        return reasons


def card_in_three(books: Books) -> list[Outcome]:
    return [books.show(books.vod(n, "1", "9", day=n), picture(1, noise=n)) for n in range(3)]


def break_in_a_game(books: Books) -> list[Outcome]:
    """Eight moments of a game, 30 s apart, with a card of 60 s among them."""
    source = books.vod(1, "1", "9")
    shown = [picture(n) for n in range(10, 14)] + [picture(1, noise=n) for n in range(1, 4)] + [picture(15)]
    return [books.show(source, one, 3 * k) for k, one in enumerate(shown)]


def scene_of(shown: Measurement) -> Scene:
    """That picture as a storyboard shows it, all of it standing."""
    gray = (thumbnail(shown).astype(int) - 16) * 255 // 219
    return Scene(np.repeat(gray.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2), np.ones((18, 32), np.bool_))


CARD = scene_of(picture(1))


def known_card(books: Books, scenes: tuple[Scene, ...] = (CARD,), category: str = "1") -> Outcome:
    """A VOD that gives a frame of its game and knows a card, then another one with that card among its moments."""
    books.show(books.vod(1, category, "9", evidence=Evidence(category, scenes=scenes)), picture(20))
    second = books.vod(2, category, "9", day=1)
    card, *_ = [books.show(second, picture(n), k) for k, n in enumerate((1, 21, 22))]
    return card


def test_what_a_storyboard_of_the_broadcaster_shows_unplayed_leaves(tmp_path: Path) -> None:
    books = Books(tmp_path / "ledger.sqlite3")
    card = known_card(books)
    assert books.barrier() == {card.seq: "idle"}
    books.ledger.commit_left(NOW)
    assert list(replay(books.ledger)) == []
    known_card(without := Books(), scenes=())
    assert without.barrier() == {}


def test_a_known_scene_that_the_rest_of_a_vod_goes_on_with_is_a_board_and_stays() -> None:
    blocks = np.random.default_rng(1).integers(30, 220, (9, 16))
    boards = []
    for k in range(6):
        blocks[2 * (k % 3) + 1 :] = np.random.default_rng(60 + k).integers(30, 220, (8 - 2 * (k % 3), 16))
        boards.append(measure(gray_picture(np.kron(blocks, np.ones((8, 8))).astype(np.uint8))))
    for rules, leaves in ((RULES, False), (replace(RULES, apart=False), True)):
        books = Books(rules=rules)
        books.show(books.vod(1, "1", "9", evidence=Evidence("1", scenes=(scene_of(boards[0]),))), picture(20))
        second = books.vod(2, "1", "9", day=1)
        first, *_ = [books.show(second, board, k) for k, board in enumerate(boards)]
        assert books.barrier() == ({first.seq: "idle"} if leaves else {})


@pytest.mark.parametrize("telling", [True, False])
def test_a_dark_picture_is_no_dark_card_and_earlier_runs_are_repeated(tmp_path: Path, telling: bool) -> None:
    """A card with a title on black, and space with ships elsewhere, both mostly one colour."""

    def lit(row: int, seed: int) -> Measurement:
        luma = np.full((72, 128), 30, np.uint8)
        luma[row : row + 8, 16:112] = np.random.default_rng(seed).integers(90, 250, (8, 96))
        return measure(gray_picture(luma))

    books = Books(tmp_path / "ledger.sqlite3", replace(RULES, telling=telling))
    card = scene_of(lit(16, 1))
    books.show(books.vod(1, "1", "9", evidence=Evidence("1", scenes=(card,))), picture(20))
    second = books.vod(2, "1", "9", day=1)
    space, title, *_ = [
        books.show(second, one, k) for k, one in enumerate((lit(56, 2), lit(16, 1), *map(picture, range(30, 34))))
    ]
    assert space.verdict == title.verdict == "kept"
    assert set(books.barrier()) == ({title.seq} if telling else {title.seq, space.seq})
    books.ledger.commit_left(NOW)
    assert list(replay(books.ledger)) == []


def test_with_idle_off_and_in_no_game_known_scenes_stay() -> None:
    known_card(off := Books(rules=Rules(Filter(idle="off"), 6)))
    assert off.barrier() == {}
    known_card(talks := Books(), category="509658")
    assert talks.barrier() == {}


def test_what_a_vod_is_mostly_about_stays_though_it_is_a_known_scene() -> None:
    books = Books()
    books.show(books.vod(1, "1", "9", evidence=Evidence("1", scenes=(CARD,))), picture(20))
    second = books.vod(2, "1", "9", day=1)
    for k, noise in enumerate((0, 1, 2)):
        books.show(second, picture(1, noise), k)
    books.show(second, picture(21), 3)
    assert books.barrier() == {}


def lone_clips(books: Books, broadcaster: str, *shown: Measurement, category: str = "1") -> list[Outcome]:
    """One frame of a clip each, of VODs that were never opened."""
    outcomes = []
    for n, one in enumerate(shown):
        gone = None if n % 2 else f"9{n}"
        clip = Clip(
            f"{broadcaster}-{category}-{n}", category, broadcaster, "ann", "t", NOW, 30, "en", 5, gone, None
        )
        books.list(clip)
        outcomes.append(books.show(clip, one))
    return outcomes


def knowing_books(path: Path | None = None, rules: Rules = RULES) -> Books:
    """A VOD of broadcaster 9 was played, and knows a card."""
    books = Books(path, rules)
    books.show(books.vod(1, "1", "9", evidence=Evidence("1", scenes=(CARD,))), picture(20))
    return books


@pytest.mark.parametrize("others", [1, 2])
def test_clips_alone_that_show_a_known_scene_leave_unless_most_clips_do(tmp_path: Path, others: int) -> None:
    books = knowing_books(tmp_path / "ledger.sqlite3")
    card, again, *_ = lone_clips(books, "9", picture(1), picture(1, 3), *(picture(40 + n) for n in range(others)))
    assert (card.verdict, again.reason) == ("kept", "duplicate")
    assert books.barrier() == ({card.seq: "idle"} if others == 2 else {})
    books.ledger.commit_left(NOW)
    assert list(replay(books.ledger)) == []


def test_clips_of_another_game_do_not_make_a_scene_the_exception() -> None:
    books = knowing_books()
    lone_clips(books, "9", picture(1))
    lone_clips(books, "9", *(picture(40 + n) for n in range(4)), category="2")
    assert books.barrier() == {}


def test_a_known_scene_in_one_of_anothers_clips_is_not_what_others_play() -> None:
    for theirs, played in (((1, 50, 51), False), ((1, 1, 50), True)):
        books = knowing_books()
        card, *_ = lone_clips(books, "9", picture(1), picture(40), picture(41))
        lone_clips(books, "8", *(picture(seed, n) for n, seed in enumerate(theirs)))
        assert books.barrier() == ({} if played else {card.seq: "idle"})


def test_runs_that_took_a_clip_alone_for_a_vod_are_repeated_so(tmp_path: Path) -> None:
    books = knowing_books(tmp_path / "ledger.sqlite3", replace(RULES, placed=False))
    lone_clips(books, "9", picture(1), picture(40), picture(41))
    assert books.barrier() == {}
    assert list(replay(books.ledger)) == []


@pytest.mark.parametrize(("games", "played"), [(1, True), (2, False)])
def test_a_scene_that_fills_most_of_anothers_vod_is_a_game(games: int, played: bool) -> None:
    books = Books()
    card = known_card(books)
    other = books.vod(3, "1", "8")
    pictures = [picture(1, 3), picture(1, 4), *(picture(31 + n) for n in range(games))]
    shown = [books.show(other, one, k) for k, one in enumerate(pictures)]
    assert [outcome.reason for outcome in shown] == ["duplicate", "duplicate", *[""] * games]
    assert books.barrier() == ({} if played else {card.seq: "idle"})


def test_what_stands_still_apart_from_its_game_leaves(tmp_path: Path) -> None:
    books = Books(tmp_path / "ledger.sqlite3")
    shown = break_in_a_game(books)
    assert [outcome.verdict for outcome in shown].count("kept") == 6
    assert books.barrier() == {shown[4].seq: "idle"}
    books.ledger.commit_left(NOW)
    again = books.show(books.vod(7, "1", "5"), picture(1, noise=9))
    assert (again.verdict, again.reason) == ("dropped", "idle")
    assert books.barrier() == {}
    assert list(replay(books.ledger)) == []


def test_idle_scenes_that_other_broadcasters_show_too_are_the_games_own() -> None:
    books = Books()
    shown = break_in_a_game(books)
    assert shown[4].verdict == "kept"
    books.show(books.vod(8, "1", "5"), picture(1, noise=8))
    assert books.barrier() == {}


def test_clips_are_no_moments_of_the_vod_that_is_mostly_a_card() -> None:
    books = Books()
    source = books.vod(1, "1", "9")
    for k, one in enumerate([*map(picture, range(10, 13)), *(picture(1, noise=n) for n in range(1, 5))]):
        books.show(source, one, 3 * k)
    clip = Clip("Game", "2", "9", "ann", "t", NOW, 30, "en", 5)
    for k in range(5):
        books.show(clip, picture(30 + k), k)
    assert books.barrier() == {}


PLAYED, OTHERS = Category("1", "Game"), Category("2", "Other")
CHAPTERS = (Chapter(Span(0, 300), PLAYED), Chapter(Span(300, 600), OTHERS))
UNLIKE = ((Span(400, 450), "1"), (Span(450, 500), "2"))
LOOKED_AT = Evidence("1", CHAPTERS, idle=(Span(100, 200),), doubted=(Span(250, 300),), unlike=UNLIKE)


@pytest.mark.parametrize(
    ("category", "cut_at_s", "reason"),
    [
        ("1", 60.0, None),
        ("1", 98.0, "idle"),  # its frame lies 10 s later, in the stretch
        ("1", 195.0, None),  # and there behind it
        ("1", 245.0, "other-game"),
        ("2", 245.0, None),  # the clip knew better than the chapter
        ("1", 410.0, "idle"),
        ("2", 410.0, None),  # it is another game that most of the VOD is unlike there
        ("2", 460.0, "idle"),
        ("1", None, None),
    ],
)
def test_a_clip_of_what_its_vods_storyboard_shows_unplayed_or_otherwise_leaves(
    tmp_path: Path, category: str, cut_at_s: float | None, reason: str | None
) -> None:
    books = Books(tmp_path / "ledger.sqlite3")
    clip = Clip("Game", category, "9", "ann", "t", NOW, 30, "en", 5, "1", cut_at_s)
    books.list(clip)
    kept = books.show(clip, picture(30), 1)
    assert books.barrier() == {}  # nobody has looked at the VOD yet
    books.show(books.vod(1, "1", "9", evidence=LOOKED_AT), picture(31))
    expected = {} if reason is None else {kept.seq: reason}
    assert books.barrier() == expected
    books.ledger.commit_left(NOW)
    assert list(replay(books.ledger)) == []


@pytest.mark.parametrize("rules", [Rules(Filter(idle="off"), 6), replace(RULES, placed=False)])
def test_such_clips_stay_where_rules_know_nothing_of_it(rules: Rules) -> None:
    books = Books(rules=rules)
    clip = Clip("Game", "1", "9", "ann", "t", NOW, 30, "en", 5, "1", 98.0)
    books.list(clip)
    books.show(clip, picture(30), 1)
    books.show(books.vod(1, "1", "9", evidence=LOOKED_AT), picture(31))
    assert books.barrier() == {}


def a_game_and_a_break(
    books: Books, evidence: Evidence | None = None, pause: Callable[[int], Measurement] | None = None
) -> list[Outcome]:
    """Twelve pictures of a game with a frame around it, four of a ``pause``, twelve of the game, 20 s apart."""
    source, away = books.vod(1, "1", "9", evidence=evidence), pause or unlike
    shown = {k: books.show(source, away(k) if k in range(12, 16) else framed(k), 2 * k) for k in by_rank(28)}
    return [shown[k] for k in sorted(shown)]


def by_rank(count: int) -> list[int]:
    """Moments are looked at in an order that spreads."""
    return sorted(range(count), key=lambda k: k * 5 % count)


def framed(seed: int) -> Measurement:
    luma = np.kron(np.random.default_rng(99).integers(30, 120, (9, 16)), np.ones((8, 8)))
    inner = np.random.default_rng(seed).integers(30, 120, (5, 12))
    luma[16:56, 16:112] = np.kron(inner, np.ones((8, 8)))
    return measure(gray_picture(luma.astype(np.uint8)))


def unlike(seed: int) -> Measurement:
    luma = np.kron(np.random.default_rng(500 + seed).integers(150, 250, (9, 16)), np.ones((8, 8)))
    return measure(gray_picture(luma.astype(np.uint8)))


def test_what_stands_out_among_the_pictures_of_a_vod_without_storyboard_leaves(tmp_path: Path) -> None:
    books = Books(tmp_path / "ledger.sqlite3")
    shown = a_game_and_a_break(books)
    left = books.barrier()
    assert {shown[k].seq for k in (13, 14)} <= left.keys() <= {shown[k].seq for k in range(11, 17)}
    assert set(left.values()) == {"idle"}
    books.ledger.commit_left(NOW)
    assert list(replay(books.ledger)) == []


@pytest.mark.parametrize("known", [True, False])
def test_a_picture_of_another_texture_stands_out_sooner(known: bool) -> None:
    def pause(seed: int) -> Measurement:
        """A picture of the game whose frame is another above, and that is half as smooth where that was measured."""
        one = framed(seed)
        tile_sums = one.tile_sums.copy()
        tile_sums[:2] = unlike(seed).tile_sums[:2]
        near, far = one.variogram or (0, 0)
        return replace(one, tile_sums=tile_sums, variogram=Variogram(near, far // 2) if known else None)

    books = Books()
    shown = a_game_and_a_break(books, pause=pause)
    left = books.barrier().keys()
    assert left >= {shown[k].seq for k in (13, 14)} if known else not left


def test_runs_that_compared_no_pictures_are_repeated_so(tmp_path: Path) -> None:
    books = Books(tmp_path / "ledger.sqlite3", replace(RULES, unlike=False))
    a_game_and_a_break(books)
    assert books.barrier() == {}
    assert list(replay(books.ledger)) == []


@pytest.mark.parametrize("why", ["looked-at", "few", "off", "older", "no-game"])
def test_it_stays_where_nothing_can_be_told_or_was_told_before(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    rules = {"off": Rules(Filter(idle="off"), 6), "older": replace(RULES, unlike=False)}.get(why, RULES)
    glance = Glance((0.0,), np.zeros((1, WIDTH), np.int8))
    if why == "few":
        monkeypatch.setattr("harvester.store.barrier.LEAST_SEEN", 29)
    if why == "no-game":
        monkeypatch.setattr("harvester.store.barrier.NON_GAMES", {"1"})
    books = Books(rules=rules)
    a_game_and_a_break(books, Evidence("1", glance=glance) if why == "looked-at" else None)
    assert books.barrier() == {}


def test_idle_scenes_stay_if_the_filter_is_off() -> None:
    books = Books()
    break_in_a_game(books)
    barrier = books.ledger.next_barrier()
    assert barrier is not None
    assert leaving(books.ledger, barrier, replace(RULES, filter=Filter(idle="off"))) == {}
    assert leaving(books.ledger, barrier, RULES)


def test_what_runs_decided_before_a_filter_existed_is_repeated_without_it(tmp_path: Path) -> None:
    books = Books(
        tmp_path / "ledger.sqlite3", rules=replace(RULES, filter=Filter(detail_share=0, lit_share=1, idle="off"))
    )
    bare = np.full((90, 160), 60, np.uint8)
    bare[:, 80:] = 70
    break_in_a_game(books)
    assert books.show(books.vod(2, "1", "5"), measure(gray_picture(bare))).verdict == "kept"
    dots = np.full((90, 160), 16, np.uint8)
    dots[2::10, 2::10] = 200
    assert books.show(books.vod(3, "1", "6"), measure(gray_picture(dots))).reason == "black"
    assert books.barrier() == {}
    books.ledger.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as database:
        database.execute(
            "UPDATE runs SET rules = json_remove(rules, '$.filter.detail_share', '$.filter.lit_share',"
            " '$.filter.idle')"
        )
    database.close()
    assert list(replay(Ledger(tmp_path / "ledger.sqlite3"))) == []


def test_what_left_before_cards_had_to_stand_apart_is_repeated_so(tmp_path: Path) -> None:
    """A game that stands still, in three VODs: nothing of it leaves any more."""
    books = Books(tmp_path / "ledger.sqlite3", rules=replace(RULES, apart=False))
    for n in range(3):
        source = books.vod(n, "1", "9", day=n)
        for k, rows in enumerate((1, 1, 5, 6)):
            blocks = np.random.default_rng(1).integers(30, 220, (9, 16))
            blocks[:rows] = np.random.default_rng(9 + 4 * n + k).integers(30, 220, (rows, 16))
            board = np.kron(blocks, np.ones((10, 10)))
            books.show(source, measure(gray_picture(board.astype(np.uint8))), k)
    barrier = books.ledger.next_barrier()
    assert barrier is not None
    assert leaving(books.ledger, barrier, RULES) == {}
    assert set(books.barrier().values()) == {"recurring"}
    books.ledger.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as database:
        database.execute("UPDATE runs SET rules = json_remove(rules, '$.apart')")
    database.close()
    assert list(replay(Ledger(tmp_path / "ledger.sqlite3"))) == []


def test_what_runs_kept_before_blur_was_told_is_repeated_so_and_judged_anew(tmp_path: Path) -> None:
    books = Books(tmp_path / "ledger.sqlite3", rules=replace(RULES, filter=Filter(blur=1)))
    blocks = np.kron(np.random.default_rng(1).integers(30, 220, (9, 16)), np.ones((10, 10)))
    soft = cv2.GaussianBlur(blocks, (0, 0), 6)
    assert books.show(books.vod(2, "1", "5"), measure(gray_picture(soft.astype(np.uint8)))).verdict == "kept"
    before = replace(measure(gray_picture(soft.T.astype(np.uint8))), variogram=None)
    assert books.show(books.vod(3, "1", "6"), before).verdict == "kept"
    books.ledger.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as database:
        database.execute("UPDATE runs SET rules = json_remove(rules, '$.filter.blur')")
    database.close()
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    assert list(replay(ledger)) == []
    assert rejudged(ledger, Filter()) == {("", "blurred"): 1}  # the other was not measured for it


def test_what_recurs_leaves_and_stays_away(tmp_path: Path) -> None:
    books = Books(tmp_path / "ledger.sqlite3")
    shown = card_in_three(books)
    assert [outcome.verdict for outcome in shown] == ["kept", "dropped", "dropped"]
    game = books.show(books.vod(8, "1", "9"), picture(2))
    assert books.barrier() == {shown[0].seq: "recurring"}
    assert books.ledger.leaving() == {shown[0].file_name}
    books.ledger.commit_left(NOW)
    assert not books.ledger.leaving()
    assert books.ledger.kept_files() == {game.file_name}
    assert (books.ledger.kept_count("1"), books.ledger.kept_by_broadcaster("1")) == (1, Counter({"9": 1}))
    assert books.ledger.removed_of("1") == {"recurring": 1}
    assert books.ledger.removed_in("run") == {"1": {"recurring": 1}}
    assert books.ledger.next_barrier() is None
    again = books.show(books.vod(7, "1", "5"), picture(1, noise=9))
    assert (again.verdict, again.reason) == ("dropped", "recurring")
    assert books.barrier() == {}
    assert list(replay(books.ledger)) == []


@pytest.mark.parametrize("change", ["DELETE FROM removals", "UPDATE removals SET reason = 'conflict'"])
def test_replay_finds_what_left_for_another_reason_or_did_not(tmp_path: Path, change: str) -> None:
    books = Books(tmp_path / "ledger.sqlite3")
    card_in_three(books)
    books.barrier()
    books.ledger.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as database:
        database.execute(change)
    database.close()
    (finding,) = replay(Ledger(tmp_path / "ledger.sqlite3"))
    assert finding.kind == "replay"
    assert "sightings say recurring" in finding.what


def test_what_another_broadcaster_shows_too_stays() -> None:
    books = Books()
    card_in_three(books)
    books.show(books.vod(8, "1", "5"), picture(1, noise=8))
    assert books.barrier() == {}


def test_what_stands_under_two_games_of_a_broadcaster_leaves_whoever_else_shows_it() -> None:
    books = Books()
    shown = [
        books.show(books.vod(1, "1", "9"), picture(1)),
        books.show(books.vod(2, "2", "9"), picture(1, noise=1)),
    ]
    books.show(books.vod(3, "1", "5"), picture(1, noise=2))
    assert books.barrier() == dict.fromkeys((outcome.seq for outcome in shown), "recurring")


def test_other_games_of_other_broadcasters_do_not_save_a_card() -> None:
    books = Books()
    shown = card_in_three(books)
    surer = books.show(books.vod(8, "2", "5", sure=0.95), picture(1, noise=8))
    assert books.barrier() == {shown[0].seq: "recurring", surer.seq: "conflict"}


@pytest.mark.parametrize(("one", "other", "goes"), [(0.9, 0.7, [1]), (0.5, 0.8, [0]), (0.8, 0.65, [0, 1])])
def test_of_two_labels_the_surer_one_stays_if_it_is_much_surer(one: float, other: float, goes: list[int]) -> None:
    books = Books()
    pair = [
        books.show(books.vod(1, "1", "9", sure=one), picture(1)),
        books.show(books.vod(2, "2", "5", sure=other), picture(1, noise=1)),
    ]
    books.show(books.vod(3, "2", "5"), picture(3))
    assert books.barrier() == {pair[number].seq: "conflict" for number in goes}
    assert list(replay(books.ledger)) == []


def test_one_vod_is_one_source_however_often_it_shows_a_card() -> None:
    books = Books()
    source = books.vod(1, "1", "9")
    for k in range(4):
        books.show(source, picture(1, noise=k + 1), k)
    assert books.barrier() == {}


def test_targets_in_vain_were_looked_at_and_gave_nothing() -> None:
    books = Books()
    source = books.vod(1, "1", "9")
    assert isinstance(source, Vod)
    shown = [books.show(source, picture(seed), k) for k, seed in enumerate((1, 2, 2, 3))]
    books.ledger.commit(
        [replace(shown[0], seq=books.ledger.next_seq(), k=4, verdict="failed", reason="timeout", file_name=None)]
    )
    unseen = {"verdict": "dropped", "reason": "broadcaster-cap", "offset_s": None, "phash": None}
    books.ledger.commit([replace(shown[0], seq=books.ledger.next_seq(), k=5, file_name=None, **unseen)])
    books.show(books.vod(2, "1", "9"), picture(2), 7)  # of another VOD
    assert books.ledger.vain_targets(source) == {2}
    assert books.ledger.vain_targets(replace(source, category_id="2")) == set()
    barrier = books.ledger.next_barrier()
    assert barrier is not None
    books.ledger.commit_barrier(barrier, "run", NOW, {shown[3].seq: "recurring"})
    assert books.ledger.vain_targets(source) == {2, 3}
    books.ledger.commit_barrier(books.ledger.retention_barrier(), "run", NOW, {shown[0].seq: "expired"})
    assert books.ledger.vain_targets(source) == {2, 3}
