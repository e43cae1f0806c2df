"""Everything that can go wrong, as a small tree.

Each error says *why* in a short slug (``reason``, stored in the ledger), whether the same thing may work
later (``retryable``) and how a command that dies of it exits (``exit_code``)::

    HarvesterError
    ├── UsageError            2  the command or the configuration is wrong
    │   ├── ConfigError          a key, a value or a secret of the configuration
    │   ├── UnknownCategory      no category of that name or id
    │   └── ForeignDataset       the directory is not ours, or of a newer version
    ├── CredentialsRefused    3  Twitch does not accept the client id or secret
    ├── TryAgainLater         5  network, rate limit, Twitch down
    ├── MachineError          6  disk full, no permission, a forced GPU that is not there
    ├── LockHeld             75  another run works on the directory
    └── TargetError              one source or target fails; the run goes on
        ├── SourceError          the source cannot be opened: sub-only, gone, not-ready, broken ...
        ├── FetchError           bytes did not come: status, time-out, refused host
        └── MediaError           the bytes are no picture: truncated, corrupt, unsupported
            └── NeedMoreData     a head ends too early; says how many bytes would do
"""

from __future__ import annotations

import re
from typing import ClassVar

#: Reason of a source that did not open because Twitch refuses the program, whatever it asks for: the source has
#: done no wrong, and is not charged with one of its tries.
PROGRAM_REFUSED = "refused"
#: Reasons of failures for which the network, a rate limit or a server that is down is to blame, not the source.
_OUTAGES = frozenset(
    {
        *(PROGRAM_REFUSED, "unavailable", "host-down", "timeout", "connection", "proxy"),
        *("short-body", "wrong-range", "foreign-body"),
    }
)
_OUTAGE_STATUS = re.compile(r"http-(408|425|429|5\d\d)")


def is_outage(reason: str) -> bool:
    """Whether a failure for that reason is an outage's (exit code 5), not that of one source or target (4)."""
    return reason in _OUTAGES or _OUTAGE_STATUS.fullmatch(reason) is not None


class HarvesterError(Exception):
    """Base of all errors of this package. ``str(error)`` is one printable line: what, why, what to do."""

    exit_code: ClassVar[int] = 1
    default_reason: ClassVar[str] = "error"

    def __init__(self, message: str, *, reason: str | None = None, retryable: bool = False) -> None:
        super().__init__(message)
        self.reason = reason or self.default_reason
        self.retryable = retryable


class UsageError(HarvesterError):
    """The command cannot be obeyed as it was given."""

    exit_code = 2
    default_reason = "usage"


class ConfigError(UsageError):
    """A key, value or secret of the configuration is missing or bad; the message names it and its place."""

    default_reason = "config"


#: Reason of an UnknownCategory that is one of several of that name.
AMBIGUOUS = "ambiguous-category"


class UnknownCategory(UsageError):
    """No category of that name or id, or several of that name; the message lists near matches or ids."""

    default_reason = "unknown-category"


class ForeignDataset(UsageError):
    """The output directory is not a dataset of ours, or was written by a newer version."""

    default_reason = "foreign-dataset"


class CredentialsRefused(HarvesterError):
    """The client id or secret is not accepted."""

    exit_code = 3
    default_reason = "credentials-refused"


class TryAgainLater(HarvesterError):
    """An outside service cannot serve us now: network, rate limit, outage."""

    exit_code = 5
    default_reason = "unavailable"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message, reason=reason, retryable=True)


class MachineError(HarvesterError):
    """This machine lacks something: disk space, permission, a GPU that was forced."""

    exit_code = 6
    default_reason = "machine"


class LockHeld(HarvesterError):
    """Another run works on the same directory."""

    exit_code = 75
    default_reason = "locked"


class TargetError(HarvesterError):
    """One source or target failed. It becomes an outcome in the ledger; the run goes on."""

    exit_code = 4
    default_reason = "failed"


class SourceError(TargetError):
    """A VOD or clip cannot be opened. Reasons: sub-only, gone, not-ready, broken, no-video, region,
    refused."""

    default_reason = "broken"


class FetchError(TargetError):
    """Bytes did not arrive. ``status`` is the last HTTP status, None when there was no answer."""

    default_reason = "fetch"

    def __init__(
        self, message: str, *, reason: str | None = None, retryable: bool = True, status: int | None = None
    ) -> None:
        super().__init__(message, reason=reason, retryable=retryable)
        self.status = status


class MediaError(TargetError):
    """Bytes arrived and hold no usable picture. Reasons: truncated, corrupt, no-keyframe, unsupported-codec."""

    default_reason = "corrupt"


class NeedMoreData(MediaError):
    """A head ends before its first picture does.

    ``total_bytes``: how long the head must be, counted from its start, if the container tells (fMP4, MP4);
    None if it does not (MPEG-TS).
    """

    default_reason = "truncated"

    def __init__(self, message: str, *, total_bytes: int | None = None) -> None:
        super().__init__(message)
        self.total_bytes = total_bytes


def first_cause(error: BaseException) -> BaseException:
    """The first leaf of an exception group; of anything else, itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
