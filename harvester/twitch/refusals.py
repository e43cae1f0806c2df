"""What a refusal of Helix or of its token service means. Branches on statuses only: wording is no interface."""

from __future__ import annotations

from harvester.errors import CredentialsRefused, HarvesterError, SourceError, TryAgainLater, UnknownCategory
from harvester.model import Category, SourceKind
from harvester.text import printable
from harvester.twitch.wire import Answer


class NothingThere(UnknownCategory):
    """404: the category, or every id asked for, is unknown."""


class BadQuestion(TryAgainLater):
    """400: a parameter is refused; also met by bursts of good questions, so it may pass."""


def refusal(answer: Answer) -> HarvesterError:
    """The error for a Helix answer that is no 200 and that no renewed token or retry has mended."""
    said = f" ({answer.message})" if answer.message else ""
    if answer.status == 401:
        return CredentialsRefused(
            f"Twitch refuses a token that it gave us just now{said}: check that TWITCH_CLIENT_ID and "
            "TWITCH_CLIENT_SECRET belong to the same, still existing application"
        )
    if answer.status == 404:
        return NothingThere(f"Twitch does not know what was asked for{said}")
    if answer.status == 400:
        return BadQuestion(f"Twitch refuses a question as malformed{said}: try again later", reason="bad-request")
    return TryAgainLater(
        f"Twitch REFUSES this application's questions (status {answer.status}){said}: it may be suspended or "
        "blocked; look at https://dev.twitch.tv/console before trying again",
        reason="refused",
    )


def refused_credentials(answer: Answer) -> CredentialsRefused:
    """The error for credentials that the token service does not take."""
    which = {
        400: "the client id (TWITCH_CLIENT_ID)",
        403: "the client secret (TWITCH_CLIENT_SECRET)",
    }.get(answer.status, "the credentials (TWITCH_CLIENT_ID, TWITCH_CLIENT_SECRET)")
    return CredentialsRefused(
        f"Twitch does not accept {which}: compare with your application on https://dev.twitch.tv/console/apps"
    )


def unknown_source(category: Category, kind: SourceKind, source_id: str, *, listed: bool) -> SourceError:
    """The error for one source asked for by id: not there, or ``listed`` and yet of no use for ``category``."""
    which = f"{'VOD' if kind == 'vod' else 'clip'} {printable(source_id)}"
    if not listed:
        return SourceError(
            f"Twitch does not know {which}: deleted, private or misspelt", reason="gone", retryable=True
        )
    return SourceError(
        f"{which} cannot be labelled as {printable(category.name)!r}: it is of another category, or unreadable",
        reason="other-category",
    )
