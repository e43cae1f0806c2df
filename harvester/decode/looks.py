"""Decoded and measured pictures: in host memory already, or held by a GPU's worker until they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harvester.decode.lanes import WorkerLost
from harvester.decode.nvdec import NAME, to_picture
from harvester.errors import MachineError, MediaError
from harvester.model import AccessUnit, Measurement, Picture, StreamInfo
from harvester.ports import Look
from harvester.vision.measure import pack

if TYPE_CHECKING:
    from harvester.decode.lanes import Worker
    from harvester.decode.wire import Measured


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


class HeldLook:
    """A picture that ``worker`` holds. Implements :class:`harvester.ports.Look`.

    It keeps its access unit (0.1 to 0.4 MB at 1080p): when the worker is gone, or had no room for the picture, it
    is decoded ``again``, by the rules that hold by then. Dropping it frees the worker's memory.
    """

    def __init__(
        self, measured: Measured, unit: AccessUnit, worker: Worker, again: Callable[[AccessUnit], Look]
    ) -> None:
        self.measurement = measured.measurement
        self.decoder = NAME
        self._handle = measured.handle
        self._unit = unit
        self._worker = worker
        self._again = again

    def __del__(self) -> None:
        if self._handle is not None:
            self._worker.let_go(self._handle)

    @property
    def stream(self) -> StreamInfo:
        return self._unit.stream

    @property
    def nbytes(self) -> int:
        stream = self.stream
        return stream.width * stream.height * 3 // 2 * (1 if stream.bit_depth == 8 else 2)

    def picture(self) -> Picture:
        """As the port says. What decoded it is known for good once it is here."""
        if self._handle is not None:
            with suppress(WorkerLost):
                return to_picture(self._worker.give(self._handle), self.stream)
        try:
            look = self._again(self._unit)
        except MediaError as error:  # the frame is decided already: it must not become another target's failure
            raise MachineError(f"a picture cannot be decoded a second time: {error}", reason="gpu-lost") from None
        if pack(look.measurement) != pack(self.measurement):
            said = f"a picture decoded by {self.decoder}, then by {look.decoder}, has not the same bits"
            raise MachineError(said, reason="other-bits")
        self.decoder = look.decoder
        return look.picture()
