"""Start codes and bits, against the plain way to find and read them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import MediaError
from harvester.media import bitstream
from harvester.media.bitstream import START_CODE, BitReader, HeaderEnds, start_codes


def plain_start_codes(stream: bytes) -> list[int]:
    places, at = [], stream.find(START_CODE)
    while at >= 0:
        places.append(at)
        at = stream.find(START_CODE, at + 1)
    return places


@given(st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 255]), max_size=64).map(bytes))
def test_start_codes_among_zeros_and_ones(stream: bytes) -> None:
    assert list(start_codes(stream)) == plain_start_codes(stream)


def test_start_codes_at_the_borders_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitstream, "_SEARCHED_BYTES", 8)
    generator = random.Random(4)
    for _ in range(3000):
        stream = bytes(generator.choices((0, 0, 1, 3), k=generator.randrange(40)))
        assert list(start_codes(stream)) == plain_start_codes(stream)


def test_start_codes_in_more_than_one_block() -> None:
    size = bitstream._SEARCHED_BYTES
    for place in (0, 1, size - 3, size - 2, size - 1, size, size + 1, 2 * size - 3):
        stream = bytearray(b"\x07" * 2 * size)
        stream[place : place + 3] = START_CODE
        assert list(start_codes(bytes(stream))) == [place]


@given(st.binary(max_size=12), st.lists(st.integers(0, 20), max_size=8))
def test_bits_come_most_significant_first(data: bytes, counts: list[int]) -> None:
    text = "".join(f"{byte:08b}" for byte in data)
    reader, at = BitReader(data), 0
    for count in counts:
        if at + count > len(text):
            with pytest.raises(HeaderEnds):
                reader.bits(count)
        else:
            assert reader.bits(count) == int(text[at : at + count] or "0", 2)
            at += count
        assert reader.bytes_read == (at + 7) // 8


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x00\x00", b"\x01", b"\x00\x01"])
def test_an_exp_golomb_number_that_is_cut_ends_the_header(data: bytes) -> None:
    with pytest.raises(HeaderEnds):
        BitReader(data).ue()


@pytest.mark.parametrize("data", [b"\x00\x00\x00\x00", b"\x00\x00\x00\x00\xff\xff\xff\xff\xff"])
def test_an_exp_golomb_number_of_more_than_32_bits_is_corrupt(data: bytes) -> None:
    with pytest.raises(MediaError) as caught:
        BitReader(data).ue()
    assert caught.value.reason == "corrupt"
