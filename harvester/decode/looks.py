"""A decoded and measured picture that is already in host memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from harvester.model import Measurement, Picture, StreamInfo


@dataclass(frozen=True, slots=True, eq=False)
class HostLook:
    """Implements :class:`harvester.ports.Look`."""

    measurement: Measurement
    decoder: str
    _picture: Picture = field(repr=False)

    @property
    def stream(self) -> StreamInfo:
        return self._picture.stream

    @property
    def nbytes(self) -> int:
        return self._picture.nbytes

    def picture(self) -> Picture:
        return self._picture
