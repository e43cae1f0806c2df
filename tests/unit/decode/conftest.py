"""Pictures, and a machine whose GPU is the fake one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from harvester.decode import Backend
from harvester.decode.devices import CodecCaps, GpuDevice, GpuVerdict
from harvester.model import AccessUnit, Codec
from tests.contract.streams import H264, Sample
from tests.fakes import FOLDER, environment

#: What the fake GPU decodes, with as few engines as may be.
CAPS = tuple(
    CodecCaps(codec, depth, 1, 48, 16, 4096, 4096, 65_536)
    for codec, depth in ((Codec.H264, 8), (Codec.HEVC, 8), (Codec.HEVC, 10))
)


@pytest.fixture(scope="session")
def unit() -> AccessUnit:
    """An intact H.264 picture, 320x192."""
    return Sample("plain", H264).unit()


@pytest.fixture(scope="session")
def other() -> AccessUnit:
    """Another one, 208x144."""
    return Sample("other", H264, 208, 144, scene="teeworlds-ctf2").unit()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call it with settings of the fake (``FAKE_NVDEC_*``, small): processes started from then on have such GPUs."""

    def have(**settings: object) -> None:
        for name, value in environment(**settings).items():
            monkeypatch.setenv(name, value)
        monkeypatch.syspath_prepend(str(FOLDER))

    return have


@pytest.fixture
def opened() -> Iterator[Callable[[Backend], Backend]]:
    """Give it a backend to have it closed in the end."""
    with ExitStack() as stack:

        def keep(backend: Backend) -> Backend:
            stack.callback(backend.close)
            return backend

        yield keep


def verdict(*selectors: str, caps: tuple[CodecCaps, ...] = CAPS) -> GpuVerdict:
    """As if the probe had found these GPUs."""
    return GpuVerdict(tuple(GpuDevice(selector, f"Fake {selector}", caps) for selector in selectors))
