"""The traps of the fake PyNvVideoCodec, shown so that nobody takes one out: frames and their memory."""

from __future__ import annotations

import ctypes
import gc

import numpy as np
import pytest

from tests.contract.streams import H264, HEVC, Sample, filtered, player
from tests.fakes import nvdec
from tests.unit.fakes.feeding import CROPPED, DEEP, FREED, LARGE, SMALL, Fed, assert_right, luma, opened


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
