"""Label evidence: a clip's category is worth more than a VOD's listing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from harvester.model import Clip, Vod, VodType
from harvester.sampling.labels import CLIP_CONFIDENCE, LISTING_CONFIDENCE, label_of

NOW = datetime(2026, 11, 2, tzinfo=UTC)


def test_a_clip_is_its_own_evidence() -> None:
    for linked in (None, "7"):
        clip = Clip("Slug-1", "1", "b", "B", "title", NOW, 30.0, "en", 5, linked, 3.0 if linked else None)
        label = label_of(clip)
        assert (label.source, label.confidence) == ("clip", CLIP_CONFIDENCE)


@pytest.mark.parametrize("kind", list(VodType))
def test_a_vod_is_only_listed(kind: VodType) -> None:
    label = label_of(Vod("7", "1", "b", "B", "title", NOW, 3600.0, kind, "en", 5))
    assert (label.source, label.confidence) == ("listing", LISTING_CONFIDENCE)


def test_confidence_is_a_share_and_orders_the_sources() -> None:
    assert 0 < LISTING_CONFIDENCE < CLIP_CONFIDENCE < 1
