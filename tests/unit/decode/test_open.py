"""Which decoder a run gets, and what it says about it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from harvester.config import Decode
from harvester.decode import describe, open_backend, open_decoder, thread_count
from harvester.errors import MediaError
from harvester.model import AccessUnit, Codec, StreamInfo


@pytest.mark.parametrize("backend", ["auto", "cpu"])
def test_the_choice_is_told_with_its_reason(backend: str) -> None:
    settings = Decode(backend=backend)
    choice, decoder = describe(settings), open_decoder(settings)
    assert choice.name == decoder.name == "cpu"
    assert choice.engine.startswith("libavcodec ") and choice.engine in str(choice)
    assert ("[decode] backend" in choice.why) == (backend == "cpu")


def test_all_codecs_are_decoded_here() -> None:
    assert open_backend(Decode()).codecs == frozenset(Codec)


def test_a_codec_that_this_build_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    from harvester.decode import cpu

    monkeypatch.setitem(cpu._DECODERS, Codec.AV1, "a-decoder-of-another-build")
    assert open_backend(Decode()).codecs == {Codec.H264, Codec.HEVC}
    with pytest.raises(MediaError) as caught:
        open_decoder(Decode()).look(AccessUnit(StreamInfo(Codec.AV1, 64, 64), b"\x12\x00", 0.0))
    assert caught.value.reason == "unsupported-codec"


def test_threads_are_as_configured_or_one_a_core() -> None:
    assert thread_count(Decode(threads=3)) == 3
    assert thread_count(Decode()) == len(os.sched_getaffinity(0))


def test_importing_loads_no_library() -> None:
    code = (
        "import sys, harvester.decode, harvester.vision.measure, harvester.vision.jpeg, harvester.vision.filters;"
        "print({'av', 'cv2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
