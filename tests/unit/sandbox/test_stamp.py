import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harvester.sandbox.stamp import Stamp, draw_stamp, read_stamp

stamps = st.builds(Stamp, st.integers(0, 2**32 - 1), st.integers(0, 2**12 - 1), st.integers(0, 2**20 - 1))


def picture(height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, height * 16 // 9), np.uint8)


@given(stamps, st.sampled_from([180, 360, 480, 720]))
def test_reads_what_was_drawn(stamp, height):
    luma = picture(height)
    draw_stamp(luma, stamp)
    assert read_stamp(luma) == stamp


@given(stamps)
def test_survives_scaling_and_coarse_compression(stamp):
    luma = picture(720)
    draw_stamp(luma, stamp)
    small = cv2.resize(luma, (640, 360), interpolation=cv2.INTER_AREA)
    coarse = cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 25])[1], cv2.IMREAD_GRAYSCALE)
    assert read_stamp(coarse) == stamp


@given(stamps, st.integers(0, 4), st.integers(0, 15))
def test_a_damaged_stamp_is_no_other_stamp(stamp, row, column):
    luma = picture(360)
    draw_stamp(luma, stamp)
    cell = luma[8 * row + 4 : 8 * row + 12, 8 * column + 4 : 8 * column + 12]
    cell[:] = 252 - cell
    with pytest.raises(ValueError, match="damaged"):
        read_stamp(luma)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=400)))
def test_any_picture_gives_a_stamp_or_an_error(luma):
    try:
        assert isinstance(read_stamp(luma), Stamp)
    except ValueError:
        pass


@pytest.mark.parametrize("fields", [(2**32, 0, 0), (0, 2**12, 0), (0, 0, 2**20), (-1, 0, 0)])
def test_a_stamp_that_does_not_fit_cannot_be_built(fields):
    with pytest.raises(ValueError, match="fit"):
        Stamp(*fields)
