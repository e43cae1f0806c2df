"""Options that several commands share, and what they amount to."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from harvester.cli.logbook import FLAG, FORMATS, Logbook, LogFormat, listen
from harvester.config import Config, Loaded, load
from harvester.errors import UsageError
from harvester.model import SourceKind
from harvester.pipeline.listing import Request

Command = TypeVar("Command", bound=Callable[..., Any])

_SITE = r"(?:https?://)?(?:(?:www|m)\.)?twitch\.tv/"
_REST = r"/?(?:[?#].*)?"
_VOD = re.compile(rf"(?:{_SITE}(?:\w+/)?v(?:ideos?)?/|v)?(\d+){_REST}", re.ASCII)
_CLIP = re.compile(rf"(?:(?:https?://)?clips\.twitch\.tv/|{_SITE}\w+/clip/)?([\w-]{{5,120}}){_REST}", re.ASCII)

#: Longest categories file (characters): some 50,000 names, more than Twitch has with viewers.
CATEGORIES_FILE_CHARS = 1 << 20


@dataclass(frozen=True, slots=True)
class Terminal:
    """How this command talks: ``out`` is stdout for data, ``err`` and ``log`` are stderr for the rest."""

    out: Console
    err: Console
    log: Logbook
    as_json: bool
    quiet: bool
    verbose: bool

    @property
    def draws(self) -> bool:
        """True if somebody looks: bars may be drawn on ``err``."""
        return self.err.is_terminal and self.log.form == "text" and not self.quiet

    def say(self, line: str) -> None:
        """One line of progress, unless ``-q``."""
        if not self.quiet:
            self.tell(line)

    def tell(self, line: str, level: str = "info") -> None:
        """One line, always."""
        if self.err.is_terminal and self.log.form == "text":
            self.err.print(line, markup=False, highlight=False, soft_wrap=True)  # above the bars, if there are any
        else:
            self.log.write(level, line)


def _remember_format(context: click.Context, _: click.Parameter, value: LogFormat) -> None:
    context.meta[FLAG] = value


def common(command: Command) -> Command:
    """``--config``, ``--json``, ``-v`` and ``-q``, which every command takes."""
    for option in (
        click.option("-q", "--quiet", is_flag=True, help="Only errors and the result."),
        click.option("-v", "--verbose", is_flag=True, help="Log what happens, on stderr."),
        click.option(
            FLAG,
            type=click.Choice(FORMATS),
            default="text",
            expose_value=False,
            callback=_remember_format,
            help="Lines on stderr: text (default), or one JSON object a line.",
        ),
        click.option("--json", "as_json", is_flag=True, help="End with one JSON object on stdout."),
        click.option(
            "--config",
            "config_path",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Configuration file (default: ./config.toml if there is one).",
        ),
    ):
        command = option(command)
    return command


def wanted(command: Command) -> Command:
    """What to harvest, and how much: the options that ``run`` and ``plan`` share."""
    for option in (
        click.option(
            "--max-requests", type=click.IntRange(min=0), help="Stop after so many requests (0: no bound)."
        ),
        click.option(
            "--max-frames", type=click.IntRange(min=0), help="Stop after so many new frames (0: no bound)."
        ),
        click.option("--max-bytes", type=click.IntRange(min=0), help="Stop after so many bytes (0: no bound)."),
        click.option("--max-time", type=click.FloatRange(min=0), help="Stop after so many seconds (0: no bound)."),
        click.option(
            "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Dataset directory."
        ),
        click.option("--source-type", type=click.Choice(["vod", "clip"]), help="Only VODs, or only clips."),
        click.option("--until", help="Only sources created before this time (ISO 8601, UTC)."),
        click.option("--since", help="Only sources created at or after this time (ISO 8601, UTC)."),
        click.option("--source", help="Harvest one VOD or clip, by URL or id, as --category or the one it has."),
        click.option(
            "--frames", type=click.IntRange(min=1), help="Kept frames per category in all; none = what is new."
        ),
        click.option("--top", type=click.IntRange(0, 1000), help="Also the N categories most watched now."),
        click.option(
            "--categories-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="File with one category a line; # begins a comment.",
        ),
        click.option("--category", "categories", multiple=True, help="Name or id of a category; may be repeated."),
    ):
        command = option(command)
    return command


def terminal(*, as_json: bool, quiet: bool, verbose: bool) -> Terminal:
    """The consoles of this process, and its log, in the form that the command line asked for."""
    context = click.get_current_context(silent=True)
    log = Logbook(context.meta.get(FLAG, "text") if context else "text")
    listen(log, logging.DEBUG if verbose else logging.WARNING)
    out = Console(file=sys.stdout, soft_wrap=True)
    return Terminal(out, Console(file=sys.stderr), log, as_json, quiet, verbose)


def loaded(path: Path | None, term: Terminal, **flags: Any) -> Loaded:
    """The configuration; ``flags`` are given as section__key and count only if they were set."""
    values = {
        (name.partition("__")[0], name.partition("__")[2]): value
        for name, value in flags.items()
        if value is not None and value != ()
    }
    result = load(path, environ=os.environ, flags=values)
    term.say(f"configuration: {result.path or 'built-in defaults'}")
    return result


@dataclass(frozen=True, slots=True)
class Asked:
    """What ``run`` and ``plan`` were asked for."""

    term: Terminal
    config: Config
    request: Request
    out: Path


def asked(options: Mapping[str, Any]) -> Asked:
    """The options of ``wanted`` and ``common`` as one record. Raises UsageError or ConfigError."""
    term = terminal(as_json=options["as_json"], quiet=options["quiet"], verbose=options["verbose"])
    configured = loaded(options["config_path"], term, **settings_of(options))
    names = (options["categories"], options["categories_file"], options["frames"], options["source"])
    return Asked(term, configured.config, request_of(configured, *names), options["out"])


def settings_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Command line flags as settings of the configuration; None = not given."""
    kind = flags["source_type"]
    return {
        "discover__top": flags["top"],
        "discover__since": flags["since"],
        "discover__until": flags["until"],
        "discover__source_types": None if kind is None else (kind,),
        "run__max_time_s": flags["max_time"],
        "run__max_bytes": flags["max_bytes"],
        "run__max_frames": flags["max_frames"],
        "run__max_requests": flags["max_requests"],
        "report__metrics_file": flags.get("metrics_file"),
    }


