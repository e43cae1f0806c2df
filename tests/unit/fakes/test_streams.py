"""The traps of the fake PyNvVideoCodec, shown so that nobody takes one out: sizes, order, packets."""

from __future__ import annotations

import numpy as np
import pytest

from tests.contract.streams import H264, HEVC, Sample, nal_units, player
from tests.unit.fakes.feeding import CROPPED, DEEP, LARGE, SMALL, Fed, assert_right, luma, opened


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
