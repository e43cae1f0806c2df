"""Which moments of which sources become targets, and in which order they are decided. Pure.

A *pass* is one closed listing of a category. Each listed source gets a :class:`Visit`: how many targets it may
have and its place among the sources of its broadcaster. The rank of every target follows from its visit alone,
so a million targets need no table and a resumed run plans nothing again::

    slot  = visit.first_slot + k            targets of a broadcaster, counted through
    round = slot // round_size              every broadcaster has a turn in every round
    rank  = (pass, round, hash(seed, broadcaster), hash(seed, source), k)

Which picture target ``k`` is, is decided when the source is open and its segments or keyframes are known:
stratified over the source, never closer than the minimum spacing, in an order that spreads (bit reversal), so
that the first few targets of a source already cover it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from harvester.config import Sample
from harvester.model import LabelledSpan, Rank, Source, SourceKind, Span, Target
from harvester.sampling.labels import clip_guard_s, guard_s, guarded

#: Bits of a rank hash: SQLite integers are signed, so 63 of a SHA-256's first 64 bits are kept.
RANK_HASH_BITS = 63


@dataclass(frozen=True, slots=True)
class Opened:
    """What opening a part found. ``span``: how far it goes, guards of the source taken off; ``targets``: how many
    it has at most; ``ended``: nothing will follow it; ``labels``: the spans inside in which its targets lie;
    ``chosen_s``: the moments of its targets, if a storyboard chose them, then those for refills."""

    span: Span
    targets: int
    ended: bool
    labels: tuple[LabelledSpan, ...]
    chosen_s: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.targets < 0:
            raise ValueError(f"{self.targets} targets")
        if self.chosen_s and len(self.chosen_s) < self.targets:
            raise ValueError(f"{len(self.chosen_s)} moments of {self.targets} targets")


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a source that is visited as one.

    ``count`` target numbers from ``first_k`` on are its own, given out or not. ``from_s``: where the part before
    ended (s), 0 for the first. ``listed_s``: the source's length as the catalog told it then. ``opened``: None
    as long as the source has not been open.
    """

    first_k: int
    count: int
    from_s: float
    listed_s: float
    opened: Opened | None = None

    def __post_init__(self) -> None:
        if self.first_k < 0 or self.count < 1 or self.from_s < 0:
            raise ValueError(f"a part needs numbers and a start: {self.first_k}+{self.count} from {self.from_s} s")
        if self.opened is not None and self.opened.targets > self.count:
            raise ValueError("more targets than numbers")

    @property
    def numbers(self) -> range:
        """Numbers that may have a target."""
        return range(self.first_k, self.first_k + (self.count if self.opened is None else self.opened.targets))


@dataclass(frozen=True, slots=True)
class Visit:
    """Place of one source in a pass. ``retry``: target numbers to try again; None = those of ``part``, all new."""

    pass_id: int
    source: Source
    first_slot: int
    count: int
    round_size: int
    broadcaster_hash: int
    source_hash: int
    retry: tuple[int, ...] | None = None
    part: Part | None = None  # None: the source's first

    def __post_init__(self) -> None:
        if self.count < 1 or self.first_slot < 0 or self.round_size < 1:
            raise ValueError(f"a visit needs targets: count {self.count}, first slot {self.first_slot}")
        if self.retry is not None and len(self.retry) != self.count:
            raise ValueError("a retry visit has one place per target")

    @property
    def first_round(self) -> int:
        return self.first_slot // self.round_size

    @property
    def last_round(self) -> int:
        return (self.first_slot + self.count - 1) // self.round_size

    def rank(self, place: int) -> Rank:
        """Rank of the visit's target number ``place`` (0 <= place < count)."""
        if not 0 <= place < self.count:
            raise IndexError(place)
        turn = (self.first_slot + place) // self.round_size
        return Rank(self.pass_id, turn, self.broadcaster_hash, self.source_hash, place)

    def places(self, turn: int) -> range:
        """Places whose round is ``turn``."""
        first = max(0, turn * self.round_size - self.first_slot)
        last = min(self.count, (turn + 1) * self.round_size - self.first_slot)
        return range(first, max(first, last))

    def target_number(self, place: int) -> int:
        """Number ``k`` of the source's target that stands at ``place``."""
        if self.retry is not None:
            return self.retry[place]
        return place if self.part is None else self.part.first_k + place

    def is_void(self, place: int) -> bool:
        """True if the source is known to have no target there: it was opened before, and gave fewer."""
        if self.retry is not None or self.part is None or self.part.opened is None:
            return False
        return self.target_number(place) not in self.part.numbers


