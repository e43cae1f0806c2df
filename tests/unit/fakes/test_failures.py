"""The traps of the fake PyNvVideoCodec, shown so that nobody takes one out: errors, machines, ends."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.contract.streams import H264, Sample
from tests.fakes import nvdec
from tests.unit.fakes.feeding import CROPPED, DEEP, LARGE, SMALL, Fed, child, luma, opened


def printed(capfd: pytest.CaptureFixture[str]) -> str:
    ctypes.CDLL(None).fflush(None)
    return capfd.readouterr().out


class TestErrors:
    @pytest.mark.parametrize("sample", [LARGE, CROPPED], ids=lambda sample: sample.name)
    def test_damage_is_printed_and_the_picture_given_out(self, package, units, sample, capfd) -> None:
        feed = Fed(package, opened(package, sample.codec))
        data = units[sample].data
        assert len(feed(data)) == 1 and printed(capfd) == ""
        (frame,) = feed(data[: len(data) // 2], pts=3)
        assert frame.getPTS() == 3
        assert printed(capfd) == "Decode Error occurred for picture 1\n"

    def test_what_is_printed_stays_in_the_buffer_of_c(self) -> None:
        assert (
            child('feed(data[:1000]); print("decoded", flush=True)').stdout
            == "decoded\nfinally\nat exit\nDecode Error occurred for picture 0\n"
        )

    def test_damage_may_stay_unnoticed(self, units, capfd) -> None:
        with nvdec(deaf=1) as package:
            feed = Fed(package, opened(package))
            (frame,) = feed(units[LARGE].data[:2000])
            assert frame.shape == [276, 320] and printed(capfd) == ""

    def test_what_a_test_orders_happens_at_its_call(self, units, capfd) -> None:
        with nvdec(fail_at="2,4-5", hurt_at="3", wrong_at="6-") as package:
            feed = Fed(package, opened(package))
            good = luma(feed(units[SMALL].data)[0], 96)
            with pytest.raises(package.PyNvVCException, match="cuvidDecodePicture"):
                feed(units[SMALL].data)
            np.testing.assert_array_equal(luma(feed(units[SMALL].data)[0], 96), good)
            assert printed(capfd) == "Decode Error occurred for picture 1\n"
            for _ in range(2):
                with pytest.raises(package.PyNvVCException):
                    feed(units[SMALL].data)
            assert not np.array_equal(luma(feed(units[SMALL].data)[0], 96), good)

    def test_exceptions_are_siblings(self, package) -> None:
        assert package.PyNvVCException.__bases__ == package.PyNvVCExceptionUnsupported.__bases__ == (Exception,)

    @pytest.mark.parametrize(
        ("machine", "sample", "said"),
        [
            ({"codecs": "hevc:8"}, SMALL, "Codec"),
            ({"codecs": "hevc:8"}, DEEP, "Codec"),
            ({"max": "300x300"}, LARGE, "Resolution"),
            ({"mbs": "50"}, SMALL, "MBCount"),
            ({}, Sample("deep", H264, 160, 96, pix_fmt="yuv420p10le"), "Codec"),
            ({}, Sample("colourful", H264, 160, 96, pix_fmt="yuv422p"), "Codec"),
        ],
    )
    def test_the_first_decode_refuses_what_the_gpu_cannot(self, machine, sample: Sample, said: str) -> None:
        with nvdec(**machine) as package:
            decoder = opened(package, sample.codec)
            with pytest.raises(package.PyNvVCExceptionUnsupported, match=f"{said} not supported on this GPU"):
                Fed(package, decoder)(sample.unit().data)

    def test_arguments(self, package) -> None:
        for wrong in ({"width": 5}, {"latency": 1}, {"codec": 4}, {"enableasyncallocations": True}):
            with pytest.raises(TypeError):
                package.CreateDecoder(**wrong)
        for gpu in (1, -1):
            with pytest.raises(package.PyNvVCException, match=r"801[\s\S]*within \[0, 0\]"):
                package.CreateDecoder(gpuid=gpu)
        with pytest.raises(NotImplementedError):
            package.CreateDecoder(usedevicememory=True)


class TestMachine:
    def test_caps_are_those_of_device_0(self) -> None:
        with nvdec(gpus=2, engines="7;2", codecs="h264:8;h264:8 av1:10") as package:
            ask, codec = package.GetDecoderCaps, package.cudaVideoCodec
            caps = ask(gpuid=1)
            assert caps == ask(codec=codec.H264) and caps["num_decoder_engines"] == 7
            assert (caps["width_max"], caps["width_min"], caps["mb_num_max"]) == (4096, 48, 65536)
            assert ask(codec=codec.AV1, bitdepth=10)["supported"] == 0
            assert ask(chromaformat=package.cudaVideoChromaFormat["444"])["supported"] == 0
            with pytest.raises(package.PyNvVCException, match=r"within \[0, 1\]"):
                ask(gpuid=2)

    @pytest.mark.parametrize(
        ("visible", "engines"), [("1", 2), ("1,0", 2), ("0", 7), ("GPU-fa4e0000-0000-4000-8000-000000000001", 2)]
    )
    def test_cuda_visible_devices_chooses(self, monkeypatch, visible: str, engines: int) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        with nvdec(gpus=2, engines="7;2") as package:
            assert package.GetDecoderCaps()["num_decoder_engines"] == engines

    def test_no_nvcuvid(self) -> None:
        with nvdec(driver="no-cuvid") as package:
            with pytest.raises(RuntimeError, match=r"libnvcuvid\.so\.1"):
                package.GetDecoderCaps()
            with pytest.raises(package.PyNvVCException, match=r"999[\s\S]*libnvcuvid\.so\.1"):
                package.CreateDecoder()

    @pytest.mark.parametrize(
        ("driver", "error", "said"),
        [
            ("no-encode", RuntimeError, "Failed to load NVENC library: libnvidia-encode"),
            ("no-cuda", ImportError, r"libcuda\.so\.1: cannot open"),
            ("old", RuntimeError, "Driver version is too old"),
        ],
    )
    def test_imports_that_fail(self, driver: str, error: type[Exception], said: str) -> None:
        for _ in range(2):  # it fails anew each time
            with pytest.raises(error, match=said), nvdec(driver=driver):
                pass
            assert not isinstance(sys.modules.get("PyNvVideoCodec"), ModuleType)

    def test_calls_are_counted_over_all_processes(self, units, tmp_path: Path) -> None:
        done = child("feed(data); feed(data)", notes=tmp_path, fail_at="4")
        assert done.returncode == 0
        with nvdec(notes=tmp_path, fail_at="4") as package:
            feed = Fed(package, opened(package))
            feed(units[SMALL].data)
            with pytest.raises(package.PyNvVCException):
                feed(units[SMALL].data)
        lines = (tmp_path / "decodes").read_text().splitlines()
        assert len(lines) == 4 and len({line.split()[0] for line in lines}) == 2
        assert len((tmp_path / "decoders").read_text().splitlines()) == 2


class TestTheProcess:
    def test_a_failing_driver_ends_it(self) -> None:
        done = child("", driver="cuinit")
        assert done.returncode == 1
        assert done.stdout.startswith("[FATAL]") and "finally" not in done.stdout and "at exit" not in done.stdout

    def test_a_fault_later_ends_it_too(self) -> None:
        done = child('feed(data); print("once", flush=True); feed(data)', exit_at="2")
        assert done.returncode == 1
        assert done.stdout.startswith("once\n[FATAL]")

    def test_two_threads_at_once_end_it(self) -> None:
        body = """threads = [threading.Thread(target=lambda: [feed(data) for _ in range(500)]) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()"""
        done = child(body)
        assert done.returncode == -6
        assert "two threads in one decoder" in done.stderr

    def test_no_gpu_is_visible(self, monkeypatch) -> None:
        done = child("", gpus=0)
        assert done.returncode == 1 and "CUDA_ERROR_NO_DEVICE" in done.stdout
