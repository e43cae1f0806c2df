"""The fake against the real wheel, whose binding is loaded over a driver that does nothing: names, numbers, defaults."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import left_out, program
from tests.fakes import nvdec

ENUMERATIONS = ("cudaVideoCodec", "cudaVideoChromaFormat", "DisplayDecodeLatencyType", "VideoPacketFlag",
                "OutputColorType", "Pixel_Format", "ColorSpace", "ColorRange")  # fmt: skip
CLASSES = ("PacketData", "DecodedFrame", "CAIMemoryView", "PyNvDecoder")

#: Calls of the driver that the wheel wants to be there; all of them succeed, and there is one GPU.
DRIVER = """
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int NvEncodeAPIGetMaxSupportedVersion(unsigned *version) { *version = 13 * 16; return 0; }
int NvEncodeAPICreateInstance(void *list) { return 0; }
"""

ASK = """
import json, sys
import PyNvVideoCodec as package

def public(one):
    return sorted(name for name in dir(one) if not name.startswith("_") or name in ("__dlpack__", "__dlpack_device__"))

def raised(call):
    try:
        call()
    except Exception as error:
        return [type(error).__name__, str(error)]

enumerations, classes = json.loads(sys.argv[1])
print(json.dumps({
    "version": package.__version__,
    "names": public(package),
    "enumerations": {name: {key: int(value) for key, value in getattr(package, name).__members__.items()}
                     for name in enumerations},
    "classes": {name: public(getattr(package, name)) for name in classes},
    "signatures": package.CreateDecoder.__doc__ + package.GetDecoderCaps.__doc__
                  + package.PyNvDecoder.setReconfigParams.__doc__ + package.DecodedFrame.__dlpack__.__doc__,
    "packet": {name: getattr(package.PacketData(), name) for name in public(package.PacketData)},
    "bases": [package.PyNvVCException.__bases__[0].__name__, package.PyNvVCExceptionUnsupported.__bases__[0].__name__],
    "ordinal": raised(lambda: package.CreateDecoder(gpuid=3)),
    "cuvid": raised(package.GetDecoderCaps),
    "keyword": raised(lambda: package.CreateDecoder(width=5)),
    "number": raised(lambda: package.CreateDecoder(latency=1)),
}))
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the real wheel says of itself."""
    wheel = importlib.util.find_spec("PyNvVideoCodec")
    if wheel is None or wheel.origin is None or sys.platform != "linux":
        left_out("no wheel of PyNvVideoCodec for this machine")
    folder = tmp_path_factory.mktemp("driver")
    build_driver(folder, Path(wheel.origin).parent)
    command = [sys.executable, "-c", ASK, json.dumps([ENUMERATIONS, CLASSES])]
    variables = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def build_driver(folder: Path, wheel: Path) -> None:
    """libcuda and libnvidia-encode with every function that the wheel's modules name."""
    named = {
        name.decode()
        for file in wheel.glob("*.so")
        for name in re.findall(rb"\0(cu[A-Z]\w+)(?=\0)", file.read_bytes())
    }
    code = DRIVER + "".join(f"int {name}(void) {{ return 0; }}\n" for name in sorted(named - {"cuDeviceGetCount"}))
    (folder / "driver.c").write_text(code)
    for library in ("libcuda.so.1", "libnvidia-encode.so.1"):
        compiler = [
            program("gcc"),
            "-shared",
            "-fPIC",
            "-w",
            "-nostdlib",
            "-Wl,-soname," + library,
            "-o",
            str(folder / library),
        ]
        subprocess.run([*compiler, str(folder / "driver.c")], check=True)


@pytest.fixture
def fake() -> Iterator[ModuleType]:
    with nvdec() as package:
        yield package


def test_version(real, fake) -> None:
    assert fake.__version__ == real["version"], "look again at every claim of the fake, then raise its version"


def test_every_name_is_there(real, fake) -> None:
    assert set(fake.__all__) <= set(real["names"])


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_enumerations(real, fake, name: str) -> None:
    members = {key: int(value) for key, value in getattr(fake, name).__members__.items()}
    assert members.items() <= real["enumerations"][name].items()
    assert len(members) >= 3


@pytest.mark.parametrize("name", CLASSES)
def test_nothing_can_be_asked_that_the_real_one_lacks(real, fake, name: str) -> None:
    own = {key for key in vars(getattr(fake, name)) if not key.startswith("_") or key.startswith("__dlpack")}
    assert own <= set(real["classes"][name])


def test_packets_begin_alike(real, fake) -> None:
    packet = fake.PacketData()
    assert {name: getattr(packet, name) for name in type(packet).__slots__} == real["packet"]


@pytest.mark.parametrize("name", ["CreateDecoder", "GetDecoderCaps"])
def test_arguments_and_defaults(real, fake, name: str) -> None:
    written = re.search(rf"{name}\((gpuid.*?)\) ->", real["signatures"])
    assert written
    told = dict(re.findall(r"(\w+): [\w.]+ = <?([\w.]+)", written[1]))
    own = inspect.signature(getattr(fake, name)).parameters
    assert list(told) == list(own)
    for key, parameter in own.items():
        value = parameter.default
        plain = f"{type(value).__name__}.{value.name}" if hasattr(value, "name") else str(int(value))
        assert plain == told[key], key


def test_methods_take_what_the_real_ones_take(real) -> None:
    assert "width: int = 0, height: int = 0) -> int" in real["signatures"]
    assert "__dlpack__(self: _PyNvVideoCodec.DecodedFrame, stream: object = 0)" in real["signatures"]


def test_errors(real, fake) -> None:
    assert real["bases"] == ["Exception", "Exception"]
    with pytest.raises(fake.PyNvVCException) as ordinal:
        fake.CreateDecoder(gpuid=3)
    assert ["PyNvVCException", str(ordinal.value)] == real["ordinal"]
    assert real["keyword"][0] == real["number"][0] == "TypeError"
    with nvdec(driver="no-cuvid") as package, pytest.raises(RuntimeError) as cuvid:
        package.GetDecoderCaps()
    assert ["RuntimeError", str(cuvid.value)] == real["cuvid"]
