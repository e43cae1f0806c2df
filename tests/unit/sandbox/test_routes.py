from datetime import UTC, datetime

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from harvester.sandbox.buckets import RateBucket
from harvester.sandbox.routes import ranged

DATA = bytes(range(100))
WHEN = datetime(2026, 11, 1, tzinfo=UTC)


def answer(header):
    headers = {} if header is None else {"Range": header}
    return ranged(make_mocked_request("GET", "/cdn/x/0.ts", headers=headers), DATA, "video/MP2T", WHEN)


@given(st.integers(0, 120), st.integers(0, 120) | st.none())
def test_a_range_is_a_slice(first, last):
    response = answer(f"bytes={first}-{'' if last is None else last}")
    expected = DATA[first : None if last is None else last + 1]
    if last is not None and last < first:
        assert (response.status, response.body) == (200, DATA)  # not valid: ignored
    elif not expected:
        assert (response.status, response.headers["Content-Range"]) == (416, "bytes */100")
    else:
        assert (response.status, response.body) == (206, expected)
        assert response.headers["Content-Range"] == f"bytes {first}-{first + len(expected) - 1}/100"


@given(st.integers(0, 200))
def test_a_suffix_range_is_the_end(count):
    response = answer(f"bytes=-{count}")
    if count:
        assert (response.status, response.body) == (206, DATA[-count:])
    else:
        assert response.status == 416


@pytest.mark.parametrize("header", [None, "", "bytes=-", "bytes=a-b", "bytes=0-1,5-6", "items=0-1", "bytes 0-1"])
def test_what_is_no_single_byte_range_is_ignored(header):
    response = answer(header)
    assert (response.status, response.body) == (200, DATA)
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["ETag"].startswith('"')
    assert response.headers["Last-Modified"] == "Sun, 01 Nov 2026 00:00:00 GMT"


def test_a_rate_bucket_empties_and_tells_when_it_is_full_again():
    bucket = RateBucket(3)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    headers = bucket.headers()
    assert headers["Ratelimit-Limit"] == "3"
    assert headers["Ratelimit-Remaining"] == "0"
    bucket._at -= 20  # a third of a minute later
    assert [bucket.take(), bucket.take()] == [True, False]


def test_a_rate_bucket_refills_at_a_rate_of_its_own():
    bucket = RateBucket(3, per_minute=60)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    bucket._at -= 1.5
    assert [bucket.take(), bucket.take()] == [True, False]
