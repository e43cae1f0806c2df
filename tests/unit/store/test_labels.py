"""Labels in the ledger: committed with the opening, told again, and what they lead to in other categories."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from harvester.config import Sample
from harvester.model import Category, Chapter, Clip, Label, LabelledSpan, Source, Span, Vod, VodType
from harvester.sampling.labels import ClipMark, Evidence
from harvester.sampling.looks import WIDTH, Glance
from harvester.sampling.plan import Opened, Wish, first_part, plan_visits
from harvester.sampling.scene import Scene
from harvester.store.ledger import Ledger
from harvester.store.records import Outcome, evidence_from, evidence_record, source_record

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
SAMPLE = Sample(round_size=2, max_per_vod=5)
GAME, OTHER = "7", "8"
SPANS = (
    LabelledSpan(Span(30, 480.25), GAME, Label("chapter", 0.9)),
    LabelledSpan(Span(500, 570), GAME, Label("clip_span", 0.65)),
)
EVIDENCE = Evidence(
    GAME,
    (Chapter(Span(0, 490), Category(GAME, "Game")), Chapter(Span(490, 500), None)),
    OTHER,
    (ClipMark(Span(1.5, 31.5), OTHER),),
    idle=(Span(0.0, 12.5),),
    doubted=(Span(300.0, 490.0),),
    unlike=((Span(320.5, 340.0), GAME),),
)


def vod(number: int = 1, category: str = GAME, broadcaster: str = "9") -> Vod:
    return Vod(str(number), category, broadcaster, "ann", "t", NOW, 600, VodType.ARCHIVE, "en", 5)


def clip(slug: str, category: str = GAME, video: str | None = "1", offset_s: float | None = 10) -> Clip:
    return Clip(slug, category, "9", "ann", "t", NOW, 30, "en", 5, video, offset_s)


def commit(ledger: Ledger, *sources: Source, scope: str = "all", at: datetime = NOW) -> int:
    """A pass that visits them."""
    pass_id = ledger.new_pass_id()
    visits = plan_visits(pass_id, [Wish(source) for source in sources], SAMPLE)
    ledger.commit_pass(
        pass_id, sources[0].category_id, scope, opened_at=at, planned_at=at, listing={}, visits=visits
    )
    return pass_id


def open_(ledger: Ledger, source: Source, held: tuple[str, ...] = (), evidence: Evidence = EVIDENCE) -> None:
    part = replace(first_part(source, SAMPLE), opened=Opened(Span(30, 570), 3, True, SPANS))
    ledger.remember_opened(source, [part], evidence, held)


def decided(
    ledger: Ledger,
    pass_id: int,
    source: Source,
    place: int = 0,
    reason: str = "black",
    phash: int | None = None,
) -> None:
    (visit,) = [v for v in ledger.visits(pass_id, 0, through=9) if v.source.id == source.id]
    seq = ledger.next_seq()
    values = (source.kind, source.id, source.broadcaster_id, place, "dropped", reason, NOW)
    ledger.commit([Outcome(seq, "run", source.category_id, visit.rank(place), *values, phash=phash)])


def test_spans_and_evidence_are_there_again_as_they_were_committed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite3")
    commit(ledger, vod())
    open_(ledger, vod())
    open_(ledger, vod(), evidence=Evidence(None))  # what is known of a part stays
    (part,) = ledger.parts_of(GAME, "vod", "1")
    assert part.opened is not None
    assert part.opened.labels == SPANS
    ledger.close()
    with sqlite3.connect(tmp_path / "l.sqlite3") as database:
        ((record,),) = database.execute("SELECT evidence FROM parts")
    assert evidence_from(record) == EVIDENCE
    for evidence in (Evidence(None), Evidence(GAME, ()), EVIDENCE):
        assert evidence_from(evidence_record(evidence)) == evidence


def test_scenes_are_there_again_as_they_were_found_of_what_was_decided() -> None:
    rng = np.random.default_rng(1)
    scenes = [
        Scene(rng.integers(0, 256, (18, 32, 3)).astype(np.uint8), rng.random((18, 32)) < 0.5) for _ in range(3)
    ]
    ledger = Ledger(None)
    passes = {
        n: commit(ledger, vod(n, broadcaster=who), scope=str(n)) for n, who in ((1, "9"), (2, "9"), (3, "8"))
    }
    for number, who in ((1, "9"), (2, "9"), (3, "8")):
        evidence = replace(EVIDENCE, scenes=(scenes[number - 1],))
        open_(ledger, vod(number, broadcaster=who), evidence=evidence)
    assert list(ledger.evidence_seen("9", 99)) == []  # nothing was decided yet
    for number, who in ((1, "9"), (3, "8"), (2, "9")):
        decided(ledger, passes[number], vod(number, broadcaster=who), reason="duplicate", phash=number)
    told = [one for _, evidence in ledger.evidence_seen("9", ledger.newest_seq()) for one in evidence.scenes]
    assert [(one.cells.tolist(), one.standing.tolist()) for one in told] == [
        (one.cells.tolist(), one.standing.tolist()) for one in scenes[:2]
    ]
    assert len(list(ledger.evidence_seen("9", ledger.newest_seq() - 1))) == 1


def test_what_is_remembered_of_a_storyboard_is_there_again() -> None:
    looks = np.random.default_rng(1).integers(-128, 128, (7, WIDTH)).astype(np.int8)
    known = Glance(tuple(12.5 * number for number in range(7)), looks)
    told = evidence_from(evidence_record(replace(EVIDENCE, glance=known))).glance
    assert told is not None
    assert (told.moments_s, told.looks.tolist()) == (known.moments_s, looks.tolist())
    older = json.loads(evidence_record(EVIDENCE))  # of a version that remembered nothing of that
    del older["glance"], older["doubted"], older["scenes"], older["idle"], older["unlike"]
    assert evidence_from(json.dumps(older)) == replace(EVIDENCE, idle=(), doubted=(), unlike=())


def test_clips_of_a_vod_count_by_their_place_in_it() -> None:
    ledger = Ledger(None)
    commit(ledger, vod(), vod(2))
    told = (
        clip("A"),
        clip("B", video="2"),
        clip("C", video=None),
        clip("D", offset_s=None),
        clip("E", offset_s=-1),
    )
    commit(ledger, *told)
    assert ledger.clips_of(vod()) == (ClipMark(Span(10, 40), GAME),)
    assert ledger.clips_of(vod(3)) == ()


def test_clips_that_this_run_lists_of_other_categories_do_not_count_yet() -> None:
    """They would, or not, by how fast the run is."""
    ledger = Ledger(None)
    commit(ledger, clip("Early", OTHER), at=NOW - timedelta(days=1))
    commit(ledger, clip("Late", OTHER))
    commit(ledger, vod())
    assert [mark.category_id for mark in ledger.clips_of(vod())] == [OTHER]
    commit(ledger, clip("Own"), at=LATER)
    assert [mark.category_id for mark in ledger.clips_of(vod())] == [OTHER, GAME]


def test_a_vod_that_holds_another_category_is_found_for_it_once_a_decision_rests_on_its_opening() -> None:
    ledger = Ledger(None)
    pass_id = commit(ledger, vod(1), vod(2))
    for source in (vod(1), vod(2)):
        open_(ledger, source, (OTHER,))
    assert ledger.vods_holding(OTHER, "all") == []  # opened ahead of all decisions
    first, second = (visit.source for visit in ledger.visits(pass_id, 0, through=9))
    decided(ledger, pass_id, first)
    assert ledger.vods_holding(OTHER, "all") == [first]
    ledger.finish_pass(pass_id)
    assert ledger.vods_holding(OTHER, "all") == sorted([first, second], key=lambda source: source.id)
    assert ledger.vods_holding(OTHER, "narrower") == ledger.vods_holding(GAME, "all") == []


def test_a_vod_whose_broadcaster_was_capped_may_have_been_opened_or_not() -> None:
    ledger = Ledger(None)
    pass_id = commit(ledger, vod())
    open_(ledger, vod(), (OTHER,))
    decided(ledger, pass_id, vod(), reason="broadcaster-cap")
    ledger.finish_pass(pass_id)
    assert ledger.vods_holding(OTHER, "all") == []


def test_what_was_known_of_a_vod_is_the_evidence_where_it_is_not_listed() -> None:
    ledger = Ledger(None)
    unlisted = replace(vod(category=OTHER), listed=False)
    assert ledger.evidence_of(unlisted) is None
    commit(ledger, vod())
    open_(ledger, vod(), (OTHER,))
    assert ledger.evidence_of(unlisted) == replace(EVIDENCE, listed=None)
    assert not ledger.has_listed(OTHER)
    commit(ledger, unlisted)
    assert ledger.known_sources(OTHER) == {("vod", "1")}
    assert not ledger.has_listed(OTHER)
    assert [v.source for v in ledger.visits(2, 0, through=9)] == [unlisted]
    commit(ledger, vod(2, OTHER))
    assert ledger.has_listed(OTHER)


def test_a_part_of_a_version_that_knew_no_labels_is_what_it_was_listed_as(tmp_path: Path) -> None:
    file = tmp_path / "l.sqlite3"
    schema = (Path(__file__).parents[2] / "data" / "ledger-3.sql").read_text(encoding="utf-8")
    with sqlite3.connect(file) as database:
        database.executescript(schema + ";PRAGMA user_version = 3")
        for kind, number, record in (("vod", "1", vod()), ("clip", "Slug", clip("Slug"))):
            database.execute(
                "INSERT INTO sources VALUES ('7', ?, ?, '9', ?)", (kind, number, source_record(record))
            )
            database.execute(
                "INSERT INTO parts VALUES ('7', ?, ?, 0, 5, 0, 600, 30, 570, 3, 1, '2026-11-01')", (kind, number)
            )
    database.close()
    ledger = Ledger(file)
    for kind, number, source, sure in (("vod", "1", "listing", 0.5), ("clip", "Slug", "clip", 0.9)):
        (part,) = ledger.parts_of("7", kind, number)  # type: ignore[arg-type]
        assert part.opened == Opened(
            Span(30, 570),
            3,
            True,
            (LabelledSpan(Span(30, 570), "7", Label(source, sure)),),  # type: ignore[arg-type]
        )
    assert ledger.clips_of(vod()) == (ClipMark(Span(10, 40), GAME),)
    ledger.close()
