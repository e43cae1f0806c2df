"""What fuzzing has found, as the smallest input that shows it: each once ended a run instead of a source."""

from __future__ import annotations

import pytest

from tests.fuzz.runner import Report, throw
from tests.fuzz.targets import TARGETS
from tests.fuzz.text import answer

FOUND = [
    ("http dates", b"Retry-After: Fri, 31 Dec 9999 23:00:00 -0100"),  # OverflowError
    ("helix page", b'{"data": true}'),  # TypeError
    (
        "helix listing",
        answer(rb'{"data": [{"id": "1"}], "pagination": {"cursor": "\ud800"}}'),
    ),  # UnicodeEncodeError
    ("helix listing", answer(b'{"data": [{"id": "1", "created_at": 9223372036854775808}]}')),  # OSError
    (
        "gql and usher bodies",
        rb'{"data": {"videoPlaybackAccessToken": {"value": "\ud800"}}}',
    ),  # UnicodeEncodeError
    ("gql and usher bodies", b'{"data": {"clip": {"videoQualities": [{"sourceURL": "http://["}]}}}'),  # ValueError
    ("tombstones.json", b'{"version": 1, "tombstones": {}}'),  # taken for none at all
    (
        "classes.json",
        rb'{"format": 1, "split": {"salt": "\ud800", "fractions": {"train": 0.8, "validation": 0.1, "test": 0.1}}, "classes": []}',
    ),  # UnicodeEncodeError
]


@pytest.mark.parametrize(("kind", "data"), FOUND)
def test_what_was_found(kind: str, data: bytes) -> None:
    target = next(target for target in TARGETS if target.kind == kind)
    with target.opened() as read:
        throw(target, read, data, Report(), sampled=False)
