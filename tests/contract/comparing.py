"""What a picture and its measurement are held against."""

from __future__ import annotations

import numpy as np

from harvester.errors import MediaError
from harvester.model import AccessUnit, Measurement, Picture
from harvester.ports import Decoder, Look
from harvester.vision.measure import measure
from harvester.vision.phash import phash
from tests.contract.backends import Subject
from tests.contract.streams import player


def planes(picture: Picture) -> list[np.ndarray]:
    return [plane for plane in (picture.y, picture.u, picture.v) if plane is not None]


def assert_same(picture: Picture, expected: list[np.ndarray]) -> None:
    got = planes(picture)
    assert len(got) == len(expected)
    for plane, wanted in zip(got, expected, strict=True):
        assert plane.dtype == wanted.dtype
        np.testing.assert_array_equal(plane, wanted)


def assert_measured(measurement: Measurement, unit: AccessUnit) -> None:
    """As the picture of the ffmpeg program measures."""
    wanted = measure(Picture(unit.stream, player(unit)[0], None, None))
    for name in ("codec", "width", "height", "gradient", "variogram"):
        assert getattr(measurement, name) == getattr(wanted, name)
    for name in ("grid", "histogram", "tile_sums", "tile_squares"):
        np.testing.assert_array_equal(getattr(measurement, name), getattr(wanted, name))
    assert phash(measurement.grid) == phash(wanted.grid)


def looked(subject: Subject, unit: AccessUnit) -> Look | None:
    """The look at an intact picture; None if the backend says that it does not do such pictures, and may."""
    try:
        look = subject.decoder().look(unit)
    except MediaError as error:
        if error.reason == "unsupported-codec" and subject.may_refuse(unit.stream):
            return None
        raise
    if subject.is_on_gpu(unit.stream):
        assert look.decoder == ("nvdec" if subject.name == "auto" else subject.name)
    return look


def refused(decoder: Decoder, unit: AccessUnit) -> bool:
    try:
        decoder.look(unit).picture()
    except MediaError:
        return True
    return False
