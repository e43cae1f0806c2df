"""Why a source does not open, from what the servers said: streamlink itself gives an empty dict for every cause.

Branches on statuses and error codes; on wording only for GQL, where wording is all there is. Nothing of a token or
of a body goes into a message, except a short error code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from harvester.errors import PROGRAM_REFUSED, SourceError
from harvester.model import Clip, Vod
from harvester.stats import RequestKind
from harvester.text import printable
from harvester.twitch.offers import aspect_ratios, is_portrait, objects

#: A VOD younger than this may have no token yet; an older one without a token is gone, private or expired.
FRESH = timedelta(hours=1)

#: usher's error codes for content of subscribers.
SUBSCRIBERS_ONLY = frozenset(["vod_manifest_restricted", "unauthorized_entitlements"])

#: Statuses of GQL that are a matter of policy, and words of complaints: of those that any question would meet, and
#: of faults inside, which may pass.
_REFUSING, _UNKNOWN_HASH = frozenset([400, 401, 403]), "persistedquerynotfound"
_REFUSALS, _DOWN = ("integrity", _UNKNOWN_HASH), ("timeout", "unavailable", "server error")

#: How region blocks name themselves in codes and reasons (no code is documented).
_REGION = re.compile(r"geo|region|country", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of a server; ``status`` None: none came."""

    kind: RequestKind
    status: int | None
    body: bytes = field(default=b"", repr=False)


