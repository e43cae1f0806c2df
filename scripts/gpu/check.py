"""What a step works with in its process: time, streams, what was found before, and a guard for each part."""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gpu import book
from gpu.streams import Streams

#: Longest text of an error or of what was printed that a record keeps.
_TEXT = 400


class Check:
    """One step under way. ``quick``: as little as shows that it works. ``earlier``: the records so far."""

    def __init__(
        self, step: str, records: int, limit_s: float, scratch: Path, earlier: list[book.Record], *, quick: bool
    ) -> None:
        self.step = step
        self.quick = quick
        self.scratch = scratch
        self.earlier = earlier
        self._records = records
        self._end = time.monotonic() + limit_s
        self._streams: Streams | None = None

    @property
    def streams(self) -> Streams:
        """What the step ``streams`` made."""
        if self._streams is None:
            self._streams = pickle.loads((self.scratch / "streams").read_bytes())  # our own, of this very run
        return self._streams

    def left_s(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def tell(self, what: str, **facts: Any) -> None:
        """One record, to the parent at once."""
        line = json.dumps({"step": self.step, "what": what, **facts}, default=_plain) + "\n"
        os.write(self._records, line.encode())

    def part(
        self, what: str, work: Callable[[], Mapping[str, Any]], *, needs_s: float = 0.1, **facts: Any
    ) -> Mapping[str, Any] | None:
        """Do one part and tell what it found. None if it raised something, which is told too: the step goes on.

        ``facts`` belong to the record either way. A part that has not got the seconds it needs is left out.
        """
        if self.left_s() < needs_s:
            self.tell(what, **facts, out_of_time=True)
            return None
        begin, printed = time.perf_counter(), _printed()
        try:
            result = dict(work())
        except ModuleNotFoundError as error:
            self.tell(what, **facts, lacks=error.name)
            return None
        except Exception as error:  # noqa: BLE001 - whatever a driver, a package or our own code raises is a finding
            self.tell(what, **facts, failed=_described(error), **_since(printed))
            return None
        took_s = round(time.perf_counter() - begin, 4)
        self.tell(what, **{**facts, **result, "took_s": took_s, **_since(printed)})
        return result


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_TEXT]


def _plain(value: Any) -> Any:
    """NumPy's numbers, enums and whatever else JSON does not know."""
    return value.item() if hasattr(value, "item") else str(value)


def _printed() -> int:
    """Bytes that are on stdout so far, a file (0 where it is none)."""
    sys.stdout.flush()
    ctypes.CDLL(None).fflush(None)  # what C code printed lies in a buffer of its own
    return os.fstat(1).st_size


def _since(before: int) -> Mapping[str, str]:
    """What was printed since: PyNvVideoCodec tells of damaged pictures on stdout, and nowhere else."""
    after = _printed()
    if after <= before:
        return {}
    return {"printed": os.pread(1, min(after - before, _TEXT), before).decode(errors="replace")}
