"""How many bytes the index of a clip's MP4 takes: the sample tables grow with its length."""

from __future__ import annotations

import math
from collections import deque

#: ``ftyp``, headers and codec configuration (bytes); measured 900-1,300.
_FIXED_BYTES = 1400
#: Sample tables per second of clip before any was seen (bytes). Measured, FFmpeg faststart with AAC: 1,620 at 60
#: frames a second, 1,100 at 30.
_BYTES_PER_S = 1700.0
#: Ask for this share more than the longest of the recent indexes needed per second. A miss costs a request, the
#: margin some 2 kB; and what is fetched beyond the index is the start of the media, which is not fetched again.
_MARGIN = 0.04
_REMEMBERED = 16


class IndexSizes:
    """What the clips of a run have taught about the length of their indexes."""

    def __init__(self) -> None:
        self._rates: deque[float] = deque(maxlen=_REMEMBERED)  # bytes a second, fixed part taken off

    def ask(self, duration_s: float) -> int:
        """Bytes to ask for from the front of a clip of that length."""
        rate = max(self._rates) * (1 + _MARGIN) if self._rates else _BYTES_PER_S
        return math.ceil(_FIXED_BYTES + rate * max(duration_s, 1.0))

    def learn(self, duration_s: float, size: int) -> None:
        """The index of a clip of that length turned out to be ``size`` bytes long."""
        self._rates.append(max(size - _FIXED_BYTES, 0) / max(duration_s, 1.0))
