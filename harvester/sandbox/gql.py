"""GQL as the web player asks it: playback tokens, chapters, previews and clips. Answers as records, no sockets.

Persisted queries are known by hash, so that a client whose hashes have changed fails here by name.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from harvester.sandbox.footage import FootageFile
from harvester.sandbox.helix import iso
from harvester.sandbox.storyboards import storyboard_path
from harvester.sandbox.world import Clip, Video, World

Document = dict[str, Any]

#: Chapters in one answer. Unverified: nobody has shown an answer with more.
CHAPTERS_PAGE = 100
#: How long a playback token is good for, by the world's clock.
TOKEN_LIFE = timedelta(hours=20)
_INLINE_ID = re.compile(r'\b(video|videoPlaybackAccessToken|clip)\s*\(\s*(?:id|slug):\s*(?:"([\w-]+)"|\$(\w+))')


class Signer:
    """Signs token texts with HMAC-SHA1, like Twitch's 40 hex digits; the key derives from the world's seed."""

    def __init__(self, seed: str) -> None:
        self._key = hashlib.sha256(f"sign:{seed}".encode()).digest()

    def sign(self, value: str) -> str:
        """Signature of a token."""
        return hmac.new(self._key, value.encode(), hashlib.sha1).hexdigest()

    def verified(self, value: str, signature: str, now: float) -> Document | None:
        """The token's content if it is ours, unexpired and signed; else None."""
        if not hmac.compare_digest(self.sign(value).encode(), signature.encode()):
            return None
        token = json.loads(value)
        return token if isinstance(token, dict) and token.get("expires", 0) > now else None


