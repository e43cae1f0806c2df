"""The NVIDIA driver's files, compiled from ``driver.c``: enough of them for the probe, found by the real loader."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harvester.decode import probe
from tests import fakes
from tests.conftest import program

PARTS = {"libcuda.so.1": "CUDA", "libnvcuvid.so.1": "DECODER", "libnvidia-encode.so.1": "ENCODER"}


def build(folder: Path, names: Iterable[str] = tuple(PARTS)) -> Path:
    """Put the files of those names into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).with_name("driver.c")
    for name in names:
        command = [program("gcc"), "-shared", "-nostdlib", "-fPIC", "-w", f"-D{PARTS[name]}", str(source)]
        subprocess.run([*command, "-o", str(folder / name)], check=True)
    return folder


@contextmanager
def machine(driver_files: Path, **machine: object) -> Iterator[None]:
    """This process, and those that it starts, take this machine for one with GPUs and with PyNvVideoCodec.

    ``driver_files``: the folder of the driver's files; ``machine``: ``FAKE_NVDEC_*``, small.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        for name, value in fakes.environment(**machine).items():
            patch.setenv(name, value)
        patch.setenv("LD_LIBRARY_PATH", str(driver_files))
        patch.syspath_prepend(str(fakes.FOLDER))
        probe.forget()
        yield
        probe.forget()
