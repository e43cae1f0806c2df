"""Pictures that stay on the GPU: does what the package hands out work in CuPy and torch, and is it safe to copy a
frame on the decoder's own stream without waiting first?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from gpu import driver, pynv, reference
from gpu.check import Check
from harvester.model import AccessUnit, Codec

#: Frames of the race: enough for a fault of one in a thousand.
_RACES = 2000


def run(check: Check) -> None:
    package = pynv.load()
    unit = check.streams.exact["1080p"]
    check.part("race", partial(_race, package, check), needs_s=3)
    for name, take in (  # those that are safe come first: a fault of the GPU stays with the process
        ("driver copy", _by_driver),
        ("harvester session", _by_session),
        ("cupy unowned", _by_unowned),
        ("torch from_dlpack", _by_torch),
        ("cupy from_dlpack", _by_cupy_dlpack),
        ("cupy asarray of view", _by_view),
    ):
        for explicit in (True, False):
            check.part(
                "take",
                partial(_taken, take, package, unit, explicit),
                way=name,
                explicit_stream=explicit,
            )


def _taken(take: Callable[..., np.ndarray], package: Any, unit: AccessUnit, explicit: bool) -> Mapping[str, Any]:
    return {"same": reference.same(take(package, unit, explicit), unit)}


def _decoder(package: Any, explicit: bool) -> tuple[pynv.Raw, int, driver.Cuda]:
    cuda = driver.Cuda()
    cuda.enter()
    stream = cuda.stream() if explicit else 0
    return pynv.Raw(package, Codec.H264, device_memory=True, stream=stream), stream, cuda


def _shape(unit: AccessUnit) -> tuple[int, int]:
    return unit.stream.height * 3 // 2, unit.stream.width


def _by_driver(package: Any, unit: AccessUnit, explicit: bool) -> np.ndarray:
    decoder, stream, cuda = _decoder(package, explicit)
    frame = decoder.decode(unit.data)[0]
    block = np.empty(_shape(unit), np.uint8)
    cuda.to_host(frame.GetPtrToPlane(0), block, stream)
    cuda.wait(stream)
    return block


def _by_unowned(package: Any, unit: AccessUnit, explicit: bool) -> np.ndarray:
    import cupy

    decoder, stream, _ = _decoder(package, explicit)
    frame = decoder.decode(unit.data)[0]
    shape = _shape(unit)
    memory = cupy.cuda.UnownedMemory(frame.GetPtrToPlane(0), shape[0] * shape[1], frame)
    with cupy.cuda.ExternalStream(stream):
        copied = cupy.ndarray(shape, cupy.uint8, cupy.cuda.MemoryPointer(memory, 0)).copy()
        block: np.ndarray = copied.get()
    return block


def _by_view(package: Any, unit: AccessUnit, explicit: bool) -> np.ndarray:
    import cupy

    decoder, _, _ = _decoder(package, explicit)
    frame = decoder.decode(unit.data)[0]
    planes = [cupy.asarray(view).get() for view in frame.cuda()]
    return np.concatenate([plane.reshape(-1, unit.stream.width) for plane in planes])


def _by_cupy_dlpack(package: Any, unit: AccessUnit, explicit: bool) -> np.ndarray:
    import cupy

    decoder, _, _ = _decoder(package, explicit)
    block: np.ndarray = cupy.from_dlpack(decoder.decode(unit.data)[0]).get()
    return block


def _by_torch(package: Any, unit: AccessUnit, explicit: bool) -> np.ndarray:
    import torch

    decoder, _, _ = _decoder(package, explicit)
    block: np.ndarray = torch.from_dlpack(decoder.decode(unit.data)[0]).cpu().numpy()
    return block


def _by_session(package: Any, unit: AccessUnit, explicit: bool) -> np.ndarray:
    from harvester.decode.cuda import DeviceBench
    from harvester.decode.nvdec import Session

    del package, explicit
    bench = DeviceBench()
    session = Session(device=bench)
    block = bench.to_host(session.decode(unit))
    session.close()
    return block


def _race(package: Any, check: Check) -> Mapping[str, Any]:
    """Copies on the decoder's stream right behind each call, without waiting for the frame: all must be right.

    Two pictures in turn, so that a copy that comes too early or too late shows the other one.
    """
    units = check.streams.sized[Codec.H264, 720, 100]
    pair = [units[0], units[1] if len(units) > 1 else check.streams.exact["720p"]]
    decoder, stream, cuda = _decoder(package, explicit=True)
    blocks = [np.empty(_shape(unit), np.uint8) for unit in pair]
    wrong = done = 0
    rest_s = check.left_s() / 2  # for what follows
    for number in range(20 if check.quick else _RACES):
        if check.left_s() < rest_s:
            break
        frame = decoder.decode(pair[number % 2].data, number)[0]
        cuda.to_host(frame.GetPtrToPlane(0), blocks[number % 2], stream)
        cuda.wait(stream)
        wrong += not np.array_equal(blocks[number % 2], reference.expected(pair[number % 2]))
        done += 1
    return {"frames": done, "wrong": wrong}
