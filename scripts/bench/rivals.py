"""Other ways to the same pictures, and the two limits: each a process of its own.

    python -m bench.rivals ARM JOB.json

Reads what is wanted from the job, prints one JSON line: when the work itself began and ended (seconds of the
clock), the pictures made, the processor time meanwhile. No target is begun after ``limit_s``.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.stock import Place


@dataclass(frozen=True, slots=True)
class Wanted:
    """One picture: the first of a segment. ``url``: the segment; ``playlist``: what it is listed in."""

    place: Place
    playlist: str
    url: str
    at_s: float

    @property
    def name(self) -> str:
        """Its file's name."""
        return f"{self.place.vod}-{self.place.segment}.jpg"


@dataclass(frozen=True, slots=True)
class Job:
    """What an arm does. ``ranges``: (path, Range header) for the limit of the network over ``connections``."""

    wanted: Sequence[Wanted]
    out: str
    limit_s: float
    quality: str
    folder: str
    port: int
    connections: int = 0
    ranges: Sequence[tuple[str, str]] = ()
    decoder: str = "auto"  # of the limit that decodes from memory: [decode] backend

    @classmethod
    def read(cls, path: Path) -> Job:
        """What :mod:`bench.arms` has written."""
        document = json.loads(path.read_text(encoding="utf-8"))
        wanted = [Wanted(**entry | {"place": Place(**entry["place"])}) for entry in document.pop("wanted")]
        return cls(wanted=wanted, **document)


Arm = Callable[[Job], int]


def in_time(job: Job, wanted: Sequence[Wanted]) -> Iterator[Wanted]:
    """Those wanted, as long as there is time."""
    end = time.monotonic() + job.limit_s
    return itertools.takewhile(lambda _: time.monotonic() < end, wanted)


def in_threads(job: Job, threads: int, one: Callable[[Wanted], object]) -> int:
    """``one`` for each wanted in so many threads; returns how many."""
    end = time.monotonic() + job.limit_s

    def timely(wanted: Wanted) -> bool:
        if time.monotonic() >= end:
            return False
        one(wanted)
        return True

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(timely, job.wanted))


def ffmpeg(job: Job, processes: int) -> int:
    """One process a frame, as scripts do it.

    -ss goes 0.13 s further back where there are B pictures, so into the segment before; what ffmpeg then reads
    is 10 s early, which it takes for a gap in the time stamps and closes: without a threshold it exits with 0 and
    shows the picture of 10 s before.
    """
    program = shutil.which("ffmpeg") or "ffmpeg"

    def one(wanted: Wanted) -> None:
        asked = ["-ss", f"{wanted.at_s:.3f}", "-i", wanted.playlist, "-frames:v", "1", "-q:v", "2"]
        whole = [program, "-nostdin", "-v", "error", "-dts_delta_threshold", "1000", *asked]
        subprocess.run([*whole, "-y", f"{job.out}/{wanted.name}"], check=True)

    return in_threads(job, processes, one)


def by_playlist(job: Job) -> Iterator[tuple[str, Iterator[Wanted]]]:
    """What is wanted VOD by VOD, each in order of time: for those who open a playlist once."""
    ordered = sorted(job.wanted, key=lambda wanted: (wanted.playlist, wanted.at_s))
    return itertools.groupby(in_time(job, ordered), key=lambda wanted: wanted.playlist)


def pyav_seek(job: Job) -> int:
    """A VOD's media playlist opened once, then one seek a frame; nothing before the keyframe is decoded.

    To a second before, half a GOP: libavformat goes by the DTS, which lies before the PTS where there are B
    pictures, and would skip the keyframe that is wanted.
    """
    import av

    from bench.sketch import save

    done = 0
    for playlist, group in by_playlist(job):
        with av.open(playlist) as container:
            video = container.streams.video[0]
            first_s = (container.start_time or 0) / 1e6
            for wanted in group:
                due_s = wanted.at_s + first_s
                container.seek(round((due_s - 1) * 1e6))
                packets = (packet for packet in container.demux(video) if packet.pts is not None)
                key = next(p for p in packets if p.is_keyframe and float(p.pts * p.time_base) >= due_s - 0.001)
                video.codec_context.flush_buffers()
                frame = [*video.codec_context.decode(key), *video.codec_context.decode(None)][0]
                save(frame, Path(job.out, wanted.name))
                done += 1
    return done


def opencv(job: Job) -> int:
    """The same with OpenCV's VideoCapture."""
    import cv2

    done = 0
    for playlist, group in by_playlist(job):
        capture = cv2.VideoCapture(playlist, cv2.CAP_FFMPEG)
        for wanted in group:
            capture.set(cv2.CAP_PROP_POS_MSEC, wanted.at_s * 1000)
            there, image = capture.read()
            done += there
            if there:
                cv2.imwrite(f"{job.out}/{wanted.name}", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
        capture.release()
    return done


def torchcodec(job: Job) -> int:
    """The same with torchcodec."""
    import cv2
    from torchcodec.decoders import VideoDecoder  # type: ignore[import-not-found]

    done = 0
    for playlist, group in by_playlist(job):
        decoder = VideoDecoder(playlist, seek_mode="approximate", dimension_order="NHWC")
        for wanted in group:
            image = decoder.get_frame_played_at(wanted.at_s + decoder.metadata.begin_stream_seconds).data.numpy()
            cv2.imwrite(f"{job.out}/{wanted.name}", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
            done += 1
    return done


def sketch(job: Job, way: str) -> int:
    """Ranges of heads, or whole segments, over 16 connections."""
    from bench.sketch import CONNECTIONS, WAYS

    return in_threads(job, CONNECTIONS, lambda wanted: WAYS[way](wanted.url, Path(job.out, wanted.name)))


ARMS: dict[str, Arm] = {
    "ffmpeg": lambda job: ffmpeg(job, 1),
    "ffmpeg x 8": lambda job: ffmpeg(job, 8),
    "pyav seek": pyav_seek,
    "opencv": opencv,
    "torchcodec": torchcodec,
    "segments x 16": lambda job: sketch(job, "segments"),
    "sketch x 16": lambda job: sketch(job, "heads"),
}


def missing(arm: str) -> str:
    """Why an arm cannot run here; "" if it can."""
    if arm.startswith("ffmpeg"):
        return "" if shutil.which("ffmpeg") else "there is no program ffmpeg"
    module = {"opencv": "cv2", "torchcodec": "torchcodec"}.get(arm, "av")
    return "" if importlib.util.find_spec(module) else f"{module} is not installed"


def cpu_s() -> float:
    """Processor time of this process and of its children that have ended (s)."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def timed(work: Callable[[], int]) -> dict[str, float]:
    """What :class:`bench.arms.Run` is made of."""
    cpu, begin = cpu_s(), time.time()
    done = work()
    return {"done": done, "begin": begin, "end": time.time(), "cpu_s": cpu_s() - cpu}


def main() -> None:
    """One arm."""
    from bench.limits import LIMITS

    arm, job = sys.argv[1], Job.read(Path(sys.argv[2]))
    work = LIMITS[arm](job) if arm in LIMITS else lambda: ARMS[arm](job)
    print(json.dumps(timed(work)))


if __name__ == "__main__":
    main()
