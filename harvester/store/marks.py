"""What rows show that only the dataset as a whole tells, entered when they are listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harvester.store.columns import replaced

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns that have few values in many rows.
REPETITIVE = ("overlay_boxes", "scene")


@dataclass(frozen=True, slots=True)
class Marks:
    """What rows show from now on; others keep what they have.

    ``overlays``: by broadcaster id, None for none (:mod:`harvester.store.overlays`). ``scenes``: by name of the
    file (:mod:`harvester.store.scenes`).
    """

    overlays: Mapping[str, str | None] = field(default_factory=dict)
    scenes: Mapping[str, str] = field(default_factory=dict)

    def are_in(self, table: pa.Table) -> bool:
        """Whether the rows show them already; of :attr:`columns`."""
        return bool(self.entered(table).equals(table))

    @property
    def columns(self) -> list[str]:
        """Those that it takes to enter them."""
        overlays = ["broadcaster_id", "overlay_boxes"] if self.overlays else []
        return [*overlays, "file_name", "scene"] if self.scenes else overlays

    def entered(self, table: pa.Table) -> pa.Table:
        """``table`` with them."""
        shown = replaced(table, "broadcaster_id", self.overlays, "overlay_boxes") if self.overlays else table
        return replaced(shown, "file_name", self.scenes, "scene") if self.scenes else shown


NO_MARKS = Marks()
