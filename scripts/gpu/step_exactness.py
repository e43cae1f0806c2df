"""The same bits as libavcodec, case by case, and what the package does where it must not be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from gpu import pynv, reference
from gpu.check import Check
from gpu.streams import MAIN_KB, damaged, with_data
from harvester.decode.nvdec import Session, to_picture
from harvester.model import AccessUnit, Codec
from harvester.vision.measure import measure
from harvester.vision.phash import hex16, phash

#: Cases that a run may send to the CPU: what NVDEC makes of them is told, but is no fault.
ROUTED = frozenset(("left-crop", "interlaced", "small", "h264-10", "av1"))
#: Shares of a cut access unit that are fed.
_CUTS = (0.3, 0.6, 0.9, 0.99)
_LARGEST = (1920, 1088)


def run(check: Check) -> None:
    session = Session()
    for name, unit in check.streams.exact.items():
        check.part("case", partial(_case, session, unit), name=name, routed=name in ROUTED)
    session.close()
    units = check.streams.exact
    big, small, other = units["1080p"], units["720p"], units["1088p"]
    package = pynv.load()
    check.part("a-b-a keyed", partial(_keyed, [big, small, other, units["360p"], big, small] * 3))
    check.part("a-b-a announced", partial(_alternated, package, [big, small, big, small], announce=True))
    check.part("a-b-a unannounced", partial(_alternated, package, [big, small, big], announce=False))
    check.part("same coded, other display", partial(_alternated, package, [big, other, big], announce=False))
    following = check.streams.sized[Codec.H264, 1080, MAIN_KB][-1]
    check.part("frame held", partial(_held, package, big, following))
    check.part("left crop bare", partial(_alternated, package, [units["left-crop"]], announce=False))
    if "interlaced" in units:
        check.part("interlaced bare", partial(_alternated, package, [units["interlaced"]] * 2, announce=False))
    for cut in _CUTS:
        broken = with_data(small, small.data[: int(cut * len(small.data))])
        check.part("cut bare", partial(_broken, package, broken, small), share=cut)
        check.part("cut", partial(_refused, broken, small), share=cut)
    noisy = with_data(small, damaged(small.data))
    check.part("noise bare", partial(_broken, package, noisy, small))
    check.part("noise", partial(_refused, noisy, small))


def _case(session: Session, unit: AccessUnit) -> Mapping[str, Any]:
    picture = to_picture(session.decode(unit), unit.stream)
    wanted = reference.decode(unit)
    ours, theirs = measure(picture), measure(wanted)
    block = reference.nv12(picture)
    return {
        "size": [unit.stream.width, unit.stream.height],
        "same": reference.same(block, unit),
        "measurement_same": reference.same_measurement(ours, theirs),
        "phash_same": phash(ours.grid) == phash(theirs.grid),
        "phash": hex16(phash(ours.grid)),
        "sha256": reference.sha256(block),
        "sha256_libavcodec": reference.sha256(reference.expected(unit)),
    }


def _keyed(units: Sequence[AccessUnit]) -> Mapping[str, Any]:
    session = Session()
    same = [reference.same(reference.nv12(to_picture(session.decode(unit), unit.stream)), unit) for unit in units]
    session.close()
    return {"same": all(same), "pictures": same}


def _alternated(package: Any, units: Sequence[AccessUnit], *, announce: bool) -> Mapping[str, Any]:
    """One decoder for units of several sizes. ``shapes``: of each frame that came, [lines, width]."""
    decoder = pynv.Raw(package, Codec.H264, largest=_LARGEST)
    shapes, same = [], []
    for unit in units:
        if announce:
            decoder.announce(unit.stream.width, unit.stream.height)
        frames = decoder.decode(unit.data)
        shapes.append([list(pynv.view(frame).shape) for frame in frames])
        same.append(bool(frames) and reference.same(pynv.view(frames[0]), unit))
    return {"shapes": shapes, "same": same}


def _held(package: Any, unit: AccessUnit, other: AccessUnit) -> Mapping[str, Any]:
    """Is a frame that is kept across the next call, of the same size, still what it was?"""
    decoder = pynv.Raw(package, Codec.H264)
    frame = decoder.decode(unit.data)[0]
    held = pynv.view(frame)
    before, address = held.copy(), held.ctypes.data
    following = decoder.decode(other.data)[0]
    return {
        "right_at_first": reference.same(before, unit),
        "overwritten": bool((held != before).any()),
        "same_address": pynv.view(following).ctypes.data == address,
    }


def _broken(package: Any, broken: AccessUnit, whole: AccessUnit) -> Mapping[str, Any]:
    """What comes of a unit that is not whole, fed as it is; and of the next whole one on the same decoder."""
    decoder = pynv.Raw(package, Codec.H264)
    decoder.decode(whole.data)
    facts: dict[str, Any] = {"frames": 0}
    try:
        frames = decoder.decode(broken.data)
        facts["frames"] = len(frames)
        if frames:
            facts["as_if_whole"] = reference.same(pynv.view(frames[0]), whole)
    except Exception as error:  # noqa: BLE001 - which one it is, is the question
        facts["raised"] = f"{type(error).__name__}: {error}"[:200]
    after = [frame for _ in range(2) for frame in decoder.decode(whole.data)]
    facts["right_afterwards"] = bool(after) and reference.same(pynv.view(after[-1]), whole)
    return facts


def _refused(broken: AccessUnit, whole: AccessUnit) -> Mapping[str, Any]:
    """The same through harvester's session, which sees what is raised; what is printed only the worker around it
    does, see the step ``worker``."""
    session = Session()
    facts: dict[str, Any] = {"refused": False}
    try:
        block = session.decode(broken)
        facts["as_if_whole"] = reference.same(block, whole)
    except Exception as error:  # noqa: BLE001 - as above
        facts = {"refused": True, "raised": f"{type(error).__name__}: {error}"[:200]}
    facts["right_afterwards"] = reference.same(session.decode(whole), whole)
    session.close()
    return facts
