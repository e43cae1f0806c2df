"""Playback answers: signed tokens, GQL operations, multivariant and media playlists. Text only, no sockets.

GQL persisted queries are known by hash, so that a client whose hashes have changed fails here by name.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from harvester.sandbox.helix import iso
from harvester.sandbox.world import (
    AUDIO_BANDWIDTH,
    AUDIO_FOLDER,
    Clip,
    RenditionInfo,
    SegmentEntry,
    Video,
    World,
)

Document = dict[str, Any]

#: How long a playback token is good for, by the world's clock.
TOKEN_LIFE = timedelta(hours=20)
_INLINE_ID = re.compile(r'\b(?:video|videoPlaybackAccessToken)\s*\(\s*id:\s*(?:"(\d+)"|\$(\w+))')


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
class Playback:
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
        wanted = {"vodID": match[1] or str(variables.get(match[2]))}
        if "videoPlaybackAccessToken" in match[0]:
            return {"data": self.vod_token(wanted)}
        video = self.world.video(wanted["vodID"])
        return {"data": {"video": video and {**self._video(video), "moments": self._moments(video)}}}

    def vod_token(self, variables: Document) -> Document:
        """PlaybackAccessToken; null when the video is gone."""
        video = self.world.video(str(variables.get("vodID")))
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
        clip = self.world.clip(str(variables.get("slug")))
        return {"clip": clip and {"id": clip.id, **self._clip_playback(clip)}}

    def clip_status(self, variables: Document) -> Document:
        """ShareClipRenderStatus: what the share page of a clip shows."""
        clip = self.world.clip(str(variables.get("slug")))
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
                "assets": [],
            }
        }

    def metadata(self, variables: Document) -> Document:
        """VideoMetadata: title, owner and the single game of a video."""
        video = self.world.video(str(variables.get("videoID")))
        return {"video": video and self._video(video)}

    def chapters(self, variables: Document) -> Document:
        """Chapters; empty for a video of one game, as on Twitch."""
        video = self.world.video(str(variables.get("videoID")))
        return {"video": video and {"id": video.id, "moments": self._moments(video)}}

    def previews(self, variables: Document) -> Document:
        """Seek bar previews: none are made here, as for fresh videos."""
        video = self.world.video(str(variables.get("videoID")))
        return {"video": video and {"id": video.id, "seekPreviewsURL": None}}

    def _expires(self) -> int:
        return int((self.world.now + TOKEN_LIFE).timestamp())

    def _signed(self, content: Document) -> Document:
        value = json.dumps(content, separators=(",", ":"))
        return {"value": value, "signature": self.signer.sign(value)}

    def _clip_playback(self, clip: Clip) -> Document:
        base = f"{self.origin}/cdn/clips/{clip.id}"
        fps = round(clip.piece.session.fps)
        content = {
            "authorization": {"forbidden": False, "reason": ""},
            "clip_uri": base,
            "device_id": None,
            "expires": self._expires(),
            "user_id": None,
            "version": 2,
        }
        qualities = [
            {"frameRate": fps, "quality": str(height), "sourceURL": f"{base}/{height}/index.mp4"}
            for height in clip.heights
        ]
        return {"playbackAccessToken": self._signed(content), "videoQualities": qualities}

    def _video(self, video: Video) -> Document:
        return {
            "id": video.id,
            "title": video.title,
            "owner": {"id": video.channel.id, "displayName": video.channel.name, "login": video.channel.login},
            "game": {"id": video.game.id, "displayName": video.game.name, "name": video.game.name},
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
                "description": names.get(chapter.game_id, ""),
                "details": {"game": {"id": chapter.game_id, "displayName": names.get(chapter.game_id, "")}},
                "video": {"id": video.id, "lengthSeconds": int(video.duration_s)},
            }
            for number, chapter in enumerate(video.chapters)
        ]
        return {"edges": [{"node": node} for node in nodes]}


#: Operation name -> persisted hashes known, and what answers it. Several versions live side by side on Twitch.
OPERATIONS: dict[str, tuple[frozenset[str], Callable[[Playback, Document], Document]]] = {
    "PlaybackAccessToken": (
        frozenset({"ed230aa1e33e07eebb8928504583da78a5173989fadfb1ac94be06a04f3cdbe9"}),
        Playback.vod_token,
    ),
    "VideoAccessToken_Clip": (
        frozenset({"993d9a5131f15a37bd16f32342c44ed1e0b1a9b968c6afdb662d2cddd595f6c5"}),
        Playback.clip_token,
    ),
    "VideoMetadata": (
        frozenset({"45111672eea2e507f8ba44d101a61862f9c56b11dee09a15634cb75cb9b9084d"}),
        Playback.metadata,
    ),
    "VideoPlayer_ChapterSelectButtonVideo": (
        frozenset(
            {
                "71835d5ef425e154bf282453a926d99b328cdc5e32f36d3a209d0f4778b41203",
                "8d2793384aac3773beab5e59bd5d6f585aedb923d292800119e03d40cd0f9b41",
            }
        ),
        Playback.chapters,
    ),
    "VideoPlayer_VODSeekbarPreviewVideo": (
        frozenset({"07e99e4d56c5a7c67117a154777b0baf85a5ffefa393b213f4bc712ccaf85dd6"}),
        Playback.previews,
    ),
    "ShareClipRenderStatus": (
        frozenset(
            {
                "1844261bb449fa51e6167040311da4a7a5f1c34fe71c71a3e0c4f551bc30c698",
                "2db6a3b20eabf510bd3cf465ae2408834b59eb6b8af89ca73ab1486cacecfb63",
            }
        ),
        Playback.clip_status,
    ),
}


def _mapping(value: object) -> Document:
    return value if isinstance(value, dict) else {}


def _gql_error(message: str, operation: str) -> Document:
    extensions = {"durationMilliseconds": 3, "operationName": operation, "requestID": "01SANDBOX"}
    return {"errors": [{"message": message}], "extensions": extensions}


def playlist_name(video: Video) -> str:
    """File name of a video's media playlists."""
    return f"highlight-{video.id}.m3u8" if video.type == "highlight" else "index-dvr.m3u8"


