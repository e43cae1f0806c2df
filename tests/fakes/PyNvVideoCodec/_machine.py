"""The machine the fake pretends to be: read from the environment at each use.

``FAKE_NVDEC_GPUS``      GPUs in the machine (1). CUDA_VISIBLE_DEVICES chooses among them by index or UUID.
``FAKE_NVDEC_DRIVER``    ok | no-encode | no-cuda | old | no-cuvid | cuinit (fails): what the package finds of it.
``FAKE_NVDEC_ENGINES``   decoder engines of a GPU (7); "7;2" = of the first and of the second.
``FAKE_NVDEC_CODECS``    codec:depth a GPU decodes ("h264:8 hevc:8 hevc:10", as an H200); ";" between GPUs.
``FAKE_NVDEC_MAX``       largest picture, WxH ("" = 4096x4096, HEVC and AV1 8192x8192).
``FAKE_NVDEC_MIN``       smallest picture, WxH ("" = 48x16, HEVC 144x144, AV1 128x128).
``FAKE_NVDEC_MBS``       most macroblocks ("" = 65536, HEVC and AV1 262144).
``FAKE_NVDEC_SESSIONS``  decoders of a process that fit into memory (34).
``FAKE_NVDEC_FAIL_AT``   which calls of Decode raise: "3", "3,7", "5-" or "2-4", counted from 1.
``FAKE_NVDEC_EXIT_AT``   which calls of Decode end the process by exit(1).
``FAKE_NVDEC_HANG_AT``   which calls of Decode never return.
``FAKE_NVDEC_HURT_AT``   which calls of Decode print that the picture has an error, however good it is.
``FAKE_NVDEC_WRONG_AT``  which calls of Decode give a wrong picture and tell nobody.
``FAKE_NVDEC_DEAF``      1: damage that libavcodec notices is not printed either.
``FAKE_NVDEC_DEVICE``    1: frames may lie in device memory, which is the host's: for the CuPy of tests/fakes/arrays.
``FAKE_NVDEC_NOTES``     a folder: ``decodes`` gets a line for each Decode, ``decoders`` one for each decoder
                         created (process, thread, GPU, codec). Calls are then counted over all processes.
"""

from __future__ import annotations

import itertools
import os
import threading
from dataclasses import dataclass
from pathlib import Path

#: Length of a note. They all have it, so that the place of one tells its number, whoever wrote the others.
NOTE_BYTES = 80

_CODECS = "h264:8 hevc:8 hevc:10"
_MIN = {"h264": "48x16", "hevc": "144x144", "av1": "128x128"}
_MAX = {"h264": "4096x4096", "hevc": "8192x8192", "av1": "8192x8192"}
_MBS = {"h264": 65_536, "hevc": 262_144, "av1": 262_144}

_counted = {"decodes": itertools.count(1), "decoders": itertools.count(1)}
_counting = threading.Lock()


@dataclass(frozen=True)
class Gpu:
    """One GPU: its number in the machine, decoder engines, and (codec, bit depth) pairs it decodes."""

    number: int
    engines: int
    codecs: frozenset[tuple[str, int]]

    @property
    def uuid(self) -> str:
        return f"GPU-fa4e0000-0000-4000-8000-{self.number:012d}"


def setting(name: str, default: str) -> str:
    return os.environ.get(f"FAKE_NVDEC_{name}", "") or default


def driver() -> str:
    return setting("DRIVER", "ok")


def visible() -> list[Gpu]:
    """The GPUs that this process sees; CUDA reads its variable up to the first name that it does not know."""
    gpus = [_gpu(number) for number in range(int(setting("GPUS", "1")))]
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return gpus
    seen: list[Gpu] = []
    for word in wanted.split(","):
        known = [
            gpu for gpu in gpus if word == str(gpu.number) or (word[:4] == "GPU-" and gpu.uuid.startswith(word))
        ]
        if len(known) != 1:
            break
        seen += known
    return seen


def device_memory() -> bool:
    return setting("DEVICE", "0") == "1"


def cuda_starts() -> bool:
    """Whether cuInit succeeds: it does not where there is no device."""
    return driver() != "cuinit" and bool(visible())


def smallest(codec: str) -> tuple[int, int]:
    return _size(setting("MIN", _MIN[codec]))


def largest(codec: str) -> tuple[int, int]:
    return _size(setting("MAX", _MAX[codec]))


def macroblocks(codec: str) -> int:
    return int(setting("MBS", str(_MBS[codec])))


def sessions() -> int:
    return int(setting("SESSIONS", "34"))


def deaf() -> bool:
    return setting("DEAF", "0") == "1"


def happens(name: str, call: int) -> bool:
    """Whether ``FAKE_NVDEC_<name>_AT`` names this call."""
    for part in setting(f"{name}_AT", "0").split(","):
        first, dash, last = part.partition("-")
        if int(first) <= call <= (int(last or call) if dash else int(first)):
            return True
    return False


def note(kind: str, gpu: Gpu, codec: str) -> int:
    """Count a call (``kind`` decodes | decoders), from 1, and leave a note of it where they are wanted."""
    folder = setting("NOTES", "")
    if not folder:
        with _counting:
            return next(_counted[kind])
    line = f"{os.getpid()} {threading.get_native_id()} {gpu.uuid} {codec}".ljust(NOTE_BYTES - 1) + "\n"
    file = os.open(Path(folder) / kind, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, line.encode())
        return os.lseek(file, 0, os.SEEK_CUR) // NOTE_BYTES
    finally:
        os.close(file)


def _gpu(number: int) -> Gpu:
    words = _of(setting("CODECS", _CODECS), number).split()
    codecs = frozenset((codec, int(depth)) for codec, depth in (word.split(":") for word in words))
    return Gpu(number, int(_of(setting("ENGINES", "7"), number)), codecs)


def _of(values: str, number: int) -> str:
    """The value of one GPU where ";" divides them, the last one for all that follow."""
    parts = values.split(";")
    return parts[min(number, len(parts) - 1)]


def _size(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)