@dataclass(frozen=True, slots=True)
class Gql:
    """GQL over a world. ``origin``: scheme, host and port that URLs in answers start with."""

    world: World
    signer: Signer
    origin: str
    any_hash: bool = False

    def answer(self, operation: Document) -> Document:
        """The answer to one GQL operation, persisted or inline."""
        variables = _mapping(operation.get("variables"))
        if "query" in operation:
            return self._inline(str(operation["query"]), variables)
        name = str(operation.get("operationName"))
        known = OPERATIONS.get(name)
        persisted = _mapping(_mapping(operation.get("extensions")).get("persistedQuery"))
        if known is None or not (self.any_hash or persisted.get("sha256Hash") in known[0]):
            return _gql_error("PersistedQueryNotFound", name)
        return {"data": known[1](self, variables)}

    def _inline(self, query: str, variables: Document) -> Document:
        match = _INLINE_ID.search(query)
        if match is None:
            return _gql_error("service error", "")
        wanted = match[2] or str(variables.get(match[3]))
        if match[1] == "videoPlaybackAccessToken":
            return {"data": self.vod_token({"vodID": wanted})}
        if match[1] == "clip":
            return {"data": self.clip_token({"slug": wanted})}
        video = self.world.video(wanted)
        if video is None:
            return {"data": {"video": None}}
        fields = self._video(video)
        fields |= {"moments": self._moments(video), "seekPreviewsURL": self._previews_url(video)}
        asked = {name: value for name, value in fields.items() if re.search(rf"\b{name}\b", query)}
        return {"data": {"video": asked}}

    def vod_token(self, variables: Document) -> Document:
        """PlaybackAccessToken; null when the video is gone, or too fresh."""
        video = self.world.playable(str(variables.get("vodID")))
        if video is None:
            return {"videoPlaybackAccessToken": None}
        content = {
            "authorization": {"forbidden": False, "reason": ""},
            "chansub": {"restricted_bitrates": []},
            "device_id": None,
            "expires": self._expires(),
            "https_required": False,
            "privileged": False,
            "user_id": None,
            "version": 3,
            "vod_id": int(video.id),
        }
        return {"videoPlaybackAccessToken": {**self._signed(content), "__typename": "PlaybackAccessToken"}}

    def clip_token(self, variables: Document) -> Document:
        """VideoAccessToken_Clip; null when the clip is gone."""
        clip = self._clip(variables)
        return {"clip": clip and {"id": clip.id, **self._clip_playback(clip)}}

    def clip_status(self, variables: Document) -> Document:
        """ShareClipRenderStatus: what the share page of a clip shows, its portrait asset included."""
        clip = self._clip(variables)
        if clip is None:
            return {"clip": None}
        game = {"id": clip.game.id, "name": clip.game.name, "displayName": clip.game.name}
        owner = {"id": clip.channel.id, "login": clip.channel.login, "displayName": clip.channel.name}
        return {
            "clip": {
                "id": clip.id,
                "slug": clip.id,
                "title": clip.title,
                "game": game,
                "broadcaster": owner,
                "curator": None,
                "durationSeconds": round(clip.duration_s),
                "videoOffsetSeconds": clip.vod_offset_s,
                "video": {"id": clip.video_id} if clip.video_id else None,
                "createdAt": iso(clip.created_at),
                **self._clip_playback(clip),
                "assets": [asset for portrait in (False, True) if (asset := self._asset(clip, portrait=portrait))],
            }
        }

    def _clip(self, variables: Document) -> Clip | None:
        clip = self.world.clip(str(variables.get("slug")))
        return None if clip is None or clip.condition == "null" else clip

    def _asset(self, clip: Clip, *, portrait: bool) -> Document | None:
        """The files of one composition of a clip, with their sizes; None if it has none."""
        files = [file for file in clip.piece.session.files if (file.height > file.width) == portrait]
        if not files:
            return None
        return {
            "aspectRatio": round(files[0].width / files[0].height, 4),
            "type": "RECOMPOSED" if portrait else "SOURCE",
            "creationState": "CREATED",
            "thumbnailURL": "",
            "portraitMetadata": {"portraitClipLayout": "STACKED"} if portrait else None,
            "videoQualities": [
                {**self._quality(clip, file), "width": file.width, "height": file.height} for file in files
            ],
        }

    def _quality(self, clip: Clip, file: FootageFile) -> Document:
        missing = clip.condition == "no-files" or (
            clip.condition == "part-files" and file.height == clip.heights[0]
        )
        url = "" if missing else f"{self.origin}/cdn/clips/{clip.id}/{file.height}/index.mp4"
        return {"frameRate": round(clip.piece.session.fps), "quality": str(file.height), "sourceURL": url}

    def metadata(self, variables: Document) -> Document:
        """VideoMetadata: title, owner and the single game of a video."""
        video = self.world.video(str(variables.get("videoID")))
        return {"video": video and self._video(video)}

    def chapters(self, variables: Document) -> Document:
        """Chapters; empty for a video of one game, as on Twitch."""
        video = self.world.video(str(variables.get("videoID")))
        return {"video": video and {"id": video.id, "moments": self._moments(video)}}

    def previews(self, variables: Document) -> Document:
        """Seek bar previews: where their list is; null for fresh videos."""
        video = self.world.video(str(variables.get("videoID")))
        return {"video": video and {"id": video.id, "seekPreviewsURL": self._previews_url(video)}}

    def _previews_url(self, video: Video) -> str | None:
        path = storyboard_path(video, self.world.now)
        return path and self.origin + path

    def _expires(self) -> int:
        return int((self.world.now + TOKEN_LIFE).timestamp())

    def _signed(self, content: Document) -> Document:
        value = json.dumps(content, separators=(",", ":"))
        return {"value": value, "signature": self.signer.sign(value)}

    def _clip_playback(self, clip: Clip) -> Document:
        expires = int(self.world.now.timestamp()) - 1 if clip.condition == "expired" else self._expires()
        content = {
            "authorization": {"forbidden": False, "reason": ""},
            "clip_uri": f"{self.origin}/cdn/clips/{clip.id}",
            "device_id": None,
            "expires": expires,
            "user_id": None,
            "version": 2,
        }
        return {"playbackAccessToken": self._signed(content), "videoQualities": self._qualities(clip)}

    def _qualities(self, clip: Clip) -> list[Document]:
        """The files that the player is offered; the portrait asset's only where that is the point."""
        files = clip.piece.session.files
        landscape = [file for file in files if file.width >= file.height]
        if clip.condition == "portrait-listed":
            asset = self._asset(clip, portrait=True) or {"videoQualities": []}
            return [*asset["videoQualities"], *(self._quality(clip, file) for file in landscape)]
        return [self._quality(clip, file) for file in landscape or files]

    def _video(self, video: Video) -> Document:
        game = video.told_game or video.game
        return {
            "id": video.id,
            "title": video.title,
            "owner": {"id": video.channel.id, "displayName": video.channel.name, "login": video.channel.login},
            "game": {"id": game.id, "displayName": game.name, "name": game.name},
            "lengthSeconds": int(video.duration_s),
            "publishedAt": iso(video.created_at),
            "viewCount": video.views,
            "broadcastType": video.type.value.upper(),
            "previewThumbnailURL": "",
        }

    def _moments(self, video: Video) -> Document:
        names = {game.id: game.name for game in self.world.games}
        nodes = [
            {
                "id": f"{video.id}-{number}",
                "type": "GAME_CHANGE",
                "positionMilliseconds": round(chapter.start_s * 1000),
                "durationMilliseconds": round(chapter.length_s * 1000),
                "description": names.get(chapter.game_id or "", ""),
                "details": {
                    "game": chapter.game_id
                    and {"id": chapter.game_id, "displayName": names.get(chapter.game_id, "")},
                    "__typename": "GameChangeMomentDetails",
                },
                "video": {"id": video.id, "lengthSeconds": int(video.duration_s)},
            }
            for number, chapter in enumerate(video.chapters)
        ]
        page: Document = {"edges": [{"node": node} for node in nodes[:CHAPTERS_PAGE]]}
        return page if len(nodes) <= CHAPTERS_PAGE else {**page, "pageInfo": {"hasNextPage": True}}


