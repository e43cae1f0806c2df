"""The table: every door that outside bytes come through. A new parser is one more line in one of the four."""

from __future__ import annotations

from tests.fuzz.details import DETAILS
from tests.fuzz.disk import DISK
from tests.fuzz.media import MEDIA
from tests.fuzz.text import TEXT

TARGETS = (*MEDIA, *TEXT, *DETAILS, *DISK)
