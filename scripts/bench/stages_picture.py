"""From a head to a JPEG: the stages that a picture goes through, each beside its oracle."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import av
import cv2
import imagehash
import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from bench.stages_samples import Sample
from bench.stages_timing import Stage
from harvester.config import Config
from harvester.decode.cpu import CpuDecoder
from harvester.media import fmp4, h264, mpegts
from harvester.model import Measurement, Picture
from harvester.vision.filters import judge
from harvester.vision.jpeg import encode, to_rgb
from harvester.vision.measure import measure, pack, unpack
from harvester.vision.phash import phash

QUALITY = 90
#: Bits by which our hash and imagehash's may differ: their sums are of floats, ours of integers.
HASH_BITS_APART = 8
#: Least likeness of two encoders' pictures (dB; invariants, "Same bits on every backend").
LEAST_PSNR_DB = 45.0


def each(samples: Sequence[Sample], way: Callable[[Sample], Any]) -> Callable[[], list[Any]]:
    """``way`` for every sample."""
    return lambda: [way(sample) for sample in samples]


def picture_stages(samples: Sequence[Sample]) -> list[Stage]:
    """All of them, on pictures of one size."""
    n = len(samples)
    return [
        _head_ts(samples, n),
        _head_mp4(samples, n),
        _sps(samples, n),
        _decode(samples, n),
        *_looks(samples, n),
    ]


def _head_ts(samples: Sequence[Sample], n: int) -> Stage:
    def ours(sample: Sample) -> bytes:
        return mpegts.first_access_unit(sample.ts, complete=False).data

    def check() -> None:
        for sample in samples:
            assert ours(sample) == sample.unit.data
            shown = _first_frame(demuxed(sample.ts))
            assert np.array_equal(_luma(shown), sample.picture.y), sample.name

    ways = {"harvester": each(samples, ours), "PyAV demuxer": each(samples, lambda s: demuxed(s.ts))}
    return Stage("MPEG-TS head to access unit", ways, check, goal_ms=0.2, calls=n, unit="head")


def _head_mp4(samples: Sequence[Sample], n: int) -> Stage:
    inits = {sample.name: fmp4.parse_init(sample.init) for sample in samples}

    def ours(sample: Sample) -> bytes:
        return fmp4.first_access_unit(inits[sample.name], sample.fragment, complete=False).data

    def check() -> None:
        decoder = CpuDecoder()
        for sample in samples:
            unit = fmp4.first_access_unit(inits[sample.name], sample.fragment, complete=False)
            assert np.array_equal(decoder.decode(unit).y, sample.picture.y), sample.name

    ways = {
        "harvester": each(samples, ours),
        "PyAV demuxer": each(samples, lambda s: demuxed(s.init + s.fragment)),
    }
    return Stage("fMP4 head to access unit", ways, check, goal_ms=0.2, calls=n, unit="head")


def demuxed(head: bytes) -> Any:
    """The first packet of the video as libavformat finds it."""
    with av.open(io.BytesIO(head)) as container:
        return next(packet for packet in container.demux(video=0) if packet.is_keyframe)


def _first_frame(packet: Any) -> VideoFrame:
    return next(iter([*packet.decode(), *packet.stream.decode(None)]))


def _luma(frame: VideoFrame) -> NDArray[np.uint8]:
    return frame.to_ndarray()[: frame.height, : frame.width]


def _sps(samples: Sequence[Sample], n: int) -> Stage:
    units = [_nal_of(sample.unit.data, 7) for sample in samples]
    read = h264.parse_sps.__wrapped__

    def check() -> None:
        for sample, nal in zip(samples, units, strict=True):
            frame = bare(context(), sample.unit.data)
            stream = read(nal).stream
            assert (stream.width, stream.height) == (frame.width, frame.height)

    return Stage("SPS", {"harvester": lambda: [read(nal) for nal in units]}, check, calls=n, unit="SPS")


def _nal_of(data: bytes, kind: int) -> bytes:
    nals = [nal.rstrip(b"\0") for nal in data.split(b"\0\0\1") if nal]
    return next(nal for nal in nals if nal and nal[0] & 31 == kind)


def context() -> VideoCodecContext:
    """A decoder as PyAV opens it, on one thread."""
    made = CodecContext.create("h264", "r")
    assert isinstance(made, VideoCodecContext)
    made.thread_count = 1
    return made


def bare(decoder: VideoCodecContext, data: bytes) -> VideoFrame:
    """The frame and nothing checked."""
    frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    decoder.flush_buffers()
    return frames[0]


def _decode(samples: Sequence[Sample], n: int) -> Stage:
    ours, kept = CpuDecoder(), context()

    def check() -> None:
        for sample in samples:
            assert np.array_equal(ours.decode(sample.unit).y, _luma(bare(kept, sample.unit.data)))

    ways = {
        "harvester": each(samples, lambda s: ours.decode(s.unit)),
        "PyAV, context kept": each(samples, lambda s: bare(kept, s.unit.data)),
        "PyAV, context opened": each(samples, lambda s: bare(context(), s.unit.data)),
    }
    return Stage("decode", ways, check, calls=n, unit="picture")


def _looks(samples: Sequence[Sample], n: int) -> list[Stage]:
    measured = [measure(sample.picture) for sample in samples]
    limits = Config().filter

    def check_measure() -> None:
        for sample, one in zip(samples, measured, strict=True):
            check_measurement(one, sample.picture.y)

    def check_hash() -> None:
        for sample, one in zip(samples, measured, strict=True):
            theirs = int(str(imagehash.phash(Image.fromarray(sample.picture.y))), 16)
            assert (phash(one.grid) ^ theirs).bit_count() <= HASH_BITS_APART, sample.name

    def check_pack() -> None:
        assert all(np.array_equal(unpack(pack(one)).grid, one.grid) for one in measured)

    def check_judge() -> None:
        for sample, one in zip(samples, measured, strict=True):
            mean = judge(one, limits).scores["luma_mean"]
            assert math.isclose(mean, float(sample.picture.y.mean()), rel_tol=1e-9)

    size = samples[0].picture.stream
    return [
        Stage(
            "measurement and hash",
            {
                "harvester": each(samples, lambda s: phash(measure(s.picture).grid)),
                "plain NumPy": each(samples, lambda s: plain_measurement(s.picture.y)),
                "cv2.calcHist alone": each(
                    samples, lambda s: cv2.calcHist([s.picture.y], [0], None, [256], [0, 256])
                ),
            },
            check_measure,
            goal_ms=1.0 if size.height == 1080 else None,
            calls=n,
            unit="picture",
        ),
        Stage(
            "hash",
            {
                "harvester, of a measurement": lambda: [phash(one.grid) for one in measured],
                "imagehash, of the plane": each(samples, lambda s: imagehash.phash(Image.fromarray(s.picture.y))),
            },
            check_hash,
            calls=n,
            unit="picture",
        ),
        Stage(
            "filters",
            {"harvester": lambda: [judge(one, limits) for one in measured]},
            check_judge,
            calls=n,
            unit="picture",
        ),
        Stage(
            "packing a measurement",
            {"harvester": lambda: [pack(one) for one in measured]},
            check_pack,
            calls=n,
            unit="picture",
        ),
        _colour(samples, n),
        _jpeg(samples, n),
    ]


def plain_measurement(y: NDArray[np.uint8]) -> tuple[Any, ...]:
    """What a measurement holds, less the grid, as NumPy is mostly asked for it."""
    exact = y.astype(np.int64)
    rows = [i * y.shape[0] // 18 for i in range(18)]
    columns = [i * y.shape[1] // 32 for i in range(32)]

    def tiles(values: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)

    gradient = np.abs(np.diff(exact, axis=0)).sum() + np.abs(np.diff(exact, axis=1)).sum()
    return (
        np.bincount(y.ravel(), minlength=256),
        tiles(exact),
        tiles(exact * exact),
        int(gradient),
        plain_variogram(exact),
    )


def plain_variogram(exact: NDArray[np.int64]) -> tuple[int, int]:
    """Squared differences one lag apart, and two, on every line that is a multiple of the lag."""
    lag = max(1, (min(exact.shape) + 30) // 60)
    lines = exact[::lag]

    def squares(across: int, down: int) -> int:
        beside, below = lines[:, across:] - lines[:, :-across], lines[down:] - lines[:-down]
        return int((beside**2).sum() + (below**2).sum())

    return squares(lag, 1), squares(2 * lag, 2)


def check_measurement(one: Measurement, y: NDArray[np.uint8]) -> None:
    """Every number of it, against its definition."""
    histogram, sums, squares, gradient, variogram = plain_measurement(y)
    assert np.array_equal(one.histogram, histogram)
    assert np.array_equal(one.tile_sums, sums)
    assert np.array_equal(one.tile_squares, squares)
    assert one.gradient == gradient
    assert one.variogram == variogram
    down, across = (coverage(length) for length in y.shape)
    assert np.array_equal(one.grid, down @ y.astype(np.int64) @ across.T)


def coverage(size: int) -> NDArray[np.int64]:
    """A[i, j] = overlap of [i·n, (i + 1)·n) with [32j, 32j + 32)."""
    cells, pixels = np.arange(32)[:, None] * size, np.arange(size) * 32
    return np.maximum(np.minimum(cells + size, pixels + 32) - np.maximum(cells, pixels), 0)


# -- colours and files ------------------------------------------------------------------------------------


def _frame(picture: Picture) -> VideoFrame:
    planes = [plane.ravel() for plane in (picture.y, picture.u, picture.v) if plane is not None]
    stacked = np.concatenate(planes).reshape(-1, picture.stream.width)
    return VideoFrame.from_ndarray(stacked, format="yuv420p")


def swscale(frame: VideoFrame) -> NDArray[np.uint8]:
    """RGB by libswscale: chroma repeated, rounded accurately, BT.709 limited to full range."""
    flags = Interpolation.POINT | 0x40000 | 0x2000  # SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT
    return (
        VideoReformatter()
        .reformat(
            frame,
            format="rgb24",
            src_colorspace=1,
            dst_colorspace=1,
            src_color_range=1,
            dst_color_range=2,
            interpolation=int(flags),
        )
        .to_ndarray()
    )


def _colour(samples: Sequence[Sample], n: int) -> Stage:
    frames = {sample.name: _frame(sample.picture) for sample in samples}

    def check() -> None:
        for sample in samples:
            apart = np.abs(to_rgb(sample.picture).astype(int) - swscale(frames[sample.name]))
            assert int(apart.max()) <= 2, (sample.name, int(apart.max()))

    ways = {
        "harvester": each(samples, lambda s: to_rgb(s.picture)),
        "libswscale": each(samples, lambda s: swscale(frames[s.name])),
        "cv2.cvtColor (BT.601 only)": each(
            samples, lambda s: cv2.cvtColor(frames[s.name].to_ndarray(), cv2.COLOR_YUV2RGB_I420)
        ),
    }
    return Stage("colour conversion", ways, check, calls=n, unit="picture")


def _jpeg(samples: Sequence[Sample], n: int) -> Stage:
    rgb = {sample.name: to_rgb(sample.picture) for sample in samples}
    encoders = jpeg_encoders()

    def check() -> None:
        for sample in samples:
            ours = _decoded(encode(sample.picture, quality=QUALITY))
            for name, encoder in encoders.items():
                if "planes" not in name:  # those keep the stream's own range and matrix: other colours
                    likeness = psnr(ours, _decoded(encoder(rgb[sample.name], sample.picture)))
                    assert likeness >= LEAST_PSNR_DB, (sample.name, name, likeness)

    ways: dict[str, Callable[[], Any]] = {
        "harvester, with colours": each(samples, lambda s: encode(s.picture, quality=QUALITY))
    }
    for name, encoder in encoders.items():
        ways[name] = each(samples, lambda s, encoder=encoder: encoder(rgb[s.name], s.picture))
    sizes = {"jpeg_bytes": round(sum(len(encode(s.picture, quality=QUALITY)) for s in samples) / n)}
    return Stage("JPEG", ways, check, calls=n, unit="picture", notes=sizes)


def jpeg_encoders() -> dict[str, Callable[[Any, Picture], bytes]]:
    """Encoders that are installed: of RGB pixels, and of the planes as they are."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]

    def opencv(rgb: Any, _: Picture) -> bytes:
        return bytes(cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), settings)[1])

    def pillow(rgb: Any, _: Picture) -> bytes:
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, "JPEG", quality=QUALITY, subsampling=2)
        return file.getvalue()

    found: dict[str, Callable[[Any, Picture], bytes]] = {"cv2, of pixels": opencv, "Pillow, of pixels": pillow}
    try:
        import simplejpeg
    except ImportError:
        return found
    found["simplejpeg, of pixels"] = lambda rgb, _: simplejpeg.encode_jpeg(rgb, QUALITY, "RGB", "420", True)
    found["simplejpeg, of planes"] = lambda _, p: simplejpeg.encode_jpeg_yuv_planes(p.y, p.u, p.v, QUALITY, True)
    return found


def _decoded(jpeg: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Likeness of two pictures (dB), infinite for the same."""
    error = float(((one.astype(np.float64) - other) ** 2).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
