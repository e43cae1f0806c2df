"""How sure a source's category is the label of its frames. Pure.

Helix lists a VOD under a category without saying which part of it shows that game, so such a label is the
weakest; a clip's category is the broadcaster's at the moment of clipping.
"""

from __future__ import annotations

from dataclasses import dataclass

from harvester.model import Source

#: A clip of 5-60 s under the category set at that moment; what is left is streamers who forget to switch.
CLIP_CONFIDENCE = 0.9
#: A VOD known only by Helix's listing may hold other games, start and break screens; not measured yet.
LISTING_CONFIDENCE = 0.5


@dataclass(frozen=True, slots=True)
class Label:
    """Where a label comes from (contract: ``label_source``) and how sure it is (0..1)."""

    source: str
    confidence: float


def label_of(source: Source) -> Label:
    """Label evidence of every frame of ``source``."""
    if source.kind == "clip":
        return Label("clip", CLIP_CONFIDENCE)
    return Label("listing", LISTING_CONFIDENCE)
