"""The GQL operations that tell of a VOD, each in two spellings, and what an answer to one means. Pure.

Twitch's player sends *persisted* queries: a name and a hash that stands for the text. Hashes are changed every few
months, and then an answer says PersistedQueryNotFound (as it does now and then for a good one); the same question
spelt out in full survives that. Neither is documented.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from harvester.text import printable

#: The web player's own client id, without which GQL answers 400.
CLIENT_ID = "kimne78kx3ncx6brgo4mv6wki5h1ko"


class Outcome(Enum):
    """What an entry of a batch's answer is."""

    ANSWERED = auto()  # it has the data asked for
    UNKNOWN_HASH = auto()  # the persisted query is not known (any more), or just now
    FAILED = auto()  # a fault inside, which may pass
    REFUSED = auto()  # a matter of policy: the next question gets the same answer


@dataclass(frozen=True, slots=True)
class Operation:
    """One question about a VOD. ``fields``: what the full spelling asks of ``video``."""

    name: str
    sha256: str
    variables: Mapping[str, Any]
    fields: str

    def persisted(self, video_id: str) -> dict[str, Any]:
        """The question by its hash."""
        return {
            "operationName": self.name,
            "variables": {**self.variables, "videoID": video_id},
            "extensions": {"persistedQuery": {"version": 1, "sha256Hash": self.sha256}},
        }

    def inline(self, video_id: str) -> dict[str, Any]:
        """The question spelt out."""
        query = f"query {self.name}($videoID: ID!) {{ video(id: $videoID) {{ id {self.fields} }} }}"
        return {"operationName": self.name, "variables": {"videoID": video_id}, "query": query}


METADATA = Operation(
    name="VideoMetadata",
    sha256="45111672eea2e507f8ba44d101a61862f9c56b11dee09a15634cb75cb9b9084d",
    variables={"channelLogin": ""},
    fields="owner { id login displayName } game { id displayName } lengthSeconds broadcastType",
)
CHAPTERS = Operation(
    name="VideoPlayer_ChapterSelectButtonVideo",
    sha256="71835d5ef425e154bf282453a926d99b328cdc5e32f36d3a209d0f4778b41203",
    variables={"includePrivate": False},
    fields=(
        "moments(momentRequestType: VIDEO_CHAPTER_MARKERS, types: [GAME_CHANGE], first: 100) "
        "{ edges { node { type positionMilliseconds durationMilliseconds "
        "details { ... on GameChangeMomentDetails { game { id displayName } } } video { id lengthSeconds } } } "
        "pageInfo { hasNextPage } }"
    ),
)
PREVIEWS = Operation(
    name="VideoPlayer_VODSeekbarPreviewVideo",
    sha256="07e99e4d56c5a7c67117a154777b0baf85a5ffefa393b213f4bc712ccaf85dd6",
    variables={"includePrivate": False},
    fields="seekPreviewsURL",
)
#: In the order in which they are sent; metadata first, for chapters need the length of the VOD.
OPERATIONS = (METADATA, CHAPTERS, PREVIEWS)


def complaint_of(document: object) -> str:
    """What a GQL answer complains of, "" if of nothing. Wording is all there is to tell complaints by."""
    if not isinstance(document, dict):
        return "an answer of unknown shape"
    errors = document.get("errors")
    if errors:
        first = errors[0] if isinstance(errors, list) else errors
        message = first.get("message") if isinstance(first, dict) else None
        return printable(message, 80) if isinstance(message, str) and message else "unnamed error"
    if "error" in document:
        return printable(str(document.get("message") or document["error"]), 80)
    return ""


def outcome_of(document: object) -> Outcome:
    """What an entry is, by its complaint and its data. Data beside a complaint counts only if a video is there."""
    complaint = complaint_of(document).casefold()
    fields = document if isinstance(document, dict) else {}
    data = fields.get("data")
    if not complaint and isinstance(data, dict) and "video" in data:
        return Outcome.ANSWERED
    if "integrity" in complaint or fields.get("status") in (400, 401, 403):
        return Outcome.REFUSED
    if isinstance(data, dict) and isinstance(data.get("video"), dict):
        return Outcome.ANSWERED
    return Outcome.UNKNOWN_HASH if "persistedquerynotfound" in complaint else Outcome.FAILED
