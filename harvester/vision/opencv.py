"""OpenCV, loaded when first used: importing :mod:`harvester.vision` must not cost 0.1 s and 60 MB."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def opencv() -> Any:
    """The module ``cv2``, told to stay in the calling thread.

    The setting is the process's: a run decodes and converts one picture in each of its own threads, and OpenCV's
    pool under every one of them would only add switching.
    """
    import cv2

    cv2.setNumThreads(1)
    return cv2
