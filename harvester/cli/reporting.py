"""``harvester report``, and the metrics that a run leaves for a monitoring system."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from harvester.cli import stopped_code
from harvester.cli.options import Terminal, common, loaded, terminal
from harvester.clock import Clock
from harvester.errors import ConfigError, ForeignDataset, HarvesterError, MachineError
from harvester.pipeline.outside import inspect_dataset
from harvester.report.figures import size_of
from harvester.report.metrics import Standing, write_metrics
from harvester.report.page import FRAMES_CHOSEN_FROM, PICTURES_SHOWN, render_page
from harvester.report.summary import RunReport, looked_json
from harvester.report.writing import replace_file
from harvester.store.layout import shown
from harvester.store.survey import survey
from harvester.text import printable


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Dataset directory.")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Write the page into this file."
)
@common
def report(*, config_path: Path | None, as_json: bool, quiet: bool, verbose: bool, out: Path, html: Path) -> int:
    """Write one HTML page about a dataset: its nights, categories, pictures and what was dropped.

    The page loads nothing from anywhere. Nothing is changed; a run may be under way.
    """
    term = terminal(as_json=as_json, quiet=quiet, verbose=verbose)
    config = loaded(config_path, term).config
    clock = Clock(config.run.start)
    with inspect_dataset(out, clock) as opened:
        if opened is None:
            raise ForeignDataset(f"{shown(out)} holds no dataset yet: make one with harvester run")
        most = {"images": FRAMES_CHOSEN_FROM, "pictures": PICTURES_SHOWN, "max_per_vod": config.sample.max_per_vod}
        found = survey(opened.dataset, opened.ledger, clock.now(), **most)
        page = render_page(found, out, clock.now())
    replace_file(html, page, "the report")
    if as_json:
        click.echo(looked_json(0, dataset=str(out), html=str(html), size_bytes=len(page)))
    else:
        term.out.print(f"{shown(html)}: {size_of(len(page))}", markup=False, highlight=False)
    return 0


class Meter:
    """Writes the metrics file of a run once it is over, if one was asked for (``file`` is not empty).

    Raises :class:`ConfigError` where there is no folder for it, or it would lie in the dataset: left alone in a
    new one by a run that fails early, it makes the directory one that is not ours.
    """

    def __init__(self, file: str, out: Path, clock: Clock, term: Terminal) -> None:
        self._file, self._out, self._clock, self._term = file, out, clock, term
        if file and not Path(file).parent.is_dir():
            raise ConfigError(f"there is no folder for the metrics file {printable(file, 400)}: make it first")
        if file and Path(file).resolve().is_relative_to(out.resolve()):
            where = f"the metrics file {printable(file, 400)} lies in the dataset {shown(out)}"
            raise ConfigError(f"{where}: choose a place outside it")

    def write(self, report: RunReport) -> None:
        """What the disk refuses is told and changes nothing about how the run ended: it is over."""
        if self._file:
            try:
                write_metrics(Path(self._file), report, self._standing())
            except MachineError as error:
                self._term.tell(f"error: {error}", "error")

    def _standing(self) -> Standing:
        """A dataset that cannot be read has nothing to tell: the run's own error says so."""
        now = self._clock.now()
        try:
            with inspect_dataset(self._out, self._clock) as opened:
                if opened is None:
                    return Standing(now)
                return Standing(now, opened.ledger.last_success(), opened.ledger.tried_again(now))
        except HarvesterError:
            return Standing(now)


@contextmanager
def metered(meter: Meter) -> Iterator[None]:
    """Metrics also of a run that ends without a report: it was refused, interrupted, or met a bug."""
    try:
        yield
    except BaseException as error:
        meter.write(_ended_early(error))
        raise


def _ended_early(error: BaseException) -> RunReport:
    if isinstance(error, HarvesterError):
        code = error.exit_code
    else:
        code = stopped_code(error) if isinstance(error, KeyboardInterrupt) else 1
    return RunReport("", "interrupted" if code > 128 else "failed", code, "")
