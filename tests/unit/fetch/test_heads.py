"""The estimator on real head sizes, and its promises on any."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.fetch.heads import MISSES, SPENT, HeadSizes
from harvester.fetch.indexes import IndexSizes
from harvester.fetch.segments import HEADS_IN_FLIGHT
from harvester.fetch.source_heads import REMEMBERED, SMALLEST_ASK, SourceHeads
from harvester.model import Rendition

P720 = Rendition("720p30", "http://127.0.0.1/x", 1280, 720, 30.0, 3_000_000, "avc1.4D0020,mp4a.40.2")

#: Heads of consecutive GOPs of 2 s, in 100 bytes: free games as recorded at 720p, and encoded at 3 Mbit/s ("3M").
HEADS = {
    "bsu_level1": [209, 250, 269, 280, 261, 256, 258, 244, 246, 263, 235, 239, 254, 274, 267, 273],
    "bsu_level3": [258, 325, 329, 316, 305, 314, 321, 314, 316, 308, 320, 325, 323, 306, 308, 308],
    "freedoom_p1_e1m3": [333, 455, 427, 432, 297, 400, 337, 316, 461, 382, 357, 442],
    "freedoom_p2_map02": [291, 400, 414, 417, 417, 391, 357, 404, 391, 549, 397, 483],
    "hedgewars_nature_3teams": [431, 436, 431, 402, 404, 406, 412, 410, 493, 498, 434, 274, 327, 337, 538, 654],
    "hedgewars_snow_4teams": [525, 643, 626, 658, 107, 511, 553, 543, 541, 564, 553, 549, 568, 491, 387, 372],
    "minetest_carpathian": [197, 239, 182, 231, 179, 218, 239, 212, 175, 241, 372, 357, 263, 415, 320, 227],
    "minetest_ovA_carpathian": [220, 235, 290, 216, 261, 278, 258, 224, 316, 447, 395, 308, 457, 355, 265, 248],
    "minetest_v7": [135, 132, 212, 141, 58, 154, 182, 77, 120, 152, 137, 226, 235, 96, 92, 92],
    "supertux_antarctica": [682, 844, 929, 810, 914, 799, 857, 797, 863, 844, 859, 970, 854, 993, 878, 884],
    "supertux_forest": [709, 966, 929, 951, 996, 921, 934, 961, 936, 938, 876, 968, 923, 968, 948, 944],
    "supertux_menu": [19, 620, 758, 1047, 1085, 1192, 1216, 1203, 1237, 1239],
    "supertuxkart_lighthouse": [293, 590, 602, 431, 545, 540, 598, 406, 393, 468, 410, 368],
    "supertuxkart_loading_snowmountain": [19, 11, 237, 335, 205, 538, 750, 846, 814, 842, 823, 838],
    "supertuxkart_zengarden": [462, 1100, 643, 681, 679, 724, 756, 812, 609, 808, 808, 724],
    "teeworlds_ctf2": [261, 278, 199, 212, 186, 201, 261, 227, 297, 252, 301, 293, 274, 259, 261, 227],
    "teeworlds_dm6": [139, 171, 196, 211, 150, 180, 188, 182, 203, 184, 169, 188, 167, 167, 186, 197],
    "teeworlds_ctf2 3M": [825, 434, 654, 773, 581, 681, 547, 523, 442, 739, 1062, 923, 573, 844, 835],
    "supertuxkart_zengarden 3M": [2010, 1433, 1192, 1218, 1261, 810, 1055, 1194, 1241, 1701, 1889],
    "supertux_forest 3M": [
        1743,
        2068,
        2314,
        2431,
        2311,
        2297,
        2311,
        2254,
        2405,
        2141,
        2452,
        2346,
        2352,
        2230,
        2002,
    ],
    "bsu_level3 3M": [814, 739, 729, 739, 776, 865, 1169, 906, 669, 511, 543, 504, 615, 686, 837],
}
#: Share of a head that is the access unit; the rest is TS, sound and the packet that begins the next picture.
UNIT_SHARE = 1 / 1.045


def spread(count: int) -> list[int]:
    """0 .. count-1 in bit-reversed order, as targets of a source are visited."""
    bits = max(1, (count - 1).bit_length())
    return [n for n in (int(f"{i:0{bits}b}"[::-1], 2) for i in range(1 << bits)) if n < count]


def fetch(source: SourceHeads, moment_s: float, size: int) -> tuple[int, int]:
    """(bytes, requests) that a head of ``size`` bytes takes."""
    held, requests = source.first_ask(moment_s), 1
    while held < size:
        held, requests = source.next_ask(moment_s, held), requests + 1
    return held, requests


def visits(rng: random.Random) -> list[tuple[str, float, int]]:
    """(source, moment, head size) of all targets: every recording three times at other sizes, rounds of four."""
    lanes = []
    for name, series in HEADS.items():
        heads = [size * 100 * math.exp(f) for f in (rng.gauss(0, 0.12) for _ in range(3)) for size in series][:40]
        lanes.append([(name, 2.0 * i, int(heads[i])) for i in spread(len(heads))])
    rng.shuffle(lanes)
    return [visit for turn in range(10) for lane in lanes for visit in lane[4 * turn : 4 * turn + 4]]


def mixed_world(seed: int, first: int) -> tuple[int, float, int, int]:
    """(bytes, access units' bytes, requests, targets) from head number ``first`` of each source on.

    Of each source one more head is under way with each two that have come, four in the end.
    """
    run, seen = HeadSizes(), {}
    sent = units = requests = targets = 0
    for name, moment_s, size in visits(random.Random(seed)):
        source, waiting, count = seen.setdefault(name, (run.source(P720), [], [0]))
        while len(waiting) >= min(HEADS_IN_FLIGHT, 1 + source.count // 2):
            source.learn(*waiting.pop(0))
        held, asked = fetch(source, moment_s, size)
        waiting.append((moment_s, size, held))
        if count[0] >= first:
            sent, units = sent + held, units + size * UNIT_SHARE
            requests, targets = requests + asked, targets + 1
        count[0] += 1
    return sent, units, requests, targets


@pytest.mark.parametrize(("first", "most_bytes", "most_requests"), [(1, 1.44, 1.08), (4, 1.44, 1.07)])
def test_bytes_and_requests_of_a_mixed_world_stay_in_their_bounds(first, most_bytes, most_requests):
    """Measured 1.424 x the access units' bytes and 1.066 requests a head from the second head of each source on,
    1.417 and 1.058 from the fifth.

    Half of these sources jump between menus, loading and play; mean plus 1.5 sigma takes 1.6 and 1.05 here.
    """
    sent, units, requests, targets = map(sum, zip(*(mixed_world(seed, first) for seed in range(2)), strict=True))
    assert targets > 1000
    assert sent / units <= most_bytes
    assert requests / targets <= most_requests


@pytest.mark.parametrize("sigma", [0.2, 0.3])
def test_misses_settle_at_their_share_however_much_heads_vary(sigma):
    rng, run, asks, heads = random.Random(5), HeadSizes(), 0, 0
    for number in range(60):
        source = run.source(P720)
        for i in range(30):
            size = int(60_000 * math.exp(rng.gauss(0, sigma)))
            held, asked = fetch(source, 10.0 * i, size)
            source.learn(10.0 * i, size, held)
            if number >= 10 and i:
                asks, heads = asks + asked, heads + 1
    assert asks / heads == pytest.approx(1 + MISSES, abs=0.025)


def test_bytes_to_spare_are_spent_on_requests():
    """Of heads that vary by a tenth 5.2 % would miss at 1.22 bytes a byte; 3.2 % do at 1.25."""
    rng, run, sent, needed, asks, heads = random.Random(5), HeadSizes(), 0, 0, 0, 0
    for _ in range(60):
        source, level = run.source(P720), 60_000 * math.exp(rng.gauss(0, 0.4))
        for i in range(30):
            size = int(level * math.exp(rng.gauss(0, 0.1)))
            held, asked = fetch(source, 10.0 * i, size)
            source.learn(10.0 * i, size, held)
            if i:
                sent, needed, asks, heads = sent + held, needed + size, asks + asked, heads + 1
    assert asks / heads < 1.042
    assert sent / needed < SPENT


def test_even_heads_are_asked_for_tightly():
    source = HeadSizes().source(P720)
    for i in range(12):
        size = 80_000 + 500 * (i % 3)
        held, requests = fetch(source, 10.0 * i, size)
        source.learn(10.0 * i, size, held)
    assert requests == 1
    assert held < 1.25 * 80_000


def test_a_new_source_starts_from_what_others_of_its_kind_needed():
    run = HeadSizes()
    before = run.source(P720).first_ask(0)
    for _ in range(6):
        other = run.source(P720)
        for i in range(8):
            other.learn(10.0 * i, 20_000, 20_000)
    assert run.source(P720).first_ask(0) < before / 1.5
    larger = replace(P720, width=1920, height=1080)
    assert 1.5 < run.source(larger).first_ask(0) / run.source(P720).first_ask(0) < 4


@pytest.mark.parametrize("detail", [0.0, 0.25])
def test_of_forgotten_heads_nothing_stays(detail):
    """What a new source is expected to need follows the heads that are remembered, and so do a source's own."""
    run = HeadSizes()
    source = run.source(P720)
    source.foresee(lambda _moment_s: detail)
    for i in range(5 * REMEMBERED + 7):
        source.learn(0.3 * i, 400_000, 400_000)
    for i in range(REMEMBERED):
        source.learn(0.3 * i, 40_000, 40_000)
    assert source.count == REMEMBERED
    assert 30_000 < source.first_ask(5.0) < 60_000
    kind, mean = (720, False, "avc1"), math.log(40_000 / (1280 * 720)) - run.slope * detail
    assert run.centre(kind) == pytest.approx((2 * math.log(0.11) + mean) / 3, abs=1e-6)  # what is assumed weighs 2


def test_near_heads_count_more_than_far_ones():
    source = HeadSizes().source(P720)
    for i in range(8):
        source.learn(2.0 * i, 30_000, 30_000)
        source.learn(600 + 2.0 * i, 120_000, 120_000)
    assert source.first_ask(7.0) < source.first_ask(607.0)
    assert source.first_ask(607.0) > 120_000


def scenes(seed: int, slope: float, noise: float = 0.1) -> list[tuple[float, float, int]]:
    """Moment, log detail and head of a source that is another picture each minute; the mean detail is 0."""
    random_ = random.Random(seed)
    details = [random_.gauss(0, 0.4) for _ in range(40)]
    mean = sum(details) / len(details)
    return [
        (60.0 * number, detail - mean, round(40_000 * math.exp(slope * (detail - mean) + random_.gauss(0, noise))))
        for number, detail in enumerate(details)
    ]


def costs(sources: list[list[tuple[float, float, int]]], *, foreseen: bool) -> tuple[float, float]:
    """Bytes asked for beside those needed, and requests a head, from the second head of each source on."""
    run, asked, needed, requests, heads = HeadSizes(), 0, 0, 0, 0
    for seen in sources:
        source, details = run.source(P720), {moment: detail for moment, detail, _ in seen}
        if foreseen:
            source.foresee(details.__getitem__)
        for moment_s, _, size in seen:
            first = ask = source.first_ask(moment_s)
            tries = 1
            while ask < size:
                ask, tries = source.next_ask(moment_s, ask), tries + 1
            if source.count:
                asked, needed, requests, heads = asked + ask, needed + size, requests + tries, heads + 1
            source.learn(moment_s, size, ask)
            assert first >= SMALLEST_ASK
    return asked / needed, requests / heads


@pytest.mark.parametrize("slope", [0.7, 1.0, 1.8])
def test_what_a_storyboard_foretells_saves_bytes_and_requests(slope):
    sources = [scenes(seed, slope) for seed in range(6)]
    (bytes_, requests), (before, requests_before) = costs(sources, foreseen=True), costs(sources, foreseen=False)
    assert bytes_ < 1.35 < 1.6 < before
    assert requests < 1.06 < requests_before


def test_a_storyboard_that_foretells_nothing_costs_next_to_nothing():
    sources = [scenes(seed, 0.0, noise=0.3) for seed in range(6)]
    misled, plain = costs(sources, foreseen=True), costs(sources, foreseen=False)
    assert misled[0] < plain[0] + 0.04
    assert misled[1] < plain[1] + 0.02


def test_detail_that_is_told_too_late_is_not_believed():
    run = HeadSizes()
    early, late = run.source(P720), run.source(P720)
    for source in (early, late):
        source.learn(0.0, 40_000, 40_000)
    late.foresee(lambda _: 5.0)
    assert late.first_ask(60.0) == early.first_ask(60.0)


def test_after_a_miss_in_a_black_start_the_next_ask_reaches_a_usual_picture():
    run = HeadSizes()
    other = run.source(P720)
    for i in range(10):
        other.learn(10.0 * i, 80_000, 80_000)
    source = run.source(P720)
    source.learn(0.0, 1300, 1300)
    assert fetch(source, 10.0, 80_000)[1] <= 4


@pytest.mark.parametrize("rendition", [replace(P720, width=None, height=None, fps=None, codecs=""), P720])
def test_a_rendition_that_tells_nothing_gets_a_sensible_first_ask(rendition):
    assert 60_000 < HeadSizes().source(rendition).first_ask(0) < 400_000


sizes = st.integers(0, 1 << 24)
moments = st.floats(0, 2e5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(moments, sizes), max_size=80), moments, sizes)
def test_asks_are_positive_finite_and_grow(seen, moment_s, held):
    source = HeadSizes().source(P720)
    for when, size in seen:
        source.learn(when, size, size)
    assert SMALLEST_ASK <= source.first_ask(moment_s) < 1 << 28
    assert held + SMALLEST_ASK <= source.next_ask(moment_s, held) < 1 << 28


def test_indexes_follow_the_length_of_the_clip_and_the_largest_recent_one():
    indexes = IndexSizes()
    assert indexes.ask(30) > 49_536  # 30 s at 60 frames a second, as FFmpeg writes it
    assert indexes.ask(0) > 0
    for duration_s, size in ((30, 34_337), (22, 24_000), (60, 66_000)):
        indexes.learn(duration_s, size)
    assert 34_337 <= indexes.ask(30) < 1.1 * 34_337
    assert indexes.ask(60) > 1.9 * indexes.ask(30)
    for _ in range(16):
        indexes.learn(30, 10_000)
    assert indexes.ask(30) < 12_000
