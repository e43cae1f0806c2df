"""The barrier: what all sightings together show to be no picture of its game (invariants §3).

A function of committed rows alone, so that a run, its rerun after a kill and ``verify --replay`` find the same.
Broadcasters of whom nothing new was seen are not looked at again: what recurs at others does not depend on them.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harvester.model import Measurement
from harvester.sampling.categories import NON_GAMES
from harvester.sampling.changes import is_contradicted
from harvester.sampling.doubt import LEAST_SEEN, standing_out
from harvester.sampling.labels import Evidence
from harvester.sampling.scene import Scene
from harvester.sampling.texture import Textures, log_texture
from harvester.sampling.untold import OTHER_GAME, Board, untold
from harvester.store.ledger import Ledger
from harvester.store.sightings import Barrier, Sighting
from harvester.vision.fold import Rules
from harvester.vision.idle import IDLE, Moments, few_related, idle, may_be_idle
from harvester.vision.known import exceptions, shows
from harvester.vision.measure import thumbnail, unpack
from harvester.vision.recurring import (
    CONFLICT,
    RECURRING,
    Sightings,
    may_recur,
    pairs_of_labels,
    recurring,
    shown_elsewhere,
    yielding,
)

#: Pictures with hashes like those of a scene whose broadcasters are asked whether they play it.
LIKELY = 256


def leaving(ledger: Ledger, barrier: Barrier, rules: Rules) -> dict[int, str]:
    """Kept decisions (seq) whose images leave at the barrier, with their reasons; ``rules``: of the barrier's run.

    Memory: the thumbnails of one broadcaster (576 bytes a sighting), the hashes of a category and those of all
    kept frames.
    """
    labels = {category_id: ledger.label_of(category_id) for category_id in ledger.seen_categories()}
    left = ledger.left_before(barrier.number)
    found = dict.fromkeys(_conflicting(ledger, barrier, rules.radius, labels, left), CONFLICT)
    for broadcaster_id in ledger.broadcasters_seen(barrier):
        shown = _Shown(ledger, barrier, broadcaster_id, labels, left, rules=rules)
        if rules.filter.idle == "on":
            found |= dict.fromkeys(shown.idle(), IDLE)
            found |= dict.fromkeys(shown.unplayed(), IDLE)
            found |= dict.fromkeys(shown.passed_over() if rules.placed else (), IDLE)
            found |= dict.fromkeys(shown.unlike() if rules.unlike else (), IDLE)
        found |= dict.fromkeys(shown.untold(), OTHER_GAME)
        found |= dict.fromkeys(shown.contradicted() if rules.placed else (), OTHER_GAME)
        found |= dict.fromkeys(shown.cards(), RECURRING)
    return found


class _Shown:
    """What a broadcaster has shown up to a barrier: its sightings, compared with one another and with others'."""

    def __init__(
        self,
        ledger: Ledger,
        barrier: Barrier,
        broadcaster_id: str,
        labels: dict[str, str],
        left: set[int],
        *,
        rules: Rules,
    ) -> None:
        self._rules = rules
        self._ledger, self._barrier, self._broadcaster_id, self._labels = ledger, barrier, broadcaster_id, labels
        self._seen = ledger.sightings_of(broadcaster_id, barrier.through)
        self._asked = np.array([n for n, s in enumerate(self._seen) if s.kept and s.seq not in left], np.int64)
        self._sources = _numbered([s.source for s in self._seen])
        self._hashes = np.array([s.phash for s in self._seen], np.int64).view(np.uint64)
        self._others: dict[str, tuple[NDArray[np.uint64], NDArray[np.int64]]] = {}

    def cards(self) -> Iterator[int]:
        """Kept frames that recur and are not the game's own."""
        labels = _numbered([self._labels[s.category_id] for s in self._seen])
        days = _numbered([s.day for s in self._seen])
        if not len(self._asked) or not may_recur(labels, self._sources, days):
            return
        seen = Sightings(labels, self._sources, days, self._thumbnails)
        for number, why, alike in recurring(seen, self._asked, apart=self._rules.apart):
            if why != "sources" or not self._is_of_game(number, alike):
                yield self._seen[number].seq

    def idle(self) -> Iterator[int]:
        """Kept frames of idle scenes that are not the game's own."""
        offsets_s = np.array([math.nan if s.offset_s is None else s.offset_s for s in self._seen])
        vods = np.where(np.isnan(offsets_s), -1, self._sources)
        if not len(self._asked) or not may_be_idle(vods, offsets_s):
            return
        for alike in idle(Moments(vods, offsets_s, self._sources, self._thumbnails)):
            for number in np.intersect1d(alike, self._asked).tolist():
                if not self._goes_on(number, alike) and not self._is_of_game(number, alike):
                    yield self._seen[number].seq

    def unplayed(self) -> Iterator[int]:
        """Kept frames of games that show what storyboards of the broadcaster's VODs show while nobody plays."""
        asked = [number for number in self._asked.tolist() if self._seen[number].category_id not in NON_GAMES]
        if not asked:
            return
        streams = _streams(self._seen, pooled=self._rules.placed)
        for scene in (scene for _, evidence in self._evidence for scene in evidence.scenes):
            alike = np.flatnonzero(self._showing(scene, self._thumbnails))
            by_label: dict[str, list[int]] = {}
            for number in np.intersect1d(exceptions(alike, streams), asked).tolist():
                if self._goes_on(number, alike):
                    continue
                by_label.setdefault(self._labels[self._seen[number].category_id], []).append(number)
            for label, numbers in by_label.items():
                if not self._is_played_elsewhere(scene, label, alike):
                    yield from (self._seen[number].seq for number in numbers)

    def passed_over(self) -> Iterator[int]:
        """Kept frames of clips that are cut from where the storyboard of their VOD shows no play, or makes that
        doubtful. Of the VOD itself nothing was asked for there, or that came last."""
        for one, vod_s, evidence in self._clipped():
            doubtful = (span for span, category_id in evidence.unlike if category_id == one.category_id)
            if any(vod_s in span for span in (*evidence.idle, *doubtful)):
                yield one.seq

    def unlike(self) -> Iterator[int]:
        """Kept frames that stand out among those of their VOD, whose storyboard nobody saw."""
        looked_at = {source_id for source_id, evidence in self._evidence if evidence.glance is not None}
        parts: dict[tuple[str, str], list[tuple[float, int]]] = {}
        for number, one in enumerate(self._seen):
            if one.offset_s is not None and one.source not in looked_at and one.category_id not in NON_GAMES:
                parts.setdefault((one.source, one.category_id), []).append((one.offset_s, number))
        for part in map(sorted, parts.values()):
            numbers = np.array([number for _, number in part])
            interval_s = (part[-1][0] - part[0][0]) / len(part)
            if len(part) >= LEAST_SEEN and interval_s > 0:
                measured = list(map(unpack, self._ledger.measurements([self._seen[n].seq for n in numbers])))
                pictures = np.stack([thumbnail(one) for one in measured])
                marked = numbers[standing_out(pictures, _textures(measured), interval_s)]
                yield from (self._seen[number].seq for number in np.intersect1d(marked, self._asked).tolist())

    def contradicted(self) -> Iterator[int]:
        """Kept frames of clips that are cut from where the storyboard of their VOD contradicts what is told."""
        for one, vod_s, evidence in self._clipped():
            if is_contradicted(evidence, vod_s, one.category_id):
                yield one.seq

    def _clipped(self) -> Iterator[tuple[Sighting, float, Evidence]]:
        """Kept sightings in clips whose place in their VOD is known (s), each with what is known of that VOD."""
        by_vod: dict[str, list[Evidence]] = {}
        for source_id, evidence in self._evidence:
            by_vod.setdefault(source_id, []).append(evidence)
        for one in (self._seen[number] for number in self._asked.tolist()):
            if one.offset_s is None and one.vod_s is not None:
                yield from ((one, one.vod_s, evidence) for evidence in by_vod.get(one.source, ()))

    def _goes_on(self, number: int, alike: NDArray[np.int64]) -> bool:
        """True if what else was seen of its source under its label, but for the moments ``alike``, shares tiles
        with sighting ``number``: a board or a room of a game in which that went on."""
        if not self._rules.apart:
            return False
        one = self._seen[number]
        same = [n for n, s in enumerate(self._seen) if (s.source, s.category_id) == (one.source, one.category_id)]
        rest = np.setdiff1d(np.array(same, np.int64), alike)
        return not few_related(self._thumbnails[rest], self._thumbnails[number])

    def untold(self) -> Iterator[int]:
        """Kept frames of stretches that show another of the broadcaster's categories, as storyboards tell."""
        boards: dict[str, Board] = {}
        for source_id, evidence in self._evidence:
            known = boards.get(source_id)  # under another category, or of an earlier part
            board = Board.of(source_id, evidence)
            if board is not None and (known is None or board.tells_more(known)):
                boards[source_id] = board
        for found in untold(list(boards.values())):
            for one in (self._seen[number] for number in self._asked.tolist()):
                is_told = (one.source, one.category_id) == (found.source_id, found.told)
                if is_told and one.vod_s is not None and one.vod_s in found.span:
                    yield one.seq

    def _is_played_elsewhere(self, scene: Scene, label: str, alike: NDArray[np.int64]) -> bool:
        """True if another broadcaster of the game has a source that shows mostly this scene.

        That some of their pictures show it proves nothing: cards and talks of one design are alike in brightness.
        Asked are those who have pictures with hashes like its own.
        """
        hashes, seqs = self._elsewhere(label)
        likely = seqs[shown_elsewhere(self._hashes[alike], hashes)][:LIKELY].tolist()
        for broadcaster_id in sorted({self._ledger.broadcaster_of(seq) for seq in likely}):
            seen = self._ledger.sightings_of(broadcaster_id, self._barrier.through)
            theirs = np.flatnonzero(self._showing(scene, self._thumbnails_of([s.seq for s in seen])))
            if len(exceptions(theirs, _streams(seen, pooled=self._rules.placed))) < len(theirs):
                return True
        return False

    def _showing(self, scene: Scene, thumbnails: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return shows(thumbnails, scene.lumas(), scene.standing.ravel(), telling=self._rules.telling)

    def _is_of_game(self, number: int, alike: NDArray[np.int64]) -> bool:
        """True if other broadcasters of the game show what looks like sighting ``number``, too."""
        hashes, _ = self._elsewhere(self._labels[self._seen[number].category_id])
        return bool(shown_elsewhere(self._hashes[alike], hashes).any())

    def _elsewhere(self, label: str) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Hashes, and their decisions (seq), that other broadcasters of the game were seen with."""
        if label not in self._others:
            same = [category_id for category_id, its in self._labels.items() if its == label]
            through = self._barrier.through
            self._others[label] = self._ledger.hashes_elsewhere(same, self._broadcaster_id, through)
        return self._others[label]

    @cached_property
    def _evidence(self) -> list[tuple[str, Evidence]]:
        """What the broadcaster's VODs (ids) were labelled by."""
        return list(self._ledger.evidence_seen(self._broadcaster_id, self._barrier.through))

    @cached_property
    def _thumbnails(self) -> NDArray[np.uint8]:
        return self._thumbnails_of([s.seq for s in self._seen])

    def _thumbnails_of(self, seqs: Sequence[int]) -> NDArray[np.uint8]:
        packed = self._ledger.measurements(seqs)
        return np.array([thumbnail(unpack(one)).ravel() for one in packed], np.uint8)


def _textures(measured: Sequence[Measurement]) -> Textures:
    """What is known of all of them: nothing if one was measured before there was a variogram."""
    variograms = [one.variogram for one in measured if one.variogram is not None]
    if len(variograms) < len(measured):
        return np.zeros((len(measured), 0))
    return np.array([[log_texture(*one)] for one in variograms])


def _streams(seen: Sequence[Sighting], *, pooled: bool) -> NDArray[np.int64]:
    """What each sighting is a part of (n,): its VOD. ``pooled``: a category's clips of VODs of which nothing
    else was seen are one, for a clip alone shows one moment, and is always about that.

    Measured on the tuning half of ``scripts/bench_labels.py``, no clip's VOD being told: of the kept clip frames
    20 of 69 showed no game before, 5 of 54 since; the 49 that show one stayed, and no other was dropped falsely.
    """
    vods = {one.source for one in seen if one.offset_s is not None}
    lone = [pooled and one.source not in vods for one in seen]
    return _numbered(
        [("clips", s.category_id) if alone else ("", s.source) for s, alone in zip(seen, lone, strict=True)]
    )


def _numbered(values: Sequence[Hashable]) -> NDArray[np.int64]:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def _conflicting(
    ledger: Ledger, barrier: Barrier, radius: int, labels: dict[str, str], left: set[int]
) -> Iterator[int]:
    """Kept frames that stand under another label, too, and are not the surer ones."""
    numbers = {label: number for number, label in enumerate(sorted(set(labels.values())))}
    if len(numbers) < 2:
        return
    parts = []
    for category_id, label in labels.items():
        hashes, seqs = ledger.anchors(category_id)
        stays = (seqs <= barrier.through) & ~np.isin(seqs, np.array(sorted(left), np.int64))
        parts.append((hashes[stays], seqs[stays], np.full(int(stays.sum()), numbers[label])))
    hashes, seqs, owners = (np.concatenate(column) for column in zip(*parts, strict=True))
    for one, other in pairs_of_labels(hashes, owners, seqs > barrier.after, radius):
        pair = int(seqs[one]), int(seqs[other])
        goes = yielding(*map(ledger.confidence_of, pair))
        yield from (seq for seq, going in zip(pair, goes, strict=True) if going)
