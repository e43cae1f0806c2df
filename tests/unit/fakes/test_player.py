"""The contract's other oracle: where there is a GPU and no ffmpeg program, PyAV must show what that would."""

from __future__ import annotations

import numpy as np
import pytest

from tests.contract import streams
from tests.contract.streams import EXACT, player


@pytest.mark.parametrize("sample", [sample for sample in EXACT if sample.codec is not streams.AV1][::3])
def test_both_show_the_same(sample: streams.Sample, ffmpeg: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = sample.unit()
    wanted = player(unit)
    monkeypatch.setattr(streams.shutil, "which", lambda _: None)
    monkeypatch.setenv("REQUIRE_GPU_TESTS", "1")
    for plane, right in zip(player.__wrapped__(unit), wanted, strict=True):
        np.testing.assert_array_equal(plane, right)
