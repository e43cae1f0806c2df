"""The overlays of broadcasters, as a barrier finds them: a function of committed rows, like what leaves.

They are found anew for the broadcasters of whom something new was seen or something has left, and go into the
ledger with their barrier; the metadata shows them from the end of the run on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from itertools import islice
from typing import NamedTuple

from harvester.store.ledger import Ledger
from harvester.store.metadata import Hurried
from harvester.store.sightings import Barrier, Sighting
from harvester.vision.activity import Activity
from harvester.vision.measure import unpack
from harvester.vision.overlay import Evidence, overlays

#: Pictures of a broadcaster that are looked at, spread evenly over its sources: 0.1 ms each.
PICTURES = 256
#: Other broadcasters of its game that it is compared with, those that have most pictures of it.
OTHERS = 8
#: Of so many that have most, those are taken of whom enough is known.
CANDIDATES = 4 * OTHERS
#: Labels whose others are remembered (0.2 MB each).
LABELS_AT_ONCE = 128
#: Two pictures of a VOD are of one moment if they are of the same so many seconds.
MOMENT_S = 60.0


class _Shown(NamedTuple):
    """What is known of a broadcaster, or of one of its labels."""

    evidence: Evidence
    activity: Activity


def overlays_seen(
    ledger: Ledger, barrier: Barrier, leaving: Collection[int], hurried: Callable[[], bool] = lambda: False
) -> dict[str, str | None]:
    """Overlays of the broadcasters that a barrier has to look at, by their ids; None: too little is known.

    ``leaving``: decisions (seq) whose images leave at it. Overlays are a JSON list of objects: ``kind``, ``left``,
    ``top``, ``right``, ``bottom`` (:class:`harvester.vision.overlay.Box`), and the evidence: ``pictures`` and
    ``sources`` they were found in, ``others``: broadcasters of the game they were compared with.

    Raises :class:`Hurried` if ``hurried`` says so between two broadcasters: each takes some 50 ms.
    """
    look = _Look(ledger, barrier, leaving)
    asked = {*ledger.broadcasters_seen(barrier), *ledger.overlays_in_doubt(barrier.number, leaving)}
    found: dict[str, str | None] = {}
    for broadcaster_id in sorted(asked):
        if hurried():
            raise Hurried
        found[broadcaster_id] = look.overlays_of(broadcaster_id)
    return found


class _Look:
    """All kept pictures as a barrier leaves them, in memory one broadcaster's sums at a time, and some others'."""

    def __init__(self, ledger: Ledger, barrier: Barrier, leaving: Collection[int]) -> None:
        self._ledger, self._barrier = ledger, barrier
        self._gone = ledger.left_before(barrier.number) | set(leaving)
        self._labels = {category_id: ledger.label_of(category_id) for category_id in ledger.seen_categories()}
        self._others: dict[str, dict[str, Activity]] = {}

    def overlays_of(self, broadcaster_id: str) -> str | None:
        """The broadcaster's overlays as JSON; None if too little is known of it."""
        kept = self._kept(broadcaster_id)
        mine = self._shown(kept)
        if mine is None:
            return None
        labels = Counter(self._labels[sighting.category_id] for sighting in kept)
        label = min(labels, key=lambda name: (-labels[name], name))
        compared = [its for other, its in self._most_shown(label).items() if other != broadcaster_id][:OTHERS]
        facts = {"pictures": mine.evidence.pictures, "sources": mine.evidence.sources, "others": len(compared)}
        return json.dumps([asdict(box) | facts for box in overlays(mine.activity, compared)])

    def _kept(self, broadcaster_id: str) -> list[Sighting]:
        seen = self._ledger.sightings_of(broadcaster_id, self._barrier.through)
        return [sighting for sighting in seen if sighting.kept and sighting.seq not in self._gone]

    def _shown(self, kept: Sequence[Sighting]) -> _Shown | None:
        """Of some of ``kept``; None if that is too little to tell anything."""
        some = [kept[i * len(kept) // PICTURES] for i in range(PICTURES)] if len(kept) > PICTURES else kept
        moments = {(one.source, None if one.offset_s is None else one.offset_s // MOMENT_S) for one in some}
        evidence = Evidence(len(some), len({one.source for one in some}), len(moments))
        if not evidence.is_enough:
            return None
        packed = self._ledger.measurements([one.seq for one in some])
        return _Shown(evidence, Activity.of(unpack(one) for one in packed))

    def _most_shown(self, label: str) -> dict[str, Activity]:
        """The broadcasters with most pictures of a label, one more than are compared, and what those show."""
        if label not in self._others:
            if len(self._others) >= LABELS_AT_ONCE:
                self._others.clear()
            self._others[label] = dict(self._looked_at(label))
        return self._others[label]

    def _looked_at(self, label: str) -> list[tuple[str, Activity]]:
        categories = {category_id for category_id, its in self._labels.items() if its == label}
        counts: Counter[str] = Counter()
        for category_id in categories:
            counts += self._ledger.kept_by_broadcaster(category_id)
        known = sorted(counts, key=lambda one: (-counts[one], one))[:CANDIDATES]
        found = ((one, self._shown([s for s in self._kept(one) if s.category_id in categories])) for one in known)
        told = ((one, its.activity) for one, its in found if its is not None)
        return list(islice(told, OTHERS + 1))
