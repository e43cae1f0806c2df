"""The CDN folder of one rendition: its playlist and its files. Blocking (video is read or encoded), no sockets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harvester.sandbox.playback import media_playlist, playlist_name, served_segment, single_file_name
from harvester.sandbox.world import SegmentEntry, Video, World

if TYPE_CHECKING:
    from harvester.sandbox.gql import Signer
    from harvester.sandbox.reels import MediaReels

_INIT = re.compile(r"init-(\d{1,9})\.mp4")


@dataclass(frozen=True, slots=True)
class Shelf:
    """What lies under ``/cdn/<distribution>/<special>/<folder>/``. ``base``: scheme, host and port."""

    world: World
    video: Video
    folder: str
    reels: MediaReels
    signer: Signer
    base: str

    def read(self, name: str) -> bytes | str:
        """The file of that name; text if it is the playlist. Raises LookupError if it is refused or not there."""
        height = self.reels.height_of(self.video, self.folder)
        if height is None:
            raise LookupError(self.folder)
        if name == playlist_name(self.video):
            return self._playlist(height)
        if self.video.delivery.single_file:
            return self._single_file(name, height)
        if match := _INIT.fullmatch(name):
            return self.reels.init(self.video, height, int(match[1]))
        number = served_segment(self.video, name, sound=not height)
        if number >= len(self._aired(height)):
            raise LookupError(name)
        return self.reels.segment(self.video, height, number)

    def allows(self, name: str, signature: str) -> bool:
        """True if the request for a file carries the signature it needs, if it needs one."""
        needed = self.video.delivery.uris == "signed" and name != playlist_name(self.video)
        return not needed or signature == self.signer.sign(self._path(name))

    def _playlist(self, height: int) -> str:
        if self.folder in self.video.delivery.denied:
            raise LookupError(self.folder)
        entries, ended = self._aired(height), self.world.ended(self.video)
        sizes = ((), ()) if not self.video.delivery.single_file else self._sizes(height)
        return media_playlist(self.video, entries, sound=not height, uri=self._uri, sizes=sizes, ended=ended)

    def _aired(self, height: int) -> Sequence[SegmentEntry]:
        """The segments that are there by the world's clock."""
        return self.world.aired(self.video, self.reels.entries(self.video, height))

    def _sizes(self, height: int) -> tuple[list[int], list[int]]:
        inits, segments = self.reels.inits(self.video, height), self.reels.segments(self.video, height)
        return [len(data) for data in inits], [len(data) for data in segments]

    def _single_file(self, name: str, height: int) -> bytes:
        if name != single_file_name(self.video, sound=not height):
            raise LookupError(name)
        return b"".join([*self.reels.inits(self.video, height), *self.reels.segments(self.video, height)])

    def _uri(self, name: str) -> str:
        style = self.video.delivery.uris
        if style == "relative":
            return name
        path = self._path(name)
        return f"{self.base}{path}" + (f"?Signature={self.signer.sign(path)}" if style == "signed" else "")

    def _path(self, name: str) -> str:
        return f"/cdn/{self.video.distribution}/{self.video.special}/{self.folder}/{name}"
