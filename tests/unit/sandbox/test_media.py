"""Remuxes are judged by libavformat and libavcodec: the very same pictures, at the promised times."""

import io

import av
import numpy as np
import pytest

from harvester.sandbox.encoding import Encoding
from harvester.sandbox.media import Reel, encode, silence
from tests.unit.sandbox.conftest import FPS, decoded, make_video

GOP_PICTURES = 2 * FPS


@pytest.fixture(scope="module")
def source(tiny_index):
    return tiny_index.parent / "alpha.mp4"


@pytest.fixture(scope="module")
def reel(source):
    return Reel(source)


@pytest.fixture(scope="module")
def pictures(source):
    return [luma for _, luma in decoded(source)]


def same(found, expected):
    assert len(found) == len(expected)
    assert all(np.array_equal(a, b) for (_, a), b in zip(found, expected, strict=True))


def boxes(data):
    position, found = 0, []
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        found.append(data[position + 4 : position + 8].decode())
        position += size
    assert position == len(data)
    return found


def test_a_reel_knows_its_gops(reel):
    assert [reel.seconds(gop) for gop in range(len(reel.gops))] == [2.0] * 6
    assert (reel.width, reel.height, reel.fps) == (320, 180, FPS)
    assert reel.codecs.startswith("avc1.")
    assert bytes.fromhex(reel.codecs[5:]) == reel.configuration[1:4]


def test_a_reel_ends_where_its_footage_is_said_to_end(source):
    assert len(Reel(source, 8.0).gops) == 4
    assert len(Reel(source, 8.1).gops) == 5


@pytest.mark.parametrize("gops", [[0], [2], [1, 2, 3], [5, 0, 1]])
def test_a_transport_stream_segment_holds_the_same_pictures(reel, pictures, gops):
    found = decoded(reel.ts(gops, 20.0))
    same(found, [pictures[g * GOP_PICTURES + n] for g in gops for n in range(GOP_PICTURES)])
    assert [time for time, _ in found] == pytest.approx([20 + n / FPS for n in range(len(found))], abs=1e-4)


@pytest.mark.parametrize("gops", [[0], [2], [5, 0, 1]])
def test_a_fragment_behind_the_init_section_holds_the_same_pictures(reel, pictures, gops):
    init, fragment = reel.init(), reel.fragment(gops, 20.0)
    assert boxes(init) == ["ftyp", "moov"]
    assert boxes(fragment) == ["moof", "mdat"] * len(gops)
    found = decoded(init + fragment)
    same(found, [pictures[g * GOP_PICTURES + n] for g in gops for n in range(GOP_PICTURES)])
    reorder = found[0][0] - 20  # decode time starts at 20 s; the first picture waits for its B-frames
    assert 0 <= reorder <= 2 / FPS
    assert [t for t, _ in found] == pytest.approx([20 + reorder + n / FPS for n in range(len(found))], abs=1e-4)


def test_a_clip_starts_at_zero_after_its_edit_list_with_the_index_in_front(reel, pictures):
    data = reel.mp4([2, 3])
    order = boxes(data)
    assert order.index("moov") < order.index("mdat")
    assert b"elst" in data
    found = decoded(data)
    same(found, pictures[2 * GOP_PICTURES : 4 * GOP_PICTURES])
    assert found[0][0] == 0


def test_silence_is_sound_alone():
    with av.open(io.BytesIO(silence(2.0, 30.0))) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["aac"]
        frames = list(container.decode(audio=0))
        assert frames[0].pts * frames[0].time_base == pytest.approx(30, abs=0.05)
        assert not any(frame.to_ndarray().any() for frame in frames)


def test_an_encode_has_closed_two_second_gops_and_the_pictures_asked_for(tmp_path, source, pictures):
    target, painted = tmp_path / "out.mp4", []

    def draw(luma, number):
        painted.append((number, luma.shape))
        luma[:8, :8] = 200

    encode(source, target, Encoding(64, 36, rate="qp=4"), start_s=2, seconds=4, draw=draw)
    found = decoded(target)
    assert painted == [(n, (36, 64)) for n in range(24)]
    assert [gop.length for gop in Reel(target).gops] == [Reel(target).gops[0].length] * 2
    assert np.abs(found[0][1][:8, :8].astype(int) - 200).max() < 6
    left, right = found[5][1][20:, 40:], pictures[17][100:, 200:]
    assert abs(np.median(left) - np.median(right)) < 2


def test_only_codecs_of_the_dataset_are_taken(tmp_path):
    path = tmp_path / "other.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            output.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        output.mux(stream.encode(None))
    with pytest.raises(ValueError, match="mpeg4, the sandbox serves h264, hevc, av1 only"):
        Reel(path)


def test_silence_beside_the_pictures_leaves_them_as_they_are(tmp_path):
    make_video(tmp_path / "a.mp4", 60, seconds=4)
    reel = Reel(tmp_path / "a.mp4")
    with_sound = reel.ts([0, 1], 50.0, sound=True)
    for (time, luma), (expected_time, expected) in zip(
        decoded(with_sound), decoded(reel.ts([0, 1], 50.0)), strict=True
    ):
        assert time == pytest.approx(expected_time)
        assert np.array_equal(luma, expected)
    with av.open(io.BytesIO(with_sound)) as container:
        times = [float(p.pts * p.time_base) for p in container.demux(audio=0) if p.size]
    assert len(times) == round(4 * 48_000 / 1024) + 1
    assert 49.9 < times[0] <= 50.0
    assert 53.9 < times[-1] < 54.1