def multivariant(video: Video, renditions: Sequence[RenditionInfo], origin: str, *, version: int) -> str:
    """The multivariant playlist, in the newer text (``version`` 2) or the older with EXT-X-MEDIA (1)."""
    base = f"{origin}/cdn/{video.distribution}/{video.special}"
    lines = ["#EXTM3U", '#EXT-X-TWITCH-INFO:ORIGIN="s3",B="false",REGION="EU",CLUSTER="cloudfront_vod"']
    for info in renditions:
        attributes = (
            f'BANDWIDTH={info.bandwidth},CODECS="{info.codecs}",RESOLUTION={info.width}x{info.height},'
            f"FRAME-RATE={info.fps:.3f}"
        )
        lines += _variant(info.folder, info.name, attributes, version, source=info is renditions[0])
        lines.append(f"{base}/{info.folder}/{playlist_name(video)}")
    lines += _variant(AUDIO_FOLDER, AUDIO_FOLDER, f'BANDWIDTH={AUDIO_BANDWIDTH},CODECS="mp4a.40.2"', version)
    lines.append(f"{base}/{AUDIO_FOLDER}/{playlist_name(video)}")
    return "\n".join(lines) + "\n"


def _variant(folder: str, name: str, attributes: str, version: int, *, source: bool = False) -> list[str]:
    if version == 1:
        media = f'#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="{folder}",NAME="{name}",AUTOSELECT=NO,DEFAULT=NO'
        return [media, f'#EXT-X-STREAM-INF:{attributes},VIDEO="{folder}"']
    label = "Audio Only" if folder == AUDIO_FOLDER else name
    groups = 'IVS-GROUPS="landscape"' if folder != AUDIO_FOLDER else 'IVS-GROUPS="audio"'
    mark = ',IVS-VARIANT-SOURCE="source"' if source else ""
    return [f'#EXT-X-STREAM-INF:{attributes},STABLE-VARIANT-ID="{name}",IVS-NAME="{label}",{groups}{mark}']


def media_playlist(video: Video, entries: Sequence[SegmentEntry], *, sound: bool) -> str:
    """The media playlist of one rendition. ``sound``: the audio-only one, MPEG-TS always."""
    fragmented = video.container == "fmp4" and not sound
    total_s = sum(entry.duration_s for entry in entries)
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{6 if fragmented else 3}",
        f"#EXT-X-TARGETDURATION:{max((round(entry.duration_s) for entry in entries), default=10) or 1}",
        f"#ID3-EQUIV-TDTG:{video.created_at:%Y-%m-%dT%H:%M:%S}",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-TWITCH-ELAPSED-SECS:0.000",
        f"#EXT-X-TWITCH-TOTAL-SECS:{total_s:.3f}",
    ]
    last_init = None
    for number, entry in enumerate(entries):
        if entry.discontinuity:
            lines.append("#EXT-X-DISCONTINUITY")
        if fragmented and entry.init != last_init:
            lines.append(f'#EXT-X-MAP:URI="init-{entry.init}.mp4"')
            last_init = entry.init
        lines += [f"#EXTINF:{entry.duration_s:.3f},", f"{number}.{'mp4' if fragmented else 'ts'}"]
    return "\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n"