def request_of(
    config: Loaded, categories: tuple[str, ...], file: Path | None, frames: int | None, source: str | None
) -> Request:
    """What ``run`` or ``plan`` was asked for. Raises UsageError."""
    discover = config.config.discover
    named = categories + (_from_file(file) if file else ()) or discover.categories
    single = source_of(source) if source else None
    if single and single[0] == "vod" and not named and discover.details == "off":
        raise UsageError(
            "--source needs --category: the game whose label its frames get, which nothing tells of a VOD while"
            " [discover] details is off"
        )
    if not named and not discover.top and not single:
        raise UsageError(
            "nothing to harvest: give --category, --categories-file or --top, or set [discover] categories"
        )
    return Request(named, 0 if single else discover.top, frames, single)


def _from_file(file: Path) -> tuple[str, ...]:
    """Categories of a file, one a line; ``#`` begins a comment at the start of a line or after a space (C# is a
    name). Raises UsageError."""
    try:
        with file.open(encoding="utf-8-sig") as lines:
            text = lines.read(CATEGORIES_FILE_CHARS + 1)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read the categories file {file}: {why}") from None
    if len(text) > CATEGORIES_FILE_CHARS or "\0" in text:
        raise UsageError(f"{file} is no categories file: give one name or id a line")
    bare = (re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip() for line in text.splitlines())
    return tuple(filter(None, bare))


def source_of(text: str) -> tuple[SourceKind, str]:
    """Kind and id of a source given as a URL of its page, a VOD's number or a clip's slug. Raises UsageError."""
    if vod := _VOD.fullmatch(text):
        return "vod", vod[1]
    if clip := _CLIP.fullmatch(text):
        return "clip", clip[1]
    raise UsageError(f"{text!r} is no VOD or clip: give the URL of its page, a VOD's number or a clip's slug")
