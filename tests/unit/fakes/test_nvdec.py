"""The fake PyNvVideoCodec springs the real one's traps: each is shown, so that nobody takes one out."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from harvester.model import AccessUnit, Codec
from tests.contract.streams import H264, HEVC, Sample, filtered, nal_units, player
from tests.fakes import environment, nvdec

FREED = 0xDD
SMALL = Sample("small", H264, 160, 96)
LARGE = Sample("large", H264, 320, 184)  # coded 320x192
CROPPED = Sample("cropped", HEVC, 190, 160)
DEEP = Sample("deep", HEVC, 192, 160, pix_fmt="yuv420p10le")


@pytest.fixture
def package() -> Iterator[ModuleType]:
    with nvdec() as fake:
        yield fake


@pytest.fixture(scope="module")
def units() -> dict[Sample, AccessUnit]:
    return {sample: sample.unit() for sample in (SMALL, LARGE, CROPPED, DEEP)}


def opened(package: ModuleType, codec: Codec = H264, latency: str = "LOW", **more: Any) -> Any:
    kinds = {"codec": package.cudaVideoCodec[codec.name], "latency": package.DisplayDecodeLatencyType[latency]}
    return package.CreateDecoder(**kinds, **more)


class Fed:
    """Packets over memory that lives as long as this does."""

    def __init__(self, package: ModuleType, decoder: Any) -> None:
        self.package, self.decoder = package, decoder

    def __call__(self, data: bytes, pts: int = 0, ends: bool = True) -> list[Any]:
        memory = np.frombuffer(data, np.uint8)
        packet = self.package.PacketData()
        packet.bsl, packet.bsl_data, packet.pts = len(data), memory.ctypes.data, pts
        packet.decode_flag = self.package.VideoPacketFlag.ENDOFPICTURE if ends else 0
        return self.decoder.Decode(packet)


def luma(frame: Any, height: int) -> np.ndarray:
    return np.from_dlpack(frame)[:height].copy()


def assert_right(frame: Any, unit: AccessUnit) -> None:
    y, u, v = player(unit)
    got = np.from_dlpack(frame) >> (6 if unit.stream.bit_depth == 10 else 0)
    np.testing.assert_array_equal(got, np.vstack([y, np.dstack([u, v]).reshape(u.shape[0], -1)]))


class TestPictures:
    @pytest.mark.parametrize("sample", [SMALL, LARGE, CROPPED, DEEP], ids=lambda sample: sample.name)
    def test_are_those_of_the_ffmpeg_program(self, package, units, sample: Sample) -> None:
        feed = Fed(package, opened(package, sample.codec))
        (frame,) = feed(units[sample].data)
        assert_right(frame, units[sample])
        assert frame.shape == [sample.height * 3 // 2, sample.width]
        assert frame.framesize() == sample.width * sample.height * 3 // 2 * (2 if sample is DEEP else 1)

    def test_sixteen_bits_hold_the_value_high_and_call_themselves_bytes(self, package, units) -> None:
        feed = Fed(package, opened(package, HEVC))
        (frame,) = feed(units[DEEP].data)
        assert frame.dtype == "|u1" and frame.format is package.Pixel_Format.P016
        assert np.from_dlpack(frame).dtype == np.uint16
        assert luma(frame, DEEP.height).max() > 1 << 14 and not (luma(frame, DEEP.height) & 63).any()
        luma_view, chroma_view = frame.cuda()
        assert luma_view.__cuda_array_interface__["typestr"] == "|u2"
        assert luma_view.__cuda_array_interface__["strides"] == [DEEP.width, 1, 1]  # those of 8 bit
        assert chroma_view.shape == [DEEP.height // 2, DEEP.width // 2, 2]

    def test_planes_are_addresses(self, package, units) -> None:
        feed = Fed(package, opened(package))
        (frame,) = feed(units[SMALL].data)
        first, second = frame.GetPtrToPlane(0), frame.GetPtrToPlane(1)
        assert second - first == SMALL.width * SMALL.height
        lines = np.frombuffer((ctypes.c_uint8 * (second - first)).from_address(first), np.uint8)
        np.testing.assert_array_equal(lines, player(units[SMALL])[0].ravel())

    def test_views_break_the_protocol(self, package, units) -> None:
        for stream, told in ((0, 0), (0x7F00, 2)):
            feed = Fed(package, opened(package, cudastream=stream))
            (frame,) = feed(units[SMALL].data)
            interface = frame.cuda()[0].__cuda_array_interface__
            assert interface["stream"] == told and isinstance(interface["shape"], list)

    def test_dlpack_takes_a_stream_and_nothing_newer(self, package, units) -> None:
        feed = Fed(package, opened(package))
        (frame,) = feed(units[SMALL].data)
        with pytest.raises(TypeError):
            frame.__dlpack__(max_version=(1, 0))
        with pytest.raises(RuntimeError):
            frame.__dlpack__(stream=None)
        assert frame.__dlpack_device__() == (1, 0)

    def test_device_memory_is_known_by_its_address_alone(self, units) -> None:
        with nvdec(device=1) as package:
            feed = Fed(package, opened(package, usedevicememory=True))
            (frame,) = feed(units[SMALL].data)
            assert frame.__dlpack_device__() == (2, 0) and frame.GetPtrToPlane(0)
            with pytest.raises(package.PyNvVCException, match="801"):  # no stream is told
                np.from_dlpack(frame)

    def test_a_left_or_top_crop_is_cut_from_the_corner(self, package, units) -> None:
        data = filtered(units[LARGE].data, "h264_metadata=crop_left=8:crop_top=4:crop_right=0:crop_bottom=0", H264)
        feed = Fed(package, opened(package))
        whole = luma(feed(units[LARGE].data)[0], LARGE.height)
        feed = Fed(package, opened(package))
        (frame,) = feed(data)
        assert frame.shape == [188 * 3 // 2, 312]
        np.testing.assert_array_equal(luma(frame, 184), whole[:184, :312])

    @pytest.mark.parametrize("sample", [Sample("tiny", H264, 32, 16), Sample("low", HEVC, 256, 128)])
    def test_nothing_checks_the_smallest_size(self, package, sample: Sample) -> None:
        feed = Fed(package, opened(package, sample.codec))
        (frame,) = feed(sample.unit().data)
        assert (luma(frame, sample.height)[1::2] == FREED).all()

    def test_interlaced_pictures_in_one_packet_come_out_wrong(self, package) -> None:
        unit = Sample("interlaced", H264, 320, 192, params="keyint=1:interlaced=1").unit()
        feed = Fed(package, opened(package))
        (frame,) = feed(unit.data)
        assert (luma(frame, 192)[1::2] == FREED).all()


class TestMemory:
    def test_the_next_decode_overwrites_a_frame(self, package, units) -> None:
        feed = Fed(package, opened(package))
        (frame,) = feed(units[SMALL].data)
        view = np.from_dlpack(frame)
        address = frame.GetPtrToPlane(0)
        (other,) = feed(Sample("other", H264, 160, 96, scene="teeworlds-ctf2").unit().data)
        assert other.GetPtrToPlane(0) == address
        np.testing.assert_array_equal(view, np.from_dlpack(other))

    def test_a_frame_dies_with_its_decoder(self, package, units) -> None:
        feed = Fed(package, opened(package))
        (frame,) = feed(units[SMALL].data)
        view = np.from_dlpack(frame)
        assert not (view == FREED).all()
        del feed.decoder
        gc.collect()
        assert (view == FREED).all()

    def test_another_shape_frees_a_frame(self, package, units) -> None:
        feed = Fed(package, opened(package, maxwidth=640, maxheight=640))
        view = np.from_dlpack(feed(units[SMALL].data)[0])
        assert feed.decoder.setReconfigParams(320, 192) == 1
        assert (view == FREED).all()

    def test_data_is_read_while_decoding_and_never_again(self, package, units) -> None:
        feed = Fed(package, opened(package))
        data = bytearray(units[SMALL].data)
        memory = np.frombuffer(data, np.uint8)
        packet = package.PacketData()
        packet.bsl, packet.bsl_data, packet.decode_flag = len(data), memory.ctypes.data, 8
        data[:] = bytes(len(data))  # before it is decoded
        assert feed.decoder.Decode(packet) == []
        (frame,) = feed(units[SMALL].data)
        assert_right(frame, units[SMALL])

    def test_decoders_are_too_many(self, units) -> None:
        with nvdec(sessions=2) as package:
            decoders = [opened(package) for _ in range(3)]
            with pytest.raises(package.PyNvVCException, match="OUT_OF_MEMORY"):
                Fed(package, decoders[0])(units[SMALL].data)
            del decoders[1:]
            gc.collect()
            assert Fed(package, decoders[0])(units[SMALL].data)


class TestSizes:
    def test_another_size_is_scaled_to_the_first_without_a_word(self, package, units) -> None:
        feed = Fed(package, opened(package))
        (first,) = feed(units[LARGE].data)
        shape = first.shape
        (frame,) = feed(units[SMALL].data)
        assert frame.shape == shape
        scaled = luma(frame, LARGE.height)
        np.testing.assert_array_equal(scaled[::2, ::2], player(units[SMALL])[0][:92])
        assert_right(feed(units[LARGE].data)[0], units[LARGE])

    def test_unless_it_was_announced_and_that_sticks(self, package, units) -> None:
        feed = Fed(package, opened(package))
        feed(units[LARGE].data)
        assert feed.decoder.setReconfigParams(width=160, height=96) == 1
        assert_right(feed(units[SMALL].data)[0], units[SMALL])
        assert feed(units[LARGE].data)[0].shape == [144, 160]

    def test_a_size_before_the_first_packet_scales_from_the_start(self, package, units) -> None:
        feed = Fed(package, opened(package, maxwidth=320, maxheight=192))
        feed.decoder.setReconfigParams(80, 48)
        assert feed(units[SMALL].data)[0].shape == [72, 80]

    def test_a_larger_one_is_refused_and_the_decoder_lives(self, package, units) -> None:
        feed = Fed(package, opened(package))
        feed(units[SMALL].data)
        with pytest.raises(package.PyNvVCException, match="width/height > maxwidth/maxheight"):
            feed(units[LARGE].data)
        assert_right(feed(units[SMALL].data)[0], units[SMALL])

    def test_the_largest_size_may_be_told_and_is_rounded_up(self, package, units) -> None:
        feed = Fed(package, opened(package, maxwidth=300, maxheight=170))  # 320x192
        feed(units[SMALL].data)
        assert feed(units[LARGE].data)[0].shape == [144, 160]

    def test_the_same_coded_size_may_be_cropped_anew(self, package, units) -> None:
        feed = Fed(package, opened(package))
        feed(units[LARGE].data)
        other = Sample("lower", H264, 310, 180).unit()
        assert_right(feed(other.data)[0], other)

    def test_the_bit_depth_may_not_change(self, package, units) -> None:
        feed = Fed(package, opened(package, HEVC, maxwidth=256, maxheight=256))
        feed(units[CROPPED].data)
        with pytest.raises(package.PyNvVCException, match="bit depth change"):
            feed(units[DEEP].data)


class TestOrder:
    """Packets of three pictures and then the end; which pictures come out at each."""

    @pytest.mark.parametrize(
        ("latency", "ends", "told"),
        [
            ("NATIVE", False, [[], [], [7], [8, 9]]),
            ("NATIVE", True, [[], [7], [8], [9]]),
            ("LOW", False, [[], [7], [8], [9]]),
            ("LOW", True, [[7], [8], [9], []]),
            ("ZERO", False, [[], [0], [0], [0]]),
            ("ZERO", True, [[0], [0], [0], []]),
        ],
    )
    def test_latency_and_pts(self, package, units, latency: str, ends: bool, told: list[list[int]]) -> None:
        feed = Fed(package, opened(package, latency=latency))
        outs = [feed(units[SMALL].data, pts, ends) for pts in (7, 8, 9)]
        outs.append(feed.decoder.Decode(package.PacketData()))  # empty: the end of the stream
        assert [[frame.getPTS() for frame in out] for out in outs] == told
        assert feed(units[SMALL].data, 11, True) if latency != "NATIVE" else True  # and it goes on afterwards

    def test_several_pictures_of_a_packet_lie_side_by_side(self, package, units) -> None:
        other = Sample("other", H264, 160, 96, scene="teeworlds-ctf2").unit()
        feed = Fed(package, opened(package))
        frames = feed(units[SMALL].data + other.data, 5)
        assert [frame.timestamp for frame in frames] == [5, 5]
        assert_right(frames[0], units[SMALL])
        assert_right(frames[1], other)

    def test_parameter_sets_live_on(self, package, units) -> None:
        feed = Fed(package, opened(package))
        parts = nal_units(units[SMALL].data)
        alone = b"\0\0\1" + parts[-1]
        assert feed(alone) == []
        feed(units[SMALL].data)
        assert_right(feed(alone)[0], units[SMALL])

    def test_packets_are_numbers_and_nothing_else(self, package) -> None:
        packet = package.PacketData()
        for name, value in (("data", b""), ("bytes", 1)):
            with pytest.raises(AttributeError):
                setattr(packet, name, value)
        for name, value in (("bsl_data", b"x"), ("bsl", -1), ("pts", 1 << 63), ("decode_flag", 300), ("pts", 1.0)):
            with pytest.raises(TypeError):
                setattr(packet, name, value)
        with pytest.raises(TypeError):
            package.PacketData(b"x")
        packet.pts, packet.decode_flag = -(1 << 63), package.VideoPacketFlag.ENDOFPICTURE
        assert (packet.pts, packet.decode_flag) == (-(1 << 63), 8)


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


BEGIN = """
import atexit, sys, threading
sys.path.insert(0, sys.argv[1])
atexit.register(print, "at exit", flush=True)
import PyNvVideoCodec as package
from tests.unit.fakes.test_nvdec import SMALL, Fed, opened
data = SMALL.unit().data
try:
    feed = Fed(package, opened(package))
    {}
finally:
    print("finally", flush=True)
"""


def child(body: str, **machine: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BEGIN.format(body.replace("\n", "\n    ")), str(Path(__file__).parents[3])]
    variables = {"PATH": "", **environment(**machine)}
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False)


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