def rank_hash(seed: str, *parts: str) -> int:
    """Position of a broadcaster or source in the seeded order, 63 bits of SHA-256."""
    digest = hashlib.sha256("\0".join((seed, *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - RANK_HASH_BITS)


def guarded_span(kind: SourceKind, duration_s: float, sample: Sample) -> Span:
    """A source of that length without its guards: the most that labels can leave of it."""
    end_guard_s = clip_guard_s(sample) if kind == "clip" else guard_s(duration_s, sample)
    return guarded(Span(0.0, duration_s), end_guard_s)


def cap_of(source: Source, sample: Sample) -> int:
    """Most targets of one source of that kind."""
    return sample.max_per_vod if source.kind == "vod" else sample.max_per_clip


def fitting(length_s: float, sample: Sample) -> int:
    """How many targets fit into so many seconds at the minimum spacing; at least one."""
    return max(0, int(length_s / sample.min_spacing_s)) + 1


def target_limit(source: Source, sample: Sample) -> int:
    """Most targets the source may have: its cap, or as many as fit at the minimum spacing; at least one."""
    whole = guarded_span(source.kind, source.duration_s, sample)
    return min(cap_of(source, sample), fitting(whole.length_s, sample))


@dataclass(frozen=True, slots=True)
class Wish:
    """A source to visit in a new pass: whole, some of its targets (``retry``), or a ``part`` that came to it."""

    source: Source
    retry: tuple[int, ...] | None = None
    part: Part | None = None

    def place(self, sample: Sample) -> tuple[int, Part | None]:
        """How many targets it may have, and the part that they belong to; of a retry None."""
        if self.retry is not None:
            return len(self.retry), None
        part = self.part or first_part(self.source, sample)
        return part.count, part


def first_part(source: Source, sample: Sample) -> Part:
    """The part of a source that has not been visited before."""
    return Part(0, target_limit(source, sample), 0.0, source.duration_s)


def given_out(parts: Iterable[Part]) -> int:
    """Targets that the opened ones of ``parts`` have."""
    return sum(part.opened.targets for part in parts if part.opened is not None)


def plan_visits(
    pass_id: int, wishes: Iterable[Wish], sample: Sample, *, tier: Callable[[Source], int] = lambda _: 0
) -> Iterator[Visit]:
    """Visits of a pass, broadcaster by broadcaster; each broadcaster's sources in seeded order.

    The rounds of what has a higher ``tier`` begin where the last of the lower ones ends.
    """
    tiers: dict[int, list[Wish]] = {}
    for wish in wishes:
        tiers.setdefault(tier(wish.source), []).append(wish)
    slot = 0
    for _, group in sorted(tiers.items()):
        last_round = slot // sample.round_size - 1
        for visit in _visits(pass_id, group, sample, slot):
            last_round = max(last_round, visit.last_round)
            yield visit
        slot = (last_round + 1) * sample.round_size


def _visits(pass_id: int, wishes: Iterable[Wish], sample: Sample, first_slot: int) -> Iterator[Visit]:
    def place(wish: Wish) -> tuple[int, str, int]:
        source = wish.source
        return (
            rank_hash(sample.seed, source.broadcaster_id),
            source.broadcaster_id,
            rank_hash(sample.seed, source.kind, source.id),
        )

    ordered = sorted(wishes, key=place)
    for (broadcaster_hash, _), group in groupby(ordered, key=lambda wish: place(wish)[:2]):
        slot = first_slot
        for wish in group:
            count, part = wish.place(sample)
            yield Visit(
                pass_id=pass_id,
                source=wish.source,
                first_slot=slot,
                count=count,
                round_size=sample.round_size,
                broadcaster_hash=broadcaster_hash,
                source_hash=place(wish)[2],
                retry=wish.retry,
                part=part,
            )
            slot += count


def pick_targets(
    name: Sequence[str], moments_s: Sequence[float], labels: Sequence[LabelledSpan], *, limit: int, sample: Sample
) -> tuple[Target, ...]:
    """At most ``limit`` of the moments inside the labelled spans, in an order that spreads, numbered from 0.

    As many as fit at the minimum spacing; if that are too many, one from each of ``limit`` equal strata of all
    spans together, at a place seeded by ``name``; the last one if all lie before those places.
    """
    chosen = spaced_moments(moments_s, labels, sample)
    if len(chosen) > limit:
        seed = "\0".join((sample.seed, *name))
        strata = _stratified(moments_s, labels, count=limit, spacing_s=sample.min_spacing_s, seed=seed)
        chosen = strata or chosen[-1:]
    return tuple(
        Target(k, chosen[position].item, chosen[position].moment_s, chosen[position].within.label)
        for k, position in enumerate(spread_order(len(chosen)))
    )


def given_targets(
    chosen_s: Sequence[float], moments_s: Sequence[float], labels: Sequence[LabelledSpan]
) -> tuple[Target, ...]:
    """The targets at ``chosen_s``, numbered in that order; none where the source has changed and lost one."""
    targets: list[Target] = []
    for k, chosen in enumerate(chosen_s):
        item = nearest(moments_s, chosen)
        within = next((within for within in labels if moments_s[item] in within.span), None)
        if within is not None and all(item != target.item for target in targets):
            targets.append(Target(k, item, moments_s[item], within.label))
    return tuple(targets)


def nearest(moments_s: Sequence[float], wanted_s: float) -> int:
    """Number of the one nearest to ``wanted_s`` of rising moments (at least one); the earlier of two."""
    after = bisect_left(moments_s, wanted_s)
    around = range(max(0, after - 1), min(after + 1, len(moments_s)))
    return min(around, key=lambda item: abs(moments_s[item] - wanted_s))


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment that can be had, number ``item`` of the source's, and the labelled span it lies in."""

    item: int
    moment_s: float
    within: LabelledSpan


def inside(moments_s: Sequence[float], labels: Sequence[LabelledSpan]) -> Iterator[Moment]:
    """The moments inside the spans, in order. ``moments_s``: rising."""
    for within in labels:
        span = within.span
        for item in range(bisect_left(moments_s, span.start_s), bisect_left(moments_s, span.end_s)):
            yield Moment(item, moments_s[item], within)


def spread_order(count: int) -> list[int]:
    """The numbers below ``count`` in bit-reversed order: every prefix covers the range evenly."""
    bits = max(1, (count - 1).bit_length())
    reversed_bits = (int(f"{n:0{bits}b}"[::-1], 2) for n in range(1 << bits))
    return [n for n in reversed_bits if n < count]


def spaced_moments(moments_s: Sequence[float], labels: Sequence[LabelledSpan], sample: Sample) -> list[Moment]:
    """As many moments inside the spans as fit at the minimum spacing, the earliest first."""
    chosen: list[Moment] = []
    for moment in inside(moments_s, labels):
        if not chosen or moment.moment_s - chosen[-1].moment_s >= sample.min_spacing_s:
            chosen.append(moment)
    return chosen


def _stratified(
    moments_s: Sequence[float], labels: Sequence[LabelledSpan], *, count: int, spacing_s: float, seed: str
) -> list[Moment]:
    """One moment from each of ``count`` equal strata, at a seeded place, never closer than ``spacing_s``."""
    width_s = sum(within.span.length_s for within in labels) / max(1, count)
    chosen: list[Moment] = []
    remaining = inside(moments_s, labels)
    moment = next(remaining, None)
    for stratum in range(count):
        jitter = rank_hash(seed, str(stratum)) / (1 << RANK_HASH_BITS)
        wanted_s = _place(stratum * width_s + jitter * max(0.0, width_s - spacing_s), labels)
        if chosen:
            wanted_s = max(wanted_s, chosen[-1].moment_s + spacing_s)
        while moment is not None and moment.moment_s < wanted_s:
            moment = next(remaining, None)
        if moment is not None:
            chosen.append(moment)
    return chosen


def _place(way_s: float, labels: Sequence[LabelledSpan]) -> float:
    """The moment that lies ``way_s`` into all spans laid end to end (s)."""
    for within in labels:
        if way_s < within.span.length_s:
            return within.span.start_s + way_s
        way_s -= within.span.length_s
    return labels[-1].span.end_s
