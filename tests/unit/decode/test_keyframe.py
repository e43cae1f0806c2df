"""The keyframe that a GPU is tried with: it is what its module says, and libavcodec gives the picture it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from harvester.decode import keyframe
from harvester.decode.cpu import CpuDecoder
from harvester.media.h264 import parse_sps
from harvester.model import AccessUnit, Picture
from tests.contract.streams import nal_units, player

SCRIPT = Path(__file__).parents[3] / "scripts" / "make_keyframe.py"


def test_its_headers_are_as_said() -> None:
    units = nal_units(keyframe.access_unit().data)
    assert [unit[0] & 31 for unit in units] == [7, 8, 5]
    assert parse_sps(units[0]).stream == keyframe.STREAM


def test_its_picture_is_that_of_libavcodec() -> None:
    picture = CpuDecoder().decode(keyframe.access_unit())
    assert keyframe.digest(picture) == keyframe.DIGEST
    assert keyframe.digest(Picture(keyframe.STREAM, *player(keyframe.access_unit()))) == keyframe.DIGEST


def test_it_is_a_picture_in_which_an_error_shows() -> None:
    """Not one colour, and larger than the smallest that GPUs decode."""
    picture = CpuDecoder().decode(keyframe.access_unit())
    assert picture.y.shape >= (144, 256)
    assert picture.u is not None and picture.v is not None
    assert np.std(picture.y) > 10 and np.std(picture.u) > 1 and np.std(picture.v) > 1


def test_another_picture_has_another_digest() -> None:
    picture = CpuDecoder().decode(keyframe.access_unit())
    for plane in (picture.y, picture.u, picture.v):
        plane[-1, -1] ^= 1
        assert keyframe.digest(picture) != keyframe.DIGEST
        plane[-1, -1] ^= 1
    assert keyframe.digest(picture) == keyframe.DIGEST


def test_the_script_makes_such_a_keyframe(tmp_path: Path) -> None:
    out = tmp_path / "new.h264"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--out", str(out)], capture_output=True, text=True, check=True
    )
    unit = AccessUnit(keyframe.STREAM, out.read_bytes(), 0.0)
    assert done.stdout.split()[-1] == keyframe.digest(CpuDecoder().decode(unit))
    assert parse_sps(nal_units(unit.data)[0]).stream == keyframe.STREAM
