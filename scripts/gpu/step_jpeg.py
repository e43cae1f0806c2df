"""JPEG of kept frames: libjpeg on the cores against nvImageCodec and torchvision on the GPU; 1080p, quality 90."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np

from gpu import reference
from gpu.check import Check
from gpu.rates import Turn, measure
from gpu.streams import MAIN_KB
from harvester.model import Codec, Picture
from harvester.vision import jpeg

QUALITY = 90
_BATCHES = (1, 8, 32)
_THREADS = (1, 4, 8, 16)


def run(check: Check) -> None:
    units = check.streams.sized[Codec.H264, 1080, MAIN_KB]
    pictures = [reference.decode(unit) for unit in units]
    seconds = 0.2 if check.quick else 2.0
    cores = len(os.sched_getaffinity(0))
    for threads in sorted({1, cores}):
        check.part("cv2", partial(_host, pictures, threads, seconds), threads=threads)
    images = [jpeg.to_rgb(picture) for picture in pictures]
    check.part("nvimgcodec likeness", partial(_likeness, pictures[0], images[0]))
    for threads in _THREADS:
        for batch in _BATCHES if threads == 8 else (8,):
            check.part(
                "nvimgcodec",
                partial(_nvimgcodec, _filled(images, batch), threads, seconds),
                needs_s=2 * seconds,
                batch=batch,
                threads=threads,
            )
    for batch in (1, 8):
        check.part(
            "torchvision",
            partial(_torchvision, _filled(images, batch), seconds),
            needs_s=2 * seconds,
            batch=batch,
        )


def _filled(images: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    return [images[number % len(images)] for number in range(count)]


def _host(pictures: Sequence[Picture], threads: int, seconds: float) -> Mapping[str, Any]:
    def opened(number: int) -> Turn:
        def turn(count: int) -> int:
            jpeg.encode(pictures[(number + count) % len(pictures)], quality=QUALITY)
            return 1

        return turn

    return measure(opened, threads, seconds).facts() | {"bytes": len(jpeg.encode(pictures[0], quality=QUALITY))}


class _Nv:
    """nvImageCodec on images that lie on the GPU already, as RGB."""

    def __init__(self, images: Sequence[np.ndarray], threads: int) -> None:
        import cupy
        from nvidia import nvimgcodec

        self._held = [cupy.asarray(image) for image in images]
        self._images = [nvimgcodec.as_image(image) for image in self._held]
        self._encoder = nvimgcodec.Encoder(max_num_cpu_threads=threads)
        half = nvimgcodec.ChromaSubsampling.CSS_420
        if hasattr(nvimgcodec, "QualityType"):
            kind = nvimgcodec.QualityType.QUALITY
            self._params = nvimgcodec.EncodeParams(
                quality_type=kind, quality_value=QUALITY, chroma_subsampling=half
            )
        else:  # of older versions
            self._params = nvimgcodec.EncodeParams(quality=QUALITY, chroma_subsampling=half)

    def encode(self) -> list[bytes]:
        """All images. Raises ValueError if one failed: the package prints a warning and gives None."""
        streams = self._encoder.encode(self._images, "jpeg", params=self._params)
        if any(stream is None for stream in streams):
            raise ValueError("an image was not encoded")
        return [bytes(stream) for stream in streams]


def _nvimgcodec(images: Sequence[np.ndarray], threads: int, seconds: float) -> Mapping[str, Any]:
    return _timed(_Nv(images, threads).encode, seconds)


def _torchvision(images: Sequence[np.ndarray], seconds: float) -> Mapping[str, Any]:
    import torch
    from torchvision.io import encode_jpeg

    planar = [torch.from_numpy(image).permute(2, 0, 1).contiguous().cuda() for image in images]

    def encode() -> list[bytes]:
        return [bytes(data.cpu().numpy()) for data in encode_jpeg(planar, quality=QUALITY)]

    return _timed(encode, seconds)


def _timed(encode: Callable[[], Sequence[bytes]], seconds: float) -> Mapping[str, Any]:
    encode()
    done, begin, cpu = 0, time.perf_counter(), time.process_time()
    data: Sequence[bytes] = ()
    while (took := time.perf_counter() - begin) < seconds:
        data = encode()
        done += len(data)
    cpu = time.process_time() - cpu
    return {"fps": round(done / took, 1), "cpu_ms_per_frame": round(1000 * cpu / done, 3), "bytes": len(data[0])}


def _likeness(picture: Picture, image: np.ndarray) -> Mapping[str, Any]:
    """PSNR between what the two encoders' files show (dB); the datasets promise 45 at least."""
    data = _Nv([image], threads=1).encode()[0]
    ours = _shown(jpeg.encode(picture, quality=QUALITY))
    return {"psnr_db": psnr(ours, _shown(data)), "bytes": len(data)}


def _shown(data: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))


def psnr(one: np.ndarray, other: np.ndarray) -> float | None:
    """Of two pictures of 8 bits (dB); None of equal ones."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return round(10 * math.log10(255**2 / error), 2) if error else None
