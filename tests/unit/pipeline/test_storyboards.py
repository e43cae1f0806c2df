"""What a storyboard shows of a VOD is committed with its parts: it counts also when the storyboard is gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from harvester.config import Sample
from harvester.fetch.storyboard import cut_sheet
from harvester.media.storyboard import parse_storyboards
from harvester.model import Category, Chapter, Codec, Span, Target, VideoDetails, Vod
from harvester.pipeline.opening import Opener
from harvester.pipeline.storyboards import Foreseen, Storyboards
from harvester.sampling.edges import point_lumas
from harvester.sampling.plan import Wish, plan_visits
from harvester.sampling.storyboard import WORTH_S, Tiles, cell_means, log_detail
from harvester.sampling.texture import log_textures
from harvester.store.ledger import Ledger
from tests.unit.fetch.conftest import World, in_world
from tests.unit.pipeline.conftest import vod
from tests.unit.pipeline.test_labelling import FILES, GAME, NOW, OTHER, Told
from tests.unit.pipeline.test_opening import Offered, rendition

__all__ = ["in_world"]  # the fixture

SAMPLE = Sample(min_spacing_s=1, guard_s=0, min_height=100, max_per_vod=16)
#: Tiles of 96 x 48, one each 10 s, six a row: twelve of a card, then one picture of 6 x 3 blocks after the other.
WIDTH, HEIGHT, COUNT, CARD = 96, 48, 60, 12
BOARD: dict[str, Any] = {"count": COUNT, "width": WIDTH, "height": HEIGHT, "cols": 6, "rows": 10, "interval": 10}


def sheet() -> bytes:
    rng = np.random.default_rng(1)
    blocks = rng.integers(0, 255, (COUNT, 3, 6), dtype=np.uint8)
    blocks[:CARD] = blocks[0]
    tiles = blocks.repeat(16, axis=1).repeat(16, axis=2)
    rows = [np.hstack(list(tiles[first : first + 6])) for first in range(0, COUNT, 6)]
    return bytes(cv2.imencode(".jpg", np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 95])[1])


def board(**changes: Any) -> bytes:
    return json.dumps([BOARD | {"images": ["1-low-0.jpg"]} | changes]).encode()


SHOWN = {**FILES, "storyboards/1-info.json": board(), "storyboards/1-low-0.jpg": sheet()}
BOTH = (Chapter(Span(0, 300), Category(GAME.id, GAME.name)), Chapter(Span(300, 600), OTHER))


def planned(ledger: Ledger, source: Vod) -> Ledger:
    pass_id = ledger.new_pass_id()
    visits = plan_visits(pass_id, [Wish(source)], SAMPLE)
    ledger.commit_pass(pass_id, source.category_id, "", opened_at=NOW, planned_at=NOW, listing={}, visits=visits)
    return ledger


def opened(
    in_world: Callable,
    ledger: Ledger,
    source: Vod,
    *,
    files: dict[str, bytes] = SHOWN,
    sample: Sample = SAMPLE,
    listed: str | None = "storyboards/1-info.json",
    chapters: tuple[Chapter, ...] = (Chapter(Span(0, 600), GAME),),
) -> tuple[Sequence[Target], Foreseen]:
    """The targets of the source, in order of their numbers, and what storyboards were good for."""

    async def scenario(here: World) -> tuple[Sequence[Target], Foreseen]:
        url = None if listed is None else here.server.url(listed)
        told = Told([VideoDetails("1", chapters=chapters, storyboard_url=url)])
        offered = Offered([rendition(here.server.url("chunked/index-dvr.m3u8"))])
        opener = Opener(offered, here.transport, sample, (Codec.H264,), ledger, details=told)
        targets = (await opener.open(source)).targets
        return [targets[k] for k in sorted(targets)], opener.foreseen

    result: tuple[Sequence[Target], Foreseen] = in_world(files, scenario)
    return result


def plain(in_world: Callable, source: Vod, *, sample: Sample = SAMPLE, **changes: Any) -> Sequence[Target]:
    """Its targets in equal steps."""
    off = sample.model_copy(update={"storyboard": "off"})
    targets, foreseen = opened(in_world, planned(Ledger(None), source), source, sample=off, **changes)
    assert foreseen == Foreseen()
    return targets


def test_idle_stretches_have_no_targets_and_the_saved_ones_are_counted(in_world: Callable) -> None:
    apart = SAMPLE.model_copy(update={"min_spacing_s": 21})  # 16 do not fit behind the beginning
    targets, foreseen = opened(in_world, planned(Ledger(None), vod()), vod(), sample=apart)
    assert len(targets) == 16
    assert min(target.moment_s for target in targets) >= 120
    saved = [target for target in plain(in_world, vod(), sample=apart) if target.moment_s < 115]
    assert foreseen == Foreseen(seen=1, unseen=0, skipped=len(saved), skipped_in=1)
    assert saved


def test_what_was_chosen_is_remembered_when_the_storyboard_is_gone(in_world: Callable) -> None:
    ledger = planned(Ledger(None), vod())
    first, _ = opened(in_world, ledger, vod())
    (part,) = ledger.parts_of(GAME.id, "vod", "1")
    assert part.opened is not None
    chosen_s, spare_s = part.opened.chosen_s[: len(first)], part.opened.chosen_s[len(first) :]
    assert chosen_s == tuple(target.moment_s for target in first)
    assert spare_s and not set(spare_s) & set(chosen_s)
    assert [target.k for target in first] == list(range(16))
    again, foreseen = opened(in_world, ledger, vod(), files=FILES)
    assert (again, foreseen) == (first, Foreseen())
    assert [target.moment_s for target in first] != [target.moment_s for target in plain(in_world, vod())]


def test_another_category_of_the_vod_knows_of_its_idle_stretches(in_world: Callable) -> None:
    chapters = (Chapter(Span(0, 300), OTHER), Chapter(Span(300, 600), GAME))
    ledger = planned(Ledger(None), vod())
    opened(in_world, ledger, vod(), chapters=chapters)
    ledger.finish_pass(1)
    unlisted = replace(vod(), category_id=OTHER.id, listed=False)
    targets, foreseen = opened(in_world, planned(ledger, unlisted), unlisted, files=FILES)
    assert {target.moment_s for target in targets} <= {10.0 * number for number in range(12, 30)}
    assert len(targets) > 10
    assert foreseen.seen == foreseen.unseen == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"listed": None},
        {"listed": "storyboards/none.json"},
        {"files": FILES | {"storyboards/1-info.json": board()}},
        {"files": SHOWN | {"storyboards/1-info.json": b"[]"}},
        {"files": SHOWN | {"storyboards/1-low-0.jpg": sheet()[:-100]}},
        {"files": SHOWN | {"storyboards/1-info.json": board(width=16)}},
        {"files": SHOWN | {"storyboards/1-info.json": board(cols=1, images=["x.jpg"] * 6)}},
    ],
)
def test_without_a_storyboard_targets_stand_in_equal_steps(in_world: Callable, changes: dict[str, Any]) -> None:
    targets, foreseen = opened(in_world, planned(Ledger(None), vod()), vod(), **changes)
    assert targets == plain(in_world, vod())
    assert foreseen == Foreseen(unseen=1)


def test_a_short_vod_is_not_looked_at(in_world: Callable) -> None:
    short = vod(seconds=WORTH_S - 1)
    targets, foreseen = opened(in_world, planned(Ledger(None), short), short)
    assert foreseen == Foreseen()
    assert len(targets) == len(plain(in_world, short))


def test_where_there_are_more_targets_than_tiles_they_stand_in_equal_steps_outside_idle_stretches(
    in_world: Callable,
) -> None:
    many = SAMPLE.model_copy(update={"max_per_vod": 100})
    ledger = Ledger(None)
    pass_id = ledger.new_pass_id()
    visits = plan_visits(pass_id, [Wish(vod())], many)
    ledger.commit_pass(pass_id, GAME.id, "", opened_at=NOW, planned_at=NOW, listing={}, visits=visits)
    targets, _ = opened(
        in_world, ledger, vod(), sample=many, files=SHOWN | {"storyboards/1-info.json": board(count=30)}
    )
    assert sorted(target.moment_s for target in targets) == [10.0 * number for number in range(12, 60)]


def test_of_each_tile_colours_detail_and_points_are_kept(in_world: Callable) -> None:
    async def scenario(here: World) -> Tiles | None:
        told = VideoDetails("1", storyboard_url=here.server.url("storyboards/1-info.json"))
        return await Storyboards(here.transport).tiles(vod("1"), told)

    tiles: Tiles = in_world(SHOWN, scenario)
    (listed,) = parse_storyboards(board(), "https://a.example/storyboards/1-info.json")
    images = [preview.image for preview in cut_sheet(sheet(), listed, 0)]
    assert (tiles.cells == [cell_means(image) for image in images]).all()
    assert tiles.details.tolist() == [log_detail(image) for image in images]
    assert (tiles.lumas == [point_lumas(image) for image in images]).all()
    assert tiles.lumas.std() > 10
    assert tiles.textures.tolist() == [log_textures(image) for image in images]
