"""Clips that differ from plain ones in each way in which real clips are known to: sizes, portrait, dead, refused.

Each case is a clip of a category of its own, so that what a client makes of it can be told apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from harvester.sandbox.footage import FootageFile, Session
from harvester.sandbox.world import Clip, ClipCondition, Game, Look, Piece, World

#: Sizes in pixels: the three qualities of an ordinary clip, one small file, and a facecam stacked over the game.
ORDINARY = ((1920, 1080), (1280, 720), (854, 480))
SMALL = ((320, 180),)
TWO = ((640, 360), (320, 180))
PORTRAIT = ((180, 320),)

#: Ids of the cases' categories count from here.
FIRST_GAME_ID = 900_000
#: Footage shown by each (s).
SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class ClipCase:
    """One clip. ``outcome``: what a client should make of it, "kept" or the reason why there is no frame."""

    name: str
    slug: str
    meaning: str
    sizes: tuple[tuple[int, int], ...] = SMALL
    condition: ClipCondition = "fine"
    outcome: str = "kept"

    @property
    def game_name(self) -> str:
        """Name of its category."""
        return f"Clip case {self.name}"


CASES = (
    ClipCase("qualities", "SandboxClipOfThreeSizes-aB3", "files of 1080, 720 and 480 lines", ORDINARY),
    # About half of recent clips have one; the player's own list of files leaves it out.
    ClipCase(
        "portrait-asset",
        "SandboxClipWithPortraitAsset-aB3",
        "a portrait asset that the list leaves out",
        SMALL + PORTRAIT,
    ),
    ClipCase(
        "portrait-listed",
        "SandboxClipListingPortrait-aB3",
        "a portrait file is listed too",
        SMALL + PORTRAIT,
        "portrait-listed",
    ),
    ClipCase(
        "portrait-only",
        "SandboxClipAllPortrait-aB3",
        "portrait files alone",
        PORTRAIT,
        "portrait-listed",
        "portrait",
    ),
    # Landscape by all that is told of it: only the file says otherwise.
    ClipCase(
        "portrait-hidden",
        "SandboxClipHiddenPortrait-aB3",
        "portrait, which only the file tells",
        PORTRAIT,
        outcome="portrait",
    ),
    # Its metadata look healthy; the object answers 403 when signed, 404 when not.
    ClipCase("dead", "SandboxClipDeadObject-aB3", "the file answers 403", TWO, "dead", "gone"),
    ClipCase("null", "SandboxClipNullAnswer-aB3", "GQL answers null", SMALL, "null", "gone"),
    ClipCase("no-files", "SandboxClipNoFiles-aB3", "empty source URLs", SMALL, "no-files", "broken"),
    ClipCase("part-files", "SandboxClipPartFiles-aB3", "the tallest file's URL is empty", TWO, "part-files"),
    ClipCase(
        "expired", "SandboxClipExpired-aB3", "signatures expire before they are used", TWO, "expired", "broken"
    ),
    # Slugs are case-sensitive: these are two clips.
    ClipCase("upper", "SandboxClipTwin-aB3", "its slug differs from that of lower in case alone", SMALL),
    ClipCase("lower", "sandboxclipTwin-ab3", "another clip than upper", SMALL),
)


def with_clip_cases(world: World) -> World:
    """``world`` and the clips of :data:`CASES`, each with a category; all of the first video's footage."""
    games = [Game(str(FIRST_GAME_ID + number), case.game_name, case.name) for number, case in enumerate(CASES)]
    clips = [
        _clip(case, game, number, world) for number, (case, game) in enumerate(zip(CASES, games, strict=True))
    ]
    return replace(world, games=(*world.games, *games), clips=(*world.clips, *clips))


def _clip(case: ClipCase, game: Game, number: int, world: World) -> Clip:
    video = world.videos[0]
    shown = video.pieces[-1]
    # A crop of its own, so that no two cases show the same picture.
    look = Look(left=number / 100, top=number / 100, scale=0.8, mirror=number % 2 == 1, tint=(0, 0))
    piece = Piece(_resized(shown.session, case.sizes), shown.number, look)
    return Clip(
        id=case.slug,
        channel=video.channel,
        game=game,
        piece=piece,
        start_s=0.0,
        duration_s=min(SECONDS, shown.session.seconds),
        title=case.name,
        created_at=world.now - timedelta(hours=5, minutes=number),
        language="en",
        views=100 + number,
        creator=video.channel,
        condition=case.condition,
    )


def _resized(session: Session, sizes: tuple[tuple[int, int], ...]) -> Session:
    """The session in those sizes, to be encoded from its smallest file."""
    source = min(session.files, key=lambda file: file.height)
    files = tuple(FootageFile(source.path, width, height, 0) for width, height in sizes)
    return replace(session, seconds=min(SECONDS, session.seconds), files=files)
