"""What the machine has: GPU, driver, packages; is there anything to check; what does the probe say?"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpu import driver, pynv
from gpu.check import Check
from harvester.version import __version__

DRIVER_FILES = ("libcuda.so.1", "libnvcuvid.so.1", "libnvidia-encode.so.1", "libnvidia-ml.so.1", "libnvjpeg.so.12")
#: Folders that hold the driver in containers which do not tell the loader.
DRIVER_FOLDERS = ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/wsl/lib", "/run/opengl-driver/lib")
PACKAGES = (
    *("av", "numpy", "opencv-python-headless", "opencv-python", "PyNvVideoCodec", "nvidia-ml-py", "pydantic"),
    *("cupy-cuda12x", "cupy-cuda13x", "torch", "nvidia-nvimgcodec-cu12", "nvidia-nvimgcodec-cu13"),
)
_SMI = (
    "name,driver_version,memory.total,clocks.video,pcie.link.gen.current,pcie.link.width.current,mig.mode.current"
)


def run(check: Check) -> None:
    check.part("machine", _machine)
    check.part("nvidia-smi", _smi)
    check.part("driver files", _driver_files)
    if check.part("gate", _gate) is not None:
        check.part("gpu", _gpu)
    check.part("probe", _probe)


def _machine() -> Mapping[str, Any]:
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next(
        (line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine()
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "python": platform.python_version(),
        "harvester": __version__,
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _smi() -> Mapping[str, Any]:
    if shutil.which("nvidia-smi") is None:
        return {"gpus": None}
    command = ["nvidia-smi", f"--query-gpu={_SMI}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return {"fields": _SMI, "gpus": done.stdout.splitlines(), "errors": done.stderr[:200], "code": done.returncode}


def _driver_files() -> Mapping[str, Any]:
    return {
        "loads": {name: _loads(name) for name in DRIVER_FILES},
        "folders": {
            folder: sorted(path.name for path in Path(folder).glob("libnv*.so*")) for folder in DRIVER_FOLDERS
        },
    }


def _loads(name: str) -> str:
    try:
        ctypes.CDLL(name)
    except OSError as error:
        return str(error)
    return ""


def _gate() -> Mapping[str, Any]:
    """Whether there is anything to check. Raises where there is no GPU; asks by ctypes, which cannot end us.

    A GPU whose PyNvVideoCodec cannot be imported is worth a check: of PyAV's way to it.
    """
    try:
        package, trouble = pynv.load(), ""
    except (ImportError, RuntimeError) as error:
        package, trouble = None, str(error).partition("\n")[0]
    fake = pynv.is_fake(package)
    return {"fake": fake, "trouble": trouble, "gpus": 0 if fake else driver.Cuda().count()}


def _gpu() -> Mapping[str, Any]:
    cuda = driver.open_cuda()
    if cuda is None:
        return {"name": None}
    free, total = cuda.memory()
    return {"name": cuda.name(), "uuid": cuda.uuid(), "free_mib": free >> 20, "total_mib": total >> 20}


def _probe() -> Mapping[str, Any]:
    """Harvester's own verdict."""
    from harvester.decode.probe import probe

    verdict = probe()
    return {
        "usable": verdict.usable,
        "problem": verdict.problem,
        "why": verdict.why,
        "fix": verdict.fix,
        "devices": [str(device) for device in verdict.devices],
    }
