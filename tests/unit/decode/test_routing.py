"""Which way a picture takes, why, and what a run is told when a GPU fails."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harvester.config import Decode
from harvester.decode import Backend, routing
from harvester.decode.looks import HeldLook
from harvester.decode.routing import DEVICE_ERRORS, gpu_backend
from harvester.errors import MachineError, MediaError
from harvester.model import AccessUnit, Codec
from harvester.ports import Look
from harvester.stats import StageTimes
from tests.contract.streams import AV1, H264, HEVC, Sample, named
from tests.unit.decode.conftest import CAPS, verdict

#: A window of a few pictures.
ROOM = 1 << 24

Open = Callable[..., Backend]


@pytest.fixture
def gpus(machine: Callable[..., None], opened: Callable[[Backend], Backend]) -> Open:
    """Opens ``name`` over the GPUs ``selectors``; keywords: settings of the fake."""

    def open_(name: str, *selectors: str, held_bytes: int = ROOM, **settings: object) -> Backend:
        selectors = selectors or ("0",)
        machine(gpus=len(selectors), **settings)
        return opened(gpu_backend(Decode(backend=name), None, verdict(*selectors), held_bytes))

    return open_


def workers(notes: Path) -> list[tuple[str, ...]]:
    """Process, thread and GPU of each picture decoded so far, in order."""
    return [tuple(line.split()[:3]) for line in (notes / "decodes").read_text().splitlines()]


def kill(look: Look) -> None:
    """The process that holds the picture."""
    assert isinstance(look, HeldLook)
    os.kill(look._worker.pid, signal.SIGKILL)


def test_what_a_gpu_does_not_do_goes_to_the_cpu_and_is_counted(gpus: Open, unit: AccessUnit) -> None:
    backend = gpus("auto")
    decoder = backend.decoder()
    refused = {
        "codec": Sample("av1", AV1).unit(),
        "bit-depth": Sample("deep", H264, pix_fmt="yuv420p10le").unit(),
        "chroma": Sample("wide", HEVC, pix_fmt="yuv444p").unit(),
        "size": Sample("tiny", H264, 32, 32).unit(),
        "interlaced": named("h264-interlaced").unit(),
    }
    assert {slug: decoder.look(one).decoder for slug, one in refused.items()} == dict.fromkeys(refused, "cpu")
    assert decoder.look(unit).decoder == "nvdec"
    assert backend.fallbacks.counts == dict.fromkeys(refused, 1)
    assert backend.fallbacks.events == ()


def test_forced_it_fails_by_what_it_cannot_do(gpus: Open, unit: AccessUnit) -> None:
    backend = gpus("nvdec")
    with pytest.raises(MediaError, match="codec") as caught:
        backend.decoder().look(Sample("av1", AV1).unit())
    assert (caught.value.reason, caught.value.retryable) == ("unsupported-codec", False)
    assert backend.decoder().look(unit).decoder == "nvdec"
    assert not backend.fallbacks.counts


def test_what_may_be_asked_of_twitch(gpus: Open) -> None:
    assert gpus("nvdec").codecs == {Codec.H264, Codec.HEVC}
    assert gpus("auto").codecs == frozenset(Codec)


def test_threads_keep_engines_and_cores_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    found = verdict("0", "1", caps=tuple(CAPS))
    for cores, threads in ((1, 4), (9, 9)):  # two GPUs, one engine each, two pictures an engine
        monkeypatch.setattr(routing, "cores", lambda n=cores: n)
        assert gpu_backend(Decode(), None, found, ROOM).threads == threads
    assert gpu_backend(Decode(threads=3), None, found, ROOM).threads == 3


def test_all_gpus_are_used_in_turns(gpus: Open, unit: AccessUnit, tmp_path: Path) -> None:
    decoder = gpus("nvdec", "0", "1", notes=tmp_path).decoder()
    for _ in range(4):
        decoder.look(unit)
    seen = [gpu for _, _, gpu in workers(tmp_path)]
    assert seen[:2] == seen[2:] and len(set(seen)) == 2


def test_time_is_booked(
    machine: Callable[..., None], opened: Callable[[Backend], Backend], unit: AccessUnit
) -> None:
    machine()
    times = StageTimes()
    opened(gpu_backend(Decode(), times, verdict("0"), ROOM)).decoder().look(unit)
    assert times.calls["decode"] == 1 and times.busy_s["decode"] > 0


# -- held pictures ------------------------------------------------------------------------------------------------


def test_dropping_a_look_frees_its_place(gpus: Open, unit: AccessUnit) -> None:
    size = unit.stream.width * unit.stream.height * 3 // 2
    decoder = gpus("nvdec", held_bytes=size).decoder()
    look = decoder.look(unit)
    assert isinstance(look, HeldLook) and (look.nbytes, look._handle is None) == (size, False)
    full = decoder.look(unit)
    assert isinstance(full, HeldLook) and full._handle is None
    del look
    gc.collect()
    again = decoder.look(unit)
    assert isinstance(again, HeldLook) and again._handle is not None


def test_a_picture_that_had_no_place_is_decoded_again(gpus: Open, unit: AccessUnit, tmp_path: Path) -> None:
    backend = gpus("nvdec", held_bytes=0, notes=tmp_path)
    look = backend.decoder().look(unit)
    assert np.asarray(look.picture().y, np.int64).sum() == look.measurement.tile_sums.sum()
    assert look.decoder == "nvdec" and len(workers(tmp_path)) > 1


def test_a_picture_that_comes_out_otherwise_the_second_time_is_not_stored(gpus: Open, unit: AccessUnit) -> None:
    look = gpus("nvdec", held_bytes=0, wrong_at="2").decoder().look(unit)
    with pytest.raises(MachineError, match="same bits"):
        look.picture()


def test_a_picture_that_does_not_come_out_again_ends_the_run(gpus: Open, unit: AccessUnit) -> None:
    look = gpus("nvdec", held_bytes=0, hurt_at="2-").decoder().look(unit)
    with pytest.raises(MachineError, match="second time"):
        look.picture()


@pytest.mark.parametrize(("name", "second"), [("nvdec", "nvdec"), ("auto", "cpu")])
def test_a_picture_whose_worker_died_is_decoded_again(
    gpus: Open, unit: AccessUnit, name: str, second: str
) -> None:
    backend = gpus(name)
    look = backend.decoder().look(unit)
    kill(look)
    assert np.asarray(look.picture().y, np.int64).sum() == look.measurement.tile_sums.sum()
    assert look.decoder == second
    assert backend.decoder().look(unit).decoder == "nvdec"  # by the next worker
    assert len(backend.fallbacks.events) == 1 and "once more" in backend.fallbacks.events[0]


# -- failures -----------------------------------------------------------------------------------------------------


def test_a_device_error_sends_one_picture_to_the_cpu(gpus: Open, unit: AccessUnit) -> None:
    backend = gpus("auto", fail_at="2")
    assert [backend.decoder().look(unit).decoder for _ in range(3)] == ["nvdec", "cpu", "nvdec"]
    assert backend.fallbacks.counts == {"device-error": 1}
    assert not backend.fallbacks.events


def test_forced_a_device_error_fails_one_picture_for_now(gpus: Open, unit: AccessUnit) -> None:
    decoder = gpus("nvdec", fail_at="1").decoder()
    with pytest.raises(MediaError) as caught:
        decoder.look(unit)
    assert caught.value.retryable
    assert decoder.look(unit).decoder == "nvdec"


def test_a_printed_error_sends_one_picture_to_the_cpu(gpus: Open, unit: AccessUnit) -> None:
    backend = gpus("auto", hurt_at="1,2")
    assert [backend.decoder().look(unit).decoder for _ in range(2)] == ["cpu", "nvdec"]
    assert backend.fallbacks.counts == {"decode-error": 1}


def test_a_broken_stream_is_the_streams_fault(gpus: Open, unit: AccessUnit) -> None:
    backend = gpus("auto")
    cut = AccessUnit(unit.stream, unit.data[: len(unit.data) // 2], 0.0)
    for _ in range(DEVICE_ERRORS + 1):
        with pytest.raises(MediaError):
            backend.decoder().look(cut)
    assert not backend.fallbacks.counts and not backend.fallbacks.events
    assert backend.decoder().look(unit).decoder == "nvdec"


def test_errors_in_a_row_restart_the_worker_once_and_then_the_cpu_takes_over(
    gpus: Open, unit: AccessUnit, caplog: pytest.LogCaptureFixture
) -> None:
    backend = gpus("auto", fail_at="1-")
    with caplog.at_level(logging.WARNING):
        looks = [backend.decoder().look(unit) for _ in range(2 * DEVICE_ERRORS + 3)]
    assert {look.decoder for look in looks} == {"cpu"}
    assert backend.fallbacks.counts == {"device-error": 2 * DEVICE_ERRORS, "gpu-lost": 3}
    first, second = backend.fallbacks.events
    assert "once more" in first and "not used any more" in second and "device errors" in second
    assert [record.message for record in caplog.records] == [first, second]


def test_a_good_picture_between_them_forgives_errors(gpus: Open, unit: AccessUnit, tmp_path: Path) -> None:
    good = str(DEVICE_ERRORS)
    backend = gpus(
        "auto", fail_at=f"1-{DEVICE_ERRORS - 1},{DEVICE_ERRORS + 1}-{2 * DEVICE_ERRORS - 1}", notes=tmp_path
    )
    for _ in range(2 * DEVICE_ERRORS):
        backend.decoder().look(unit)
    assert not backend.fallbacks.events, good


def test_a_worker_that_dies_twice_is_left_to_the_cpu(gpus: Open, unit: AccessUnit) -> None:
    backend = gpus("auto", exit_at="2")  # of each worker
    decoders = [backend.decoder().look(unit).decoder for _ in range(6)]
    assert decoders == ["nvdec", "cpu", "nvdec", "cpu", "cpu", "cpu"]
    assert backend.fallbacks.counts == {"worker-lost": 2, "gpu-lost": 2}
    assert len(backend.fallbacks.events) == 2 and "exit code 1" in backend.fallbacks.events[0]


def test_a_death_is_one_loss_however_many_waited(gpus: Open, unit: AccessUnit) -> None:
    backend = gpus("auto")
    first = backend.decoder().look(unit)
    assert isinstance(first, HeldLook)
    os.kill(first._worker.pid, signal.SIGSTOP)
    seen: list[str] = []
    threads = [
        threading.Thread(target=lambda: seen.append(backend.decoder().look(unit).decoder)) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    kill(first)
    for thread in threads:
        thread.join()
    assert len(seen) == 5 and "cpu" in seen
    assert len(backend.fallbacks.events) == 1
    assert backend.decoder().look(unit).decoder == "nvdec"


def test_forced_a_worker_that_dies_twice_ends_the_run(gpus: Open, unit: AccessUnit) -> None:
    decoder = gpus("nvdec", exit_at="2").decoder()
    assert [decoder.look(unit).decoder for _ in range(2)] == ["nvdec"] * 2  # the second by the next worker
    with pytest.raises(MachineError, match="not used any more"):
        decoder.look(unit)
    with pytest.raises(MachineError):
        decoder.look(unit)


def test_the_other_gpu_goes_on(gpus: Open, unit: AccessUnit) -> None:
    backend = gpus("nvdec", "0", "1")
    decoder = backend.decoder()
    spared = decoder.look(unit)
    assert isinstance(spared, HeldLook)
    for _ in range(2):
        others = (decoder.look(unit) for _ in range(9))
        kill(next(look for look in others if isinstance(look, HeldLook) and look._worker is not spared._worker))
    looks = [decoder.look(unit) for _ in range(3)]
    assert {look._worker for look in looks if isinstance(look, HeldLook)} == {spared._worker}
    assert len(backend.fallbacks.events) == 2


def test_a_worker_that_does_not_start_is_tried_twice(gpus: Open, unit: AccessUnit) -> None:
    backend = gpus("nvdec", driver="old")
    with pytest.raises(MachineError, match="too old"):
        backend.decoder().look(unit)
    assert len(backend.fallbacks.events) == 2


def test_a_closed_backend_starts_nothing(gpus: Open, unit: AccessUnit) -> None:
    backend = gpus("nvdec")
    backend.decoder().look(unit)
    backend.close()
    with pytest.raises(MachineError):
        backend.decoder().look(unit)
