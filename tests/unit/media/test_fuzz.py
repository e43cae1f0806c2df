"""Hostile bytes: only MediaError escapes, and every parser stays within its bounds of time and memory."""

from __future__ import annotations

import resource

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.errors import MediaError
from tests.unit.media import fuzz


def test_good_inputs_are_good() -> None:
    for _, parse, good in fuzz.entries():
        assert parse(good) is not None


def test_mutated_streams_raise_media_errors_only() -> None:
    outcomes = fuzz.storm(seed=1, rounds=40)
    assert outcomes["picture"] > 20
    assert outcomes["corrupt"] > 20
    assert {"truncated", "no-keyframe"} <= outcomes.keys()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 12))
def test_a_storm_of_mutations(seed: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = fuzz.storm(seed, rounds=2000)
    assert sum(outcomes.values()) == 2000 * len(fuzz.entries())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@given(st.binary(max_size=3000), st.sampled_from([b"", b"\x47", b"\x00\x00\x00\x18ftyp", b"\x00\x00\x01\x00moof"]))
@settings(max_examples=150, deadline=None)
def test_arbitrary_bytes_raise_media_errors_only(data: bytes, front: bytes) -> None:
    for _, parse, _ in fuzz.entries():
        with pytest.raises(MediaError):
            parse(front + data)
