"""Movie fragments (ISO/IEC 14496-12 §8.8): the sample table of one ``moof``, for the video track.

Where a sample lies follows from up to four nested defaults (``trex``, ``tfhd``, ``trun``, the sample's own row)
and from what lies in front of it, audio included; so all tracks are laid out, and the video's rows kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from harvester.errors import MediaError, NeedMoreData
from harvester.media.boxes import Box, Container, table, top_level, unsigned, version_and_flags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

#: Samples, runs and track fragments of one head together. A 10 s segment at 120 frames a second, each with its
#: audio in a fragment of its own, has about 6,000.
MAX_SAMPLES = 32_768
#: Longest ``moof`` that is asked for (bytes): at 16 bytes a sample, 65,536 samples.
MAX_MOOF_BYTES = 1 << 20
#: Latest decode time that is believed (ticks): past it sums of durations could leave int64.
MAX_TIME = 1 << 60

_HEADER_BYTES = 16  # bytes that hold any box header
_NON_SYNC = 0x0001_0000  # sample_is_non_sync_sample (§8.8.3.1)
_ROW_FIELDS = (0x100, 0x200, 0x400, 0x800)  # trun: duration, size, flags, composition offset


@dataclass(frozen=True, slots=True)
class SampleDefaults:
    """What a sample is when nothing nearer says otherwise (``trex``, then ``tfhd``)."""

    description: int = 1  # sample description index, from 1
    duration: int = 0  # ticks
    size: int = 0  # bytes
    flags: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Fragment:
    """The video samples of one ``moof`` in decoding order, as columns of equal length.

    ``offsets``: int64, bytes from the head's start; ``sizes``: int64, bytes; ``times``: int64, presentation in
    ticks; ``sync``: bool; ``descriptions``: int64, from 1. ``end``: where the ``moof`` ends in the head.
    """

    end: int
    offsets: NDArray[np.int64] = field(repr=False)
    sizes: NDArray[np.int64] = field(repr=False)
    times: NDArray[np.int64] = field(repr=False)
    sync: NDArray[np.bool_] = field(repr=False)
    descriptions: NDArray[np.int64] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _TrackHeader:
    """``tfhd`` with the base of the data offsets it implies."""

    track_id: int
    base: int
    from_file: bool  # the base is an explicit base data offset
    defaults: SampleDefaults


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """One ``trun``. ``times`` are relative to its first decode time; ``duration`` is the sum."""

    start: int
    sizes: NDArray[np.int64]
    times: NDArray[np.int64]
    sync: NDArray[np.bool_]
    duration: int
    description: int

    @property
    def end(self) -> int:
        return self.start + int(self.sizes.sum())


class FragmentReader:
    """Iterates over the fragments of ``head``; ``defaults`` are those of every track, by its id.

    ``next_bytes``: after the last fragment, how long the head must be to show the next box (None: no box can
    follow). ``count``: fragments seen.
    """

    def __init__(self, head: bytes, track_id: int, defaults: Mapping[int, SampleDefaults]) -> None:
        self._head = head
        self._track_id = track_id
        self._defaults = defaults
        self._clock = 0  # decode time behind the last fragment
        self._samples = 0
        self._media_data: Box | None = None  # the last one that was looked for
        self.next_bytes: int | None = _HEADER_BYTES
        self.count = 0

    def __iter__(self) -> Iterator[Fragment]:
        for box in top_level(self._head):
            self.next_bytes = None if box.end is None else box.end + _HEADER_BYTES
            if box.type == b"moof":
                self.count += 1
                yield self._read(box, self._content(box))

    def _content(self, box: Box) -> bytes:
        if box.end is None or box.end - box.start > MAX_MOOF_BYTES:
            raise MediaError("a moof box without a sensible size")
        if box.end > len(self._head):
            raise NeedMoreData("the head ends inside a moof box", total_bytes=box.end)
        return self._head[box.body : box.end]

    def _read(self, box: Box, content: bytes) -> Fragment:
        video: list[_Run] = []
        starts: list[int] = []
        behind, base = box.start, box.start
        for traf in map(Container, Container(content).children(b"traf")):
            self._spend(1)
            header = self._track_header(traf.require(b"tfhd"), box, behind)
            runs = self._runs(traf, header)
            behind = runs[-1].end if runs else header.base
            base = header.base if header.from_file else base
            starts += [run.start for run in runs]
            if header.track_id == self._track_id:
                video += self._timed(traf, runs)
        shift = self._shift(box, base, min(starts)) if base != box.start and starts else 0
        return _joined(box.end or 0, video, shift)

    def _shift(self, box: Box, base: int, start: int) -> int:
        """How far the data lies from where base data offsets put it (``start``: the foremost).

        A base data offset counts from the start of the *file*, and writers give that of the ``moof``. Once the
        fragment has been cut out to be a segment of its own, the file is gone: then the ``moof`` is the base.
        """
        mdat = self._media_data_behind(box.end or 0)
        to_moof = box.start - base
        inside = mdat.body <= start and (mdat.end is None or start < mdat.end)
        return to_moof if start + to_moof == mdat.body or not inside else 0

    def _track_header(self, tfhd: bytes, box: Box, behind: int) -> _TrackHeader:
        """``behind``: end of the data of the track fragment before, the base when none is given (§8.8.7.1)."""
        flags = version_and_flags(tfhd)[1]
        track_id, at = unsigned(tfhd, 4, 4), 8
        base = box.start if flags & 0x2_0000 else behind
        if flags & 0x1:
            base, at = unsigned(tfhd, at, 8), at + 8
        values: dict[str, int] = {}
        for bit, name in ((0x2, "description"), (0x8, "duration"), (0x10, "size"), (0x20, "flags")):
            if flags & bit:
                values[name], at = unsigned(tfhd, at, 4), at + 4
        defaults = replace(self._defaults.get(track_id, SampleDefaults()), **values)
        return _TrackHeader(track_id, base, bool(flags & 0x1), defaults)

    def _runs(self, traf: Container, header: _TrackHeader) -> list[_Run]:
        runs: list[_Run] = []
        for trun in traf.children(b"trun"):
            self._spend(1 + unsigned(trun, 4, 4))
            runs.append(_read_run(trun, header, runs[-1].end if runs else header.base))
        return runs

    def _spend(self, samples: int) -> None:
        """Count what is about to be laid out, so that claims cost nothing."""
        self._samples += samples
        if self._samples > MAX_SAMPLES:
            raise MediaError("more samples than a segment can have")

    def _media_data_behind(self, at: int) -> Box:
        """The first ``mdat`` from ``at`` on; looked for once, however many fragments lie in front of it."""
        if self._media_data is not None and self._media_data.start >= at:
            return self._media_data
        last = at
        for box in top_level(self._head, at):
            if box.type == b"mdat":
                self._media_data = box
                return box
            last = box.end or last
        raise NeedMoreData("the head ends in front of the media data", total_bytes=last + _HEADER_BYTES)

    def _timed(self, traf: Container, runs: list[_Run]) -> list[_Run]:
        """``runs`` with absolute times: from ``tfdt``, else going on from the last fragment."""
        tfdt = traf.first(b"tfdt")
        if tfdt is not None:
            self._clock = unsigned(tfdt, 4, 8 if version_and_flags(tfdt)[0] == 1 else 4)
        timed = []
        for run in runs:
            if self._clock > MAX_TIME:
                raise MediaError("a decode time that no clock reaches")
            timed.append(replace(run, times=run.times + self._clock))
            self._clock += run.duration
        return timed


def _read_run(trun: bytes, header: _TrackHeader, behind: int) -> _Run:
    """``behind``: where the data starts when the run does not say."""
    version, flags = version_and_flags(trun)
    count, at, start = unsigned(trun, 4, 4), 8, behind
    if flags & 0x1:
        start, at = header.base + _signed(unsigned(trun, at, 4)), at + 4
    first_flags: int | None = None
    if flags & 0x4:
        first_flags, at = unsigned(trun, at, 4), at + 4
    present = [bit for bit in _ROW_FIELDS if flags & bit]
    rows = table(trun, at, rows=count, fields=len(present))
    defaults = header.defaults
    durations, sizes, kinds, shifts = (
        rows[:, present.index(bit)] if bit in present else np.full(count, default, np.int64)
        for bit, default in zip(_ROW_FIELDS, (defaults.duration, defaults.size, defaults.flags, 0), strict=True)
    )
    if version or 0x800 in present:  # version 0 says unsigned, writers put signed numbers there all the same
        shifts = (shifts ^ 0x8000_0000) - 0x8000_0000
    if first_flags is not None and 0x400 not in present and count:
        kinds[0] = first_flags
    return _Run(
        start=start,
        sizes=sizes,
        times=np.cumsum(durations) - durations + shifts,
        sync=(kinds & _NON_SYNC) == 0,
        duration=int(durations.sum()),
        description=defaults.description,
    )


def _signed(value: int) -> int:
    return (value ^ 0x8000_0000) - 0x8000_0000


def _joined(end: int, runs: list[_Run], shift: int) -> Fragment:
    """One table of all runs, their data moved by ``shift`` bytes."""
    empty = np.empty(0, np.int64)
    if any(not 0 <= run.start + shift < MAX_TIME for run in runs):
        raise MediaError("sample data outside of the segment")
    return Fragment(
        end=end,
        offsets=np.concatenate([empty, *(run.start + shift + np.cumsum(run.sizes) - run.sizes for run in runs)]),
        sizes=np.concatenate([empty, *(run.sizes for run in runs)]),
        times=np.concatenate([empty, *(run.times for run in runs)]),
        sync=np.concatenate([empty.astype(np.bool_), *(run.sync for run in runs)]),
        descriptions=np.concatenate([empty, *(np.full(len(run.sizes), run.description) for run in runs)]),
    )
