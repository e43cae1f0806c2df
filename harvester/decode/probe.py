"""Is there a GPU here that decodes? Asked once by a run and by ``harvester doctor``; answered with proof or a fix.

The steps go from cheap to dear, and the first that fails is the verdict:

1. here: the system, and whether PyNvVideoCodec is installed (found, not imported);
2. in a short process, :mod:`harvester.decode.driver`: the driver's files, its start, the GPUs it shows;
3. in a short process for each GPU, which sees that GPU alone, :mod:`harvester.decode.trial`: the package is
   imported, tells what it decodes, and decodes a keyframe whose picture is known.

A process that dies, hangs or says nothing is a verdict too. This process loads no library of the driver's.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harvester.decode import children, driver
from harvester.decode.asking import Question, ask
from harvester.decode.devices import CodecCaps, GpuDevice, GpuVerdict
from harvester.model import Codec
from harvester.text import printable, redact

#: Most time for step 2, and for step 3 (seconds). A driver that nobody uses at the moment may have to start every
#: GPU of the machine anew, which takes seconds each; what takes a minute is stuck.
STEP_S = 60.0

#: Longest reason and remedy of a verdict (characters).
_LINE_CHARS = 600

_PACKAGE = "PyNvVideoCodec"
_ONLY = "CUDA_VISIBLE_DEVICES"


_found: list[GpuVerdict] = []  # the verdict, once it is known


def probe(hurried: Callable[[], bool] = lambda: False) -> GpuVerdict:
    """The verdict on this machine's GPUs; found once, then remembered by this process. Blocks for seconds.

    ``hurried``: whether nobody waits for it any more; then MachineError is raised and nothing is remembered.
    """
    if not _found:
        _found.append(examine(os.environ, hurried=hurried))
    return _found[0]


def forget() -> None:
    """Look again when the verdict is asked for the next time."""
    _found.clear()


def examine(
    environment: Mapping[str, str], *, step_s: float = STEP_S, hurried: Callable[[], bool] = lambda: False
) -> GpuVerdict:
    """As :func:`probe`, anew. ``environment``: that of the processes that look."""
    here = _here()
    if here:
        return _refused(here)
    try:
        (shown,) = ask([Question([sys.executable, "-I", "-S", driver.__file__], environment)], step_s, hurried)
        if "problem" in shown:
            return _refused(shown)
        return _tried(shown["names"], environment, step_s, hurried)
    except OSError as error:
        why = f"no process can be started to look for a GPU: {error.strerror}"
        return GpuVerdict((), "no-process", why, "free some memory, or raise the limit on processes")


def _here() -> driver.Answer | None:
    """What rules a GPU out before anything is started."""
    if sys.platform != "linux":
        why = f"GPUs are used on Linux alone, this is {sys.platform}"
        return driver.problem("platform", why, "nothing to mend: the CPU decodes all there is")
    if importlib.util.find_spec(_PACKAGE) is None:
        fix = f"pip install {_PACKAGE} (CPython, glibc, x86-64 or 64-bit Arm)"
        return driver.problem("package", f"{_PACKAGE} is not installed", fix)
    return None


def _tried(
    names: Sequence[str], environment: Mapping[str, str], step_s: float, hurried: Callable[[], bool]
) -> GpuVerdict:
    """Every GPU that the driver shows, tried by a process of its own; all at the same time."""
    selectors = _selectors(len(names), environment.get(_ONLY))
    command = children.command("harvester.decode.trial")
    questions = [Question(command, {**environment, _ONLY: selector}) for selector in selectors]
    answers = ask(questions, step_s, hurried)
    devices, refusals = [], []
    for selector, name, answer in zip(selectors, map(printable, names), answers, strict=False):
        if "problem" in answer:
            refusals.append({**answer, "why": f"GPU {printable(selector)} ({name}): {answer['why']}"})
        else:
            devices.append(GpuDevice(selector, name, tuple(_caps(**entry) for entry in answer["caps"])))
    if not devices:
        return _refused(refusals[0])
    why, fix = ("; ".join(dict.fromkeys(one[key] for one in refusals)) for key in ("why", "fix"))
    return GpuVerdict(tuple(devices), "", _line(why), _line(fix))


def _selectors(count: int, visible: str | None) -> list[str]:
    """What ``CUDA_VISIBLE_DEVICES`` must be for each of ``count`` visible GPUs to be the only one.

    If it is ``visible`` now, the words that name them there (those from the first wrong one on count for nothing);
    else their numbers: the driver counts alike in all processes of one environment. Unlike the UUIDs that it
    tells, both also hold for a part of a GPU (MIG).
    """
    if visible is None:
        return [str(number) for number in range(count)]
    return [word.strip() for word in visible.split(",")][:count]


def _caps(codec: str, bit_depth: int, engines: int, **limits: int) -> CodecCaps:
    return CodecCaps(Codec(codec), bit_depth, engines, **limits)


def _refused(answer: Mapping[str, Any]) -> GpuVerdict:
    return GpuVerdict((), answer["problem"], _line(answer["why"]), _line(answer["fix"]))


def _line(text: str) -> str:
    return printable(redact(text), _LINE_CHARS)
