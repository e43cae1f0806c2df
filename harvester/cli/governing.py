"""``harvester forget``, and the card and contact sheet that have to follow whatever leaves a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from harvester.cli.options import common, loaded, source_of, terminal
from harvester.clock import Clock
from harvester.config import Config
from harvester.errors import UsageError
from harvester.pipeline.outside import OpenDataset, look_at_dataset, open_dataset
from harvester.report.contact import FRAMES_PER_CATEGORY, contact_sheet
from harvester.report.summary import looked_json
from harvester.store.card import write_card
from harvester.store.forgetting import Covered, carry_out, covered
from harvester.store.layout import STATE
from harvester.store.tombstones import Tombstone
from harvester.version import __version__

CONTACT_SHEET = "contact-sheet.jpg"


@click.command()
@click.option("--broadcaster", "broadcasters", multiple=True, metavar="ID", help="All of a broadcaster.")
@click.option("--source", "sources", multiple=True, metavar="URL-or-ID", help="One VOD or clip.")
@click.option("--category", "categories", multiple=True, metavar="ID", help="All of a category.")
@click.option("--dry-run", is_flag=True, help="Only say what would go; changes nothing.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Dataset directory.")
@common
def forget(*, config_path: Path | None, as_json: bool, quiet: bool, verbose: bool, **options: Any) -> int:
    """Take out of a dataset, for ever, what is of a broadcaster, a source or a category.

    Images, metadata, decisions, measurements and what is made of them go; an entry with the id alone stays in
    tombstones.json, so that no later run brings any of it back. Can be repeated; a killed one is ended by the next
    command that opens the dataset.
    """
    term = terminal(as_json=as_json, quiet=quiet, verbose=verbose)
    config = loaded(config_path, term).config
    stones = _stones(options["broadcasters"], options["sources"], options["categories"])
    out, dry_run = options["out"], options["dry_run"]
    gone = _would_go(out, config, stones) if dry_run else _forgotten(out, config, stones)
    if as_json:
        click.echo(looked_json(0, dataset=str(out), dry_run=dry_run, forgotten=[one.as_json() for one in gone]))
    else:
        for one in gone:
            term.out.print(one.line(dry_run=dry_run), markup=False, highlight=False)
    return 0


@dataclass(frozen=True, slots=True)
class _Gone:
    """What a tombstone covered; ``before``: it stood there already."""

    stone: Tombstone
    what: Covered
    before: bool

    @property
    def name(self) -> str:
        """As people write it."""
        told = [f"{self.stone.source_type} {self.stone.source_id}"] if self.stone.source_id else []
        told += [f"broadcaster {self.stone.broadcaster_id}"] if self.stone.broadcaster_id else []
        return ", ".join(told or [f"category {self.stone.category_id}"])

    def line(self, *, dry_run: bool) -> str:
        images, erased = self.what.images.total(), self.what.erased
        if not images and not erased:
            kept_out = "it was forgotten before" if self.before else "it is kept out from now on"
            return f"{self.name}: nothing of it is here; {'' if dry_run and not self.before else kept_out}".rstrip(
                "; "
            )
        verb = "would forget" if dry_run else "forgot"
        return f"{verb} {self.name}: {images} images, {erased.decisions} decisions, {erased.sources} sources"

    def as_json(self) -> dict[str, Any]:
        names = ("source_type", "source_id", "broadcaster_id", "category_id")
        ids = {name: value for name, value in zip(names, self.stone.key, strict=True) if value is not None}
        erased = self.what.erased
        counts = {"images": self.what.images.total(), "decisions": erased.decisions, "sources": erased.sources}
        return {**ids, **counts, "splits": dict(self.what.images), "before": self.before}


def _stones(broadcasters: Sequence[str], sources: Sequence[str], categories: Sequence[str]) -> list[Tombstone]:
    """What is to be forgotten, each once. Raises UsageError."""
    stones = [Tombstone(broadcaster_id=_id(text, "broadcaster")) for text in broadcasters]
    for text in sources:
        kind, source_id = source_of(text)
        stones.append(Tombstone(source_type=kind, source_id=source_id))
    stones += [Tombstone(category_id=_id(text, "category")) for text in categories]
    if not stones:
        raise UsageError("nothing to forget: give --broadcaster ID, --source ID or --category ID")
    return list(dict.fromkeys(stones))


def _id(text: str, what: str) -> str:
    bare = text.removeprefix("id:")
    if not (bare.isascii() and bare.isdigit()):
        where = "the metadata's column broadcaster_id has it" if what == "broadcaster" else "status shows it"
        raise UsageError(f"--{what} {text!r} is no id: names change hands, so give the number; {where}")
    return bare


def _would_go(out: Path, config: Config, stones: Sequence[Tombstone]) -> list[_Gone]:
    with look_at_dataset(out, Clock(config.run.start)) as opened:
        return list(_looked_at(opened, stones))


def _forgotten(out: Path, config: Config, stones: Sequence[Tombstone]) -> list[_Gone]:
    """The tombstones come first: from then on, who opens the dataset next ends what a kill leaves."""
    clock = Clock(config.run.start)
    with open_dataset(out, clock, create=False) as opened:
        gone = list(_looked_at(opened, stones))
        for stone in stones:
            opened.dataset.tombstones = opened.dataset.tombstones.add(stone)
        carry_out(opened.dataset, opened.ledger, clock.now())
        pictured(opened, out, config)
    return gone


def _looked_at(opened: OpenDataset, stones: Sequence[Tombstone]) -> Iterator[_Gone]:
    known = set(opened.dataset.tombstones)
    for stone in stones:
        yield _Gone(stone, covered(opened.dataset, opened.ledger, [stone]), stone in known)


def pictured(opened: OpenDataset, out: Path, config: Config) -> Path | None:
    """Bring card and contact sheet up to date; the sheet's path, None if the dataset has no image."""
    sheet = _sheet(opened, out)
    write_card(out, opened.dataset.card_facts(__version__, config.rights.basis))
    return sheet


def _sheet(opened: OpenDataset, out: Path) -> Path | None:
    sheet = out / STATE / CONTACT_SHEET
    images = opened.dataset.samples(FRAMES_PER_CATEGORY)
    if not images:
        sheet.unlink(missing_ok=True)
        return None
    contact_sheet([(opened.dataset.classes[label_id].name, images[label_id]) for label_id in images], sheet)
    return sheet
