"""Opening a source labels it, once: what is committed then counts, whatever GQL says later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from harvester.config import Config, Sample
from harvester.errors import SourceError
from harvester.model import Category, Chapter, Codec, Label, Source, Span, Target, VideoDetails, Vod
from harvester.pipeline.opening import Opener
from harvester.pipeline.sinks import FrameSink
from harvester.pipeline.work import Doubtful, Worker
from harvester.sampling.plan import Wish, plan_visits
from harvester.stats import StageTimes
from harvester.store.ledger import Ledger
from tests.unit.fetch.conftest import World, in_world
from tests.unit.pipeline.conftest import clip, decided, item, judge, measured, visit, vod
from tests.unit.pipeline.test_opening import NOW, Offered, playlist, rendition

__all__ = ["in_world"]  # the fixture

SAMPLE = Sample(min_spacing_s=1, guard_s=0, min_height=100, max_per_vod=100)
GAME, OTHER = Category("1001", "Hades II"), Category("2002", "Other")
#: Sixty segments of 10 s; nobody reads them here.
FILES = {"chunked/index-dvr.m3u8": playlist(*(line for n in range(60) for line in ("#EXTINF:10,", f"{n}.ts")))}


@dataclass
class Told:
    """Answers about VODs, one after the other; the last one for ever. None: no answer."""

    answers: list[VideoDetails | SourceError | None]
    asked: list[str] = field(default_factory=list)

    async def of_vod(self, vod_id: str, *, previews: bool = True) -> VideoDetails | None:
        self.asked.append(vod_id)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, SourceError):
            raise answer
        return answer


def chapters(*told: tuple[Category | None, float, float]) -> VideoDetails:
    return VideoDetails("1", chapters=tuple(Chapter(Span(a, b), category) for category, a, b in told))


def planned(ledger: Ledger, *sources: Source) -> None:
    """A pass that visits them."""
    pass_id = ledger.new_pass_id()
    visits = plan_visits(pass_id, map(Wish, sources), SAMPLE)
    ledger.commit_pass(
        pass_id, sources[0].category_id, "", opened_at=NOW, planned_at=NOW, listing={}, visits=visits
    )


def opened(
    in_world: Callable, ledger: Ledger, told: Told | None, source: Vod, times: int = 1, sample: Sample = SAMPLE
) -> tuple[Opener, list[Sequence[Target]]]:
    """The opener, and the targets that the source had each time."""

    async def scenario(here: World) -> tuple[Opener, list[Sequence[Target]]]:
        offered = Offered([rendition(here.server.url("chunked/index-dvr.m3u8"))])
        opener = Opener(offered, here.transport, sample, (Codec.H264,), ledger, details=told)
        return opener, [tuple((await opener.open(source)).targets.values()) for _ in range(times)]

    result: tuple[Opener, list[Sequence[Target]]] = in_world(FILES, scenario)
    return result


def moments(targets: Sequence[Target]) -> list[float]:
    return sorted(target.moment_s for target in targets)


def test_a_source_is_labelled_when_it_is_opened_first_and_never_again(in_world: Callable) -> None:
    ledger, told = Ledger(None), Told([chapters((GAME, 100, 300)), chapters((OTHER, 0, 600))])
    planned(ledger, vod())
    opener, (first, again) = opened(in_world, ledger, told, vod(), times=2)
    assert moments(first) == [100.0 + 10 * n for n in range(20)]
    assert {target.label for target in first} == {Label("chapter", 0.9)}
    assert again == first
    assert told.asked == ["1"]
    assert opener.labels(GAME.id) == {"chapter": 1}
    assert opener.untold == 0


@pytest.mark.parametrize("answer", [None, SourceError("no such VOD", reason="gone"), VideoDetails("1")])
def test_without_an_answer_the_listing_counts(in_world: Callable, answer: Any) -> None:
    ledger = Ledger(None)
    planned(ledger, vod())
    planned(ledger, replace(clip(), video_id="1", vod_offset_s=100.0))
    opener, (targets,) = opened(in_world, ledger, Told([answer]), vod())
    assert len(targets) == 60
    labels = {target.moment_s: target.label for target in targets}
    shown = [label for moment_s, label in labels.items() if 100.5 <= moment_s < 129.5]
    assert set(shown) == {Label("clip_span", 0.8)}
    assert {label for label in labels.values() if label not in shown} == {Label("listing", 0.5)}
    assert (opener.labels(GAME.id), opener.untold) == ({"clip_span": 1}, 1)


def test_what_the_vod_shows_besides_is_remembered_and_labels_it_there(in_world: Callable) -> None:
    ledger, told = Ledger(None), Told([chapters((GAME, 0, 100), (OTHER, 100, 600))])
    planned(ledger, vod())
    opened(in_world, ledger, told, vod())
    ledger.finish_pass(1)
    assert ledger.vods_holding(OTHER.id, "") == [vod()]
    unlisted = replace(vod(), category_id=OTHER.id, listed=False)
    planned(ledger, unlisted)
    _, (targets,) = opened(in_world, ledger, told, unlisted)
    assert told.asked == ["1"]
    assert min(moments(targets)) == 100
    assert {target.label for target in targets} == {Label("chapter", 0.8)}


def test_a_doubtful_span_is_no_reason_to_take_a_vod_up_elsewhere(in_world: Callable) -> None:
    ledger, told = Ledger(None), Told([chapters((GAME, 0, 100), (OTHER, 100, 600))])
    planned(ledger, vod())
    opened(in_world, ledger, told, vod(), sample=SAMPLE.model_copy(update={"min_confidence": 0.81}))
    ledger.finish_pass(1)
    assert ledger.vods_holding(OTHER.id, "") == []


def test_a_target_under_the_floor_is_taken_up_and_not_read() -> None:
    class Unread:
        def __init__(self) -> None:
            self.targets = {0: Target(0, 0, 0.0, Label("listing", 0.5))}

        async def get(self, source: Source) -> Unread:
            return self

    taken: list[bool] = []
    worker = Worker(
        cast("Any", Unread()), cast("Executor", None), cast("Any", None), StageTimes(), min_confidence=0.51
    )
    result = asyncio.run(worker.take(visit(vod()), 0, lambda: taken.append(True)))
    assert (result, taken) == (Doubtful(), [True])


def test_a_doubtful_target_is_dropped_with_its_reason_and_no_picture() -> None:
    ledger = Ledger(None)
    outcome = decided(judge(ledger), ledger, item(vod(), 2), Doubtful())
    assert outcome is not None
    assert (outcome.verdict, outcome.reason, outcome.k) == ("dropped", "low-confidence", 2)
    assert outcome.measurement is outcome.offset_s is None
    capped = judge(ledger, cap=1)
    decided(capped, ledger, item(vod(7), 0), measured(1, offset_s=1))
    late = decided(capped, ledger, item(vod(8), 1), Doubtful())
    assert late is not None
    assert late.reason == "broadcaster-cap"


def test_a_frame_has_the_label_of_its_target() -> None:
    judging = judge(Ledger(None))
    ruling = judging.decide(item(vod(7), 2), measured(1, k=2, label=Label("clip_span", 0.65)))
    assert ruling is not None
    frame = judging.finish(ruling).frame
    assert frame is not None
    assert (frame.label_source, frame.label_confidence) == ("clip_span", 0.65)


@pytest.mark.parametrize(
    ("other", "labels"), [("on", ["_other", "Hades II", "_other"]), ("off", ["Music", "Hades II", "ASMR"])]
)
def test_frames_without_a_dataset_have_the_same_classes(other: str, labels: list[str]) -> None:
    sink = FrameSink(Ledger(None), Config().replace("dataset", other=other), lambda _: None)
    entries = [sink.label(category) for category in (Category("26936", "Music"), GAME, Category("509659", "ASMR"))]
    assert [entry.name for entry in entries] == labels
    assert [entry.label_id for entry in entries] == ([0, 1, 0] if other == "on" else [0, 1, 2])
