"""What is taken for granted of Helix's listings and of the details that GQL tells."""

from __future__ import annotations

from collections import Counter

from harvester.errors import HarvesterError
from harvester.model import VideoDetails, Vod
from harvester.twitch.operations import Outcome, complaint_of, outcome_of
from live.finding import Answer, CannotTell, Finding
from live.scene import Scene

#: Helix's largest page: more than this shows that a second page came.
PAGE = 100
#: VODs whose listed category is compared.
COMPARED = 5


async def cursor_pages(scene: Scene) -> Finding:
    """``/videos?game_id`` goes on after its first page."""
    found, listing = len(scene.vods.sources), scene.vods
    evidence = f"{found} VODs found, {listing.seen} listed, stopped: {listing.stopped}"
    if found < PAGE and listing.stopped == "end":
        raise CannotTell(f"{evidence}; a category with more than {PAGE} VODs would tell")
    return Finding.of(found > PAGE, evidence)


async def listed_category(scene: Scene) -> Finding:
    """A VOD listed under a category shows that category."""
    wanted, lines, relations, others = scene.category.id, [], Counter[str](), 0
    for vod in await _compared(scene):
        try:
            details = await scene.details(vod)
        except (CannotTell, HarvesterError) as reason:
            relation, told = "not told", str(reason)
        else:
            relation, told = _relation(details, wanted), _told(details)
            others += any(chapter.category and chapter.category.id != wanted for chapter in details.chapters or ())
        relations[relation] += 1
        lines.append(f"VOD {vod.id}  {relation:18}  {told}")
    compared = relations.total() - relations["not told"]
    if not compared:
        raise CannotTell("GQL told of none of the VODs" if lines else "the category lists no VOD")
    counted = ", ".join(f"{count} {relation}" for relation, count in relations.most_common())
    evidence = f"of {len(lines)} VODs: {counted}; {others} with chapters of other categories"
    return Finding.of(not relations["neither"], evidence, tuple(lines))


async def _compared(scene: Scene) -> list[Vod]:
    """Some listed VODs, evenly over the list; with that which other assumptions are looked at on, if it opens."""
    vods = scene.settled_vods() or list(scene.vods.sources)
    try:
        chosen, _ = await scene.specimen()
    except HarvesterError:
        return _spread(vods, COMPARED)
    others = [vod for vod in vods if vod.id != chosen.id]
    return [chosen, *_spread(others, COMPARED - 1)]


def _spread(vods: list[Vod], count: int) -> list[Vod]:
    step = max(1, len(vods) // count)
    return vods[::step][:count]


def _relation(details: VideoDetails, wanted: str) -> str:
    if details.category and details.category.id == wanted:
        return "equal"
    if not details.chapters:
        return "neither" if details.category else "no chapters"
    among = any(chapter.category and chapter.category.id == wanted for chapter in details.chapters)
    return "among the chapters" if among else "neither"


def _told(details: VideoDetails) -> str:
    game = details.category.name if details.category else "none"
    if details.chapters is None:
        return f"game {game}, chapters not told"
    return f"game {game}, {len(details.chapters)} chapters" if details.chapters else f"game {game}, no chapters"


async def known_hashes(scene: Scene) -> Finding:
    """The hashes of GQL's persisted queries that are asked are known."""
    outcomes = {name: _known(answer) for name, answer in (await scene.told()).items()}
    lines = tuple(f"{name:38}  {outcome}" for name, outcome in outcomes.items())
    unknown = [name for name, outcome in outcomes.items() if outcome == "not known"]
    if unknown:
        return Finding(Answer.FAILS, f"not known: {', '.join(unknown)}", lines)
    if any(outcome != "known" for outcome in outcomes.values()):
        return Finding(Answer.UNTOLD, "some were answered with another complaint", lines)
    return Finding(Answer.HOLDS, f"all {len(outcomes)} are known", lines)


def _known(answer: object) -> str:
    if outcome_of(answer) is Outcome.UNKNOWN_HASH:
        return "not known"
    return complaint_of(answer) or "known"
