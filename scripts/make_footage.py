"""Build the footage inside the package from a larger collection of recordings.

    python scripts/make_footage.py INDEX.json [--out harvester/sandbox/footage]

INDEX.json lists recordings in the form that harvester.sandbox.footage documents. Two sessions of each chosen game
are cut to 22-24 s and encoded at 720 and 360 lines, 12 pictures a second, closed two-second GOPs. Bits go where
the harvester looks: keyframes are fine (the lowest I quantiser of QUANTISERS that fits the budget), the pictures
between them coarse. Writes the MP4 files, index.json and CREDITS.md (licences from the index), replacing what
was there.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harvester.sandbox.encoding import GOP_S, Encoding
from harvester.sandbox.media import encode

FPS = 12
#: Quantisers tried for keyframes, best first; at 28 they still look like the recording.
QUANTISERS = (22, 24, 26, 28)
#: P pictures are coarser by this (B a little more): nobody looks at them. x264 caps the I to P ratio at 10,
#: which is 20 quantiser steps (qp_I = qp_P - 6 log2(ipratio)).
P_OFFSET = 19.9
#: Bytes a GOP may take on average, by height. Most games need much less; all together make about 12 MB.
GOP_BUDGET_BYTES = {720: 105_000, 360: 32_000}


@dataclass(frozen=True)
class Cut:
    """One session of the package: which recording, from where, how long, on whose channel."""

    file: str
    start_s: float = 0
    seconds: float = 24
    channel: str = ""  # "" = as in the index


CUTS = (
    Cut("supertuxkart/lighthouse.mp4", seconds=22),
    Cut("supertuxkart/zengarden.mp4", seconds=22),
    Cut("teeworlds/ctf2.mp4"),
    Cut("teeworlds/dm6.mp4"),
    Cut("minetest/carpathian.mp4", start_s=4),
    Cut("minetest/v7.mp4", start_s=4, channel="neonfox"),
    Cut("hedgewars/nature_3teams.mp4", start_s=6),
    Cut("hedgewars/snow_4teams.mp4"),
    Cut("freedoom/p1_e1m3.mp4", seconds=22),
    Cut("freedoom/p2_map02.mp4", seconds=22),
    Cut("junk/starting_soon_A.mp4", seconds=8, channel="neonfox"),
    Cut("junk/black.mp4", seconds=4, channel="neonfox"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path, help="index.json of the collection")
    parser.add_argument("--out", type=Path, default=Path("harvester/sandbox/footage"))
    arguments = parser.parse_args()
    sources = {entry["file"]: entry for entry in json.loads(arguments.index.read_text(encoding="utf-8"))}
    shutil.rmtree(arguments.out, ignore_errors=True)
    arguments.out.mkdir(parents=True)
    entries = [_session(cut, sources[cut.file], arguments.index.parent, arguments.out) for cut in CUTS]
    (arguments.out / "index.json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "CREDITS.md").write_text(_credits(entries), encoding="utf-8")
    total = sum(file.stat().st_size for file in arguments.out.iterdir())
    print(f"{total / 1e6:.2f} MB in all")


def _session(cut: Cut, source: dict[str, Any], folder: Path, out: Path) -> dict[str, Any]:
    name = f"{source['slug']}-{source['session']}".replace("_", "-").lower()
    sizes = {
        height: _encoded(folder / cut.file, out / f"{name}-{height}p.mp4", cut, height) for height in (720, 360)
    }
    return {
        "file": f"{name}-720p.mp4",
        "file_360p": f"{name}-360p.mp4",
        "game": source["game"],
        "slug": source["slug"],
        "session": source["session"],
        "channel": cut.channel or source["channel"],
        "seconds": cut.seconds,
        "width": 1280,
        "height": 720,
        "fps": float(FPS),
        "content_spans": [{"start": 0, "end": cut.seconds, "kind": "gameplay" if source["game"] else "junk"}],
        "derived_from": None,
        "bytes": sizes[720],
        "bytes_360p": sizes[360],
        "licence": source["licence"],
    }


def _encoded(source: Path, target: Path, cut: Cut, height: int) -> int:
    budget = GOP_BUDGET_BYTES[height] * cut.seconds / GOP_S
    for quantiser in QUANTISERS:
        rate = f"qp={round(quantiser + P_OFFSET)}:ipratio={2 ** (P_OFFSET / 6):.3f}"
        encoding = Encoding(height * 16 // 9, height, FPS, rate, "medium")
        encode(source, target, encoding, start_s=cut.start_s, seconds=cut.seconds)
        size = target.stat().st_size
        if size <= budget:
            break
    print(f"{target.name}: I quantiser {quantiser}, {size / 1e3:.0f} kB", flush=True)
    return size


def _credits(entries: list[dict[str, Any]]) -> str:
    lines = [
        "# Credits of the footage",
        "",
        "Short recordings of free games, playing by themselves. Cut, scaled and encoded again by",
        "`scripts/make_footage.py`. Licences cover the games' code and artwork, as their Debian packages state",
        "them.",
        "",
        "| files | game | origin | licence |",
        "|---|---|---|---|",
    ]
    for entry in entries:
        stem = entry["file"].removesuffix("-720p.mp4")
        origin = "recorded from the free game" if entry["game"] else "made for this footage"
        licence = str(entry["licence"] or "as this package").replace("|", "/")
        lines.append(f"| `{stem}-*.mp4` | {entry['game'] or '(no game)'} | {origin} | {licence} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