#: Operation name -> persisted hashes known, and what answers it. Several versions live side by side on Twitch.
OPERATIONS: dict[str, tuple[frozenset[str], Callable[[Gql, Document], Document]]] = {
    "PlaybackAccessToken": (
        frozenset({"ed230aa1e33e07eebb8928504583da78a5173989fadfb1ac94be06a04f3cdbe9"}),
        Gql.vod_token,
    ),
    "VideoAccessToken_Clip": (
        frozenset({"993d9a5131f15a37bd16f32342c44ed1e0b1a9b968c6afdb662d2cddd595f6c5"}),
        Gql.clip_token,
    ),
    "VideoMetadata": (
        frozenset({"45111672eea2e507f8ba44d101a61862f9c56b11dee09a15634cb75cb9b9084d"}),
        Gql.metadata,
    ),
    "VideoPlayer_ChapterSelectButtonVideo": (
        frozenset(
            {
                "71835d5ef425e154bf282453a926d99b328cdc5e32f36d3a209d0f4778b41203",
                "8d2793384aac3773beab5e59bd5d6f585aedb923d292800119e03d40cd0f9b41",
            }
        ),
        Gql.chapters,
    ),
    "VideoPlayer_VODSeekbarPreviewVideo": (
        frozenset({"07e99e4d56c5a7c67117a154777b0baf85a5ffefa393b213f4bc712ccaf85dd6"}),
        Gql.previews,
    ),
    "ShareClipRenderStatus": (
        frozenset(
            {
                "1844261bb449fa51e6167040311da4a7a5f1c34fe71c71a3e0c4f551bc30c698",
                "2db6a3b20eabf510bd3cf465ae2408834b59eb6b8af89ca73ab1486cacecfb63",
            }
        ),
        Gql.clip_status,
    ),
}


def _mapping(value: object) -> Document:
    return value if isinstance(value, dict) else {}


def _gql_error(message: str, operation: str) -> Document:
    extensions = {"durationMilliseconds": 3, "operationName": operation, "requestID": "01SANDBOX"}
    return {"errors": [{"message": message}], "extensions": extensions}