class PassingTrouble(SourceError):
    """A failure that another try in a few seconds may not meet."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message, reason=reason, retryable=True)


def is_refusal(answer: Said, *, spelt_out: bool) -> bool:
    """True if GQL refuses the program (client id, integrity check) or the way in which it asks (hash, text).

    It answers every source alike, so that no source pays for it with one of its tries. A question by hash is known
    to be well put; one that is ``spelt_out`` and answered by errors alone (GraphQL §7.1: no data, "request error")
    is refused too, unless they tell of a fault that may pass.
    """
    document = _object(document_of(answer.body))
    complaint = (_complaint(document) or "").lower()
    if answer.status in _REFUSING or any(word in complaint for word in _REFUSALS):
        return True
    misput = spelt_out and complaint and document.get("data") is None
    return bool(misput) and not any(word in complaint for word in (*_DOWN, "service error"))


def refusal_of(answer: Said) -> PassingTrouble:
    """The error of a source that asked when GQL refused the program: nothing that it has to answer for."""
    complaint = _complaint(_object(document_of(answer.body))) or f"status {answer.status}"
    return PassingTrouble(f"the playback service refuses us: {printable(complaint, 80)}", reason=PROGRAM_REFUSED)


def knows_hash(answer: Said) -> bool:
    """False if the answer complains that a persisted query is not known."""
    return _UNKNOWN_HASH not in (_complaint(_object(document_of(answer.body))) or "").lower()


def is_outage(answer: Said) -> bool:
    """True if the host gave no answer, or none of use to anybody."""
    return answer.status is None or answer.status == 429 or answer.status >= 500 or _is_web_page(answer)


def _is_web_page(answer: Said) -> bool:
    """True for markup with status 200: from a portal or a tired server in the place of what was asked."""
    return answer.status == 200 and answer.body.lstrip()[:1] == b"<"


def diagnose(said: Sequence[Said], source: Vod | Clip, now: datetime) -> SourceError:
    """Why ``source`` did not open, given all answers in order, none a refusal of the program (:func:`refusal_of`).
    ``now``: start of the run, whenever it asks.

    Reasons: ``sub-only``, ``region``, ``portrait`` (never again); ``gone``, ``not-ready``, ``broken``,
    ``unavailable`` (retryable: gone is believed only after two looks on different days).
    """
    usher = [answer for answer in said if answer.kind is RequestKind.USHER]
    gql = [answer for answer in said if answer.kind is RequestKind.GQL]
    if usher:
        return _of_usher(usher[-1])
    if gql:
        return _of_gql(gql[-1], source, now)
    return PassingTrouble("Twitch was not reached", reason="unavailable")


def token_refusal(value: str) -> SourceError | None:
    """The refusal that a playback token itself carries (``forbidden``, restricted bitrates); None if none."""
    token = _object(document_of(value))
    authorization = _object(token.get("authorization"))
    if authorization.get("forbidden") is True:
        return _forbidden(str(authorization.get("reason", "")))
    if _object(token.get("chansub")).get("restricted_bitrates"):
        return _forbidden("")
    return None


def clip_refusal(clip: Mapping[str, Any]) -> SourceError | None:
    """The refusal that the token of a GQL ``clip`` carries, though it may list and sign files; None if none."""
    return token_refusal(str(_object(clip.get("playbackAccessToken")).get("value", "")))


def clip_answer(said: Sequence[Said]) -> Mapping[str, Any]:
    """``data.clip`` of the newest GQL answer that has one; {} if there is none."""
    for answer in reversed(said):
        clip = _object(_object(document_of(answer.body)).get("data")).get("clip")
        if isinstance(clip, dict):
            return clip
    return {}


def _of_usher(answer: Said) -> SourceError:
    if is_outage(answer):
        return _outage(answer, "the playlist service")
    code = _error_code(answer.body)
    said = f"status {answer.status}{', ' + printable(code, 60) if code else ''}"
    if answer.status == 403:
        if code in SUBSCRIBERS_ONLY or _REGION.search(code):
            return _forbidden(code)
        return PassingTrouble(f"the playlist is refused ({said})", reason="broken")
    if answer.status in (404, 410):
        return SourceError(f"there is no recording any more ({said})", reason="gone", retryable=True)
    return PassingTrouble(f"the playlist cannot be read ({said})", reason="broken")


def _of_gql(answer: Said, source: Vod | Clip, now: datetime) -> SourceError:
    if is_outage(answer):
        return _outage(answer, "the playback service")
    document = _object(document_of(answer.body))
    complaint = _complaint(document)
    if complaint is not None or answer.status != 200:
        return _complained(complaint or f"status {answer.status}")
    data = _object(document.get("data"))
    if isinstance(source, Vod) and "videoPlaybackAccessToken" in data:
        return _of_vod_token(data["videoPlaybackAccessToken"], source, now)
    if isinstance(source, Clip) and "clip" in data:
        return _of_clip(data["clip"])
    return PassingTrouble("the playback service's answer has an unknown shape", reason="broken")


def _of_vod_token(token: object, vod: Vod, now: datetime) -> SourceError:
    if token is not None:
        refusal = token_refusal(str(_object(token).get("value", "")))
        return refusal or PassingTrouble("the playback token is of no use", reason="broken")
    if now - vod.created_at < FRESH:
        return SourceError("the recording is too fresh to be played", reason="not-ready", retryable=True)
    return SourceError("deleted, private or expired: no playback token", reason="gone", retryable=True)


def _of_clip(clip: object) -> SourceError:
    if clip is None:
        return SourceError("the clip does not exist any more", reason="gone", retryable=True)
    refusal = clip_refusal(_object(clip))
    if refusal is not None:
        return refusal
    files = [file for file in objects(_object(clip).get("videoQualities")) if file.get("sourceURL")]
    ratios = aspect_ratios(_object(clip))
    if files and all(is_portrait(file, ratios) for file in files):
        return SourceError("the clip lists portrait files only", reason="portrait")
    return SourceError("the clip lists no video file of use", reason="broken", retryable=True)


def _forbidden(why: str) -> SourceError:
    if _REGION.search(why):
        return SourceError("blocked in this region", reason="region")
    return SourceError("for subscribers of the channel only", reason="sub-only")


def _complained(complaint: str) -> PassingTrouble:
    said = printable(complaint, 80)
    down = any(word in complaint.lower() for word in _DOWN)
    return PassingTrouble(f"the playback service fails: {said}", reason="unavailable" if down else "broken")


def _complaint(document: Mapping[str, Any]) -> str | None:
    """What a GQL error document complains of; None if it is none."""
    errors = document.get("errors")
    if isinstance(errors, list) and errors:
        return str(_object(errors[0]).get("message", "unnamed error"))
    if "error" in document:
        return str(document.get("message") or document["error"])
    return None


def _outage(answer: Said, who: str) -> PassingTrouble:
    page = " with a web page" if _is_web_page(answer) else ""
    said = "gives no answer" if answer.status is None else f"answered {answer.status}{page}"
    return PassingTrouble(f"{who} {said}", reason="unavailable")


def _error_code(body: bytes) -> str:
    """``error_code`` of usher's error document, a JSON array of one object; "" if there is none."""
    document = document_of(body)
    first = document[0] if isinstance(document, list) and document else document
    return str(_object(first).get("error_code") or "")


def document_of(body: bytes | str) -> object:
    """A JSON body as it is; None if it is none, or nested too deep."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
