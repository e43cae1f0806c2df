"""Bytes to measured pixels: one access unit in, one measured look out, behind one door whatever does the work.

:func:`open_backend` gives what ``[decode] backend`` asks for, for a whole run; :func:`describe` says which
it would be and why. A picture with the slightest known damage is an error, never a neighbour or a grey patch.
Importing this package loads no codec library; opening a decoder does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harvester.decode.backend import Backend, DecoderChoice, cores, cpu_backend, cpu_choice
from harvester.decode.devices import GpuVerdict
from harvester.errors import MachineError
from harvester.ports import Decoder
from harvester.stats import StageTimes

if TYPE_CHECKING:
    from harvester import config

__all__ = ["Backend", "DecoderChoice", "describe", "open_backend", "open_decoder", "thread_count"]

#: Most memory of held pictures in a GPU's worker where the run sets none: that of [fetch] window_mb.
HELD_BYTES = 192 << 20

#: The value of ``[decode] backend`` that needs no PyNvVideoCodec, and so not the probe's proof either.
_THROUGH_AV = "nvdec-av"


def open_backend(
    settings: config.Decode,
    times: StageTimes | None = None,
    *,
    held_bytes: int = HELD_BYTES,
    hurried: Callable[[], bool] = lambda: False,
) -> Backend:
    """The decoders of a run, as ``[decode] backend`` asks for. Blocks: it may ask a driver and start processes.

    ``times`` is told how long they decode and measure. ``held_bytes``: most memory that pictures of looks may take
    in a GPU's worker. ``hurried``: whether the run must end now (thread-safe): a driver or device that does not
    answer at once is then waited for no longer. Raises :class:`MachineError` if what is forced is not there.
    """
    if settings.backend == _THROUGH_AV:
        from harvester.decode.nvdec_av import av_backend

        return av_backend(settings, times)
    verdict = _verdict(settings, hurried)
    if verdict.usable:
        from harvester.decode.routing import gpu_backend

        return gpu_backend(settings, times, verdict, held_bytes, hurried)
    return cpu_backend(settings, times, cpu_choice(settings, verdict.why))


def describe(settings: config.Decode) -> DecoderChoice:
    """What :func:`open_backend` opens for these settings, and why. Raises what that raises; starts nothing."""
    if settings.backend == _THROUGH_AV:
        from harvester.decode.nvdec_av import av_choice

        return av_choice()
    verdict = _verdict(settings)
    if verdict.usable:
        from harvester.decode.routing import gpu_choice

        return gpu_choice(settings, verdict)
    return cpu_choice(settings, verdict.why)


def _verdict(settings: config.Decode, hurried: Callable[[], bool] = lambda: False) -> GpuVerdict:
    """What the probe says, where it is to be asked. Raises MachineError if there is no GPU and one is forced."""
    if settings.backend == "cpu":
        return GpuVerdict((), "not-wanted", "the CPU is forced")
    from harvester.decode.probe import probe

    verdict = probe(hurried)
    if settings.backend != "auto" and not verdict.usable:
        said = f"[decode] backend = {settings.backend!r}, but no GPU can be used: {verdict.why} ({verdict.fix})"
        raise MachineError(said, reason="no-gpu")
    return verdict


def open_decoder(settings: config.Decode, times: StageTimes | None = None) -> Decoder:
    """One decoder of a backend of its own, for one thread; closing it closes the backend."""
    return open_backend(settings, times).alone()


def thread_count(settings: config.Decode) -> int:
    """Threads of a run that decodes on the CPU: ``[decode] threads``, or one for each core."""
    return settings.threads or cores()
