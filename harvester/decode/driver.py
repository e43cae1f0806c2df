"""What the NVIDIA driver says of this machine: are its files there, does it start, which GPUs does it show?

Run as a program of its own by :mod:`harvester.decode.probe` (``python -I -S driver.py FD``; its answer goes into
the file descriptor FD, as JSON), since a driver that is out of order may print, hang or end its process. It needs
the standard library alone: a machine without a GPU, as most are, knows that after a few hundredths of a second.

The files are three, and the driver's own: no wheel brings them, and a container has those that its capabilities
name. ``libcuda`` starts the GPU, ``libnvcuvid`` decodes, and PyNvVideoCodec loads ``libnvidia-encode`` while it is
imported, though nothing here encodes.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

#: What the driver's files are called for the loader, in the order they are looked for.
CUDA, DECODER, ENCODER = "libcuda.so.1", "libnvcuvid.so.1", "libnvidia-encode.so.1"

#: Folders that containers and systems put the driver in without always telling the loader: Kubernetes' device
#: plugins and NVIDIA's older images, WSL 2, NixOS.
DRIVER_FOLDERS = (
    *("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib"),
    *("/usr/lib/wsl/lib", "/run/opengl-driver/lib"),
)

#: ``CUresult`` (cuda.h) of a machine that shows no GPU to this process.
_NO_DEVICE = 100

#: What helps against other results of ``cuInit``, by ``CUresult``.
_START_FIXES = {
    34: "the CUDA toolkit's stub is loaded in the driver's place: take its folder stubs out of LD_LIBRARY_PATH",
    802: "the driver still starts, or needs nvidia-fabricmanager, which does not run: start it",
    803: "kernel module and driver files are of two versions: restart the machine; in a container, do not install "
    "a driver",
    804: "a cuda-compat folder does not fit this GPU: take it out of LD_LIBRARY_PATH",
    999: "/dev/nvidia-uvm is missing or refused: nvidia-modprobe -u, or give the container all /dev/nvidia*",
}
_START_FIX = "make nvidia-smi list the GPU first"

#: Longest life of a process that looks (seconds), should the driver hang and nobody be left to end it.
LIFE_S = 180

#: Longest name of a GPU asked for (bytes).
_NAME_BYTES = 256

#: An answer: what was asked for, or a :func:`problem`.
Answer = Mapping[str, Any]


def problem(slug: str, why: str, fix: str) -> Answer:
    """The answer of a step that failed: its slug, what is so, and what to do."""
    return {"problem": slug, "why": why, "fix": fix}


def tell(look: Callable[[], Answer]) -> None:
    """The program: look, and write the answer, as JSON, into the file descriptor that is its first argument."""
    signal.alarm(LIFE_S)
    os.write(int(sys.argv[1]), json.dumps(look()).encode("ascii"))


def survey(folders: Sequence[str] = DRIVER_FOLDERS) -> Answer:
    """``{"names": [...]}`` of the GPUs that the driver shows to this process, or the first problem."""
    for name in (CUDA, DECODER, ENCODER):
        lacking = _lacking(name, folders)
        if lacking:
            return lacking
    driver = ctypes.CDLL(CUDA)
    try:
        return _started(driver)
    except AttributeError as error:
        return problem("driver", f"{CUDA} is not NVIDIA's: {error}", "install the NVIDIA driver again")


def _lacking(name: str, folders: Sequence[str]) -> Answer | None:
    """What is wrong with a file of the driver; None if it loads."""
    try:
        ctypes.CDLL(name)
    except OSError as error:
        if not str(error).startswith(f"{name}: cannot open"):  # it is found, and broken, or needs another file
            return _absent(name, str(error))
        place = next((folder for folder in folders if (Path(folder) / name).exists()), "")
        return _elsewhere(name, place) if place else _absent(name, f"{name} is not there")
    return None


def _elsewhere(name: str, folder: str) -> Answer:
    why = f"{name} lies in {folder}, where the loader does not look"
    return problem("loader-path", why, f"set LD_LIBRARY_PATH={folder} before harvester starts")


def _absent(name: str, why: str) -> Answer:
    if name == CUDA:
        fix = "if there is a GPU, install the NVIDIA driver; start a container with --gpus all"
        return problem("driver", f"no NVIDIA driver ({why})", fix)
    fix = (
        "start the container with NVIDIA_DRIVER_CAPABILITIES=compute,utility,video; outside of one, install all "
        "of the driver"
    )
    return problem("video-capability", f"the NVIDIA driver is without its video part ({why})", fix)


def _started(driver: ctypes.CDLL) -> Answer:
    result = int(driver.cuInit(0))
    if result not in (0, _NO_DEVICE):
        why = f"the NVIDIA driver does not start: cuInit gives {result}{_result_name(driver, result)}"
        return problem("driver-start", why, _START_FIXES.get(result, _START_FIX))
    count = ctypes.c_int(0)
    if result == _NO_DEVICE or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value <= 0:
        return _no_device()
    return {"names": [_name(driver, index) for index in range(count.value)]}


def _result_name(driver: ctypes.CDLL, result: int) -> str:
    text = ctypes.c_char_p()
    driver.cuGetErrorName(result, ctypes.byref(text))
    return f" ({text.value.decode('ascii', 'replace')})" if text.value else ""


def _no_device() -> Answer:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        why = f'CUDA_VISIBLE_DEVICES="{visible}" leaves no GPU'
        return problem("no-device", why, "name a GPU there that nvidia-smi -L lists, or unset it")
    fix = "if there is a GPU, make nvidia-smi list it; start a container with --gpus all"
    return problem("no-device", "the NVIDIA driver shows no GPU", fix)


def _name(driver: ctypes.CDLL, index: int) -> str:
    device, name = ctypes.c_int(0), ctypes.create_string_buffer(_NAME_BYTES)
    if driver.cuDeviceGet(ctypes.byref(device), index) or driver.cuDeviceGetName(name, _NAME_BYTES, device):
        return "GPU without a name"
    return name.value.decode("utf-8", "replace")


if __name__ == "__main__":
    tell(survey)
