"""Where decided targets go: into a dataset on disk, or to whoever iterates over :func:`harvester.frames`."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harvester.config import Config
from harvester.model import Category, Frame, Picture, SplitName
from harvester.sampling.categories import OTHER, is_game
from harvester.store.classes import ClassEntry, SplitRule
from harvester.store.columns import Marks
from harvester.store.dataset import Dataset
from harvester.store.disk import free_bytes
from harvester.store.ledger import Ledger
from harvester.store.records import Outcome
from harvester.store.shared import scenes_shown
from harvester.text import printable, slugify
from harvester.vision.jpeg import encode, to_rgb

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A kept picture in the form its sink wants: a JPEG file, or RGB pixels (uint8, (H, W, 3))."""

    jpeg: bytes = b""
    image: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """An outcome and, of a kept target, its frame and file (b"" where none is written)."""

    outcome: Outcome
    frame: Frame | None = None
    jpeg: bytes = field(default=b"", repr=False)


class Sink(Protocol):
    """Takes decisions, in the order they were made. ``pixels``: its frames carry pixels, not files."""

    pixels: bool

    @property
    def dataset(self) -> Dataset | None:
        """What its frames become part of; None: what is handed on does not come back."""
        ...

    def free_bytes(self) -> float:
        """How much room there is for what it writes; blocks."""
        ...

    def label(self, category: Category) -> ClassEntry:
        """The category's class, made now if it is new."""
        ...

    def split(self, broadcaster_id: str) -> SplitName:
        """The split of all frames of that broadcaster, for ever."""
        ...

    def render(self, picture: Picture) -> Rendered:
        """The picture as it will be handed on; runs in a decode thread."""
        ...

    def publish(self, decisions: Sequence[Decision]) -> None:
        """Make a batch of decisions durable, all or none; blocks."""
        ...

    def finish(self) -> None:
        """Bring what is published into its final form, at the end of a run; blocks."""
        ...


class DatasetSink:
    """Publishes into a dataset directory and its ledger."""

    pixels = False

    def __init__(self, dataset: Dataset, ledger: Ledger, config: Config) -> None:
        self.dataset = dataset
        self._ledger = ledger
        self._config = config.dataset

    def free_bytes(self) -> float:
        return free_bytes(self.dataset.paths.root)

    def label(self, category: Category) -> ClassEntry:
        if self._config.other == "on" and not is_game(category):
            return self.dataset.classes.register_other()
        return self.dataset.classes.register(category)

    def split(self, broadcaster_id: str) -> SplitName:
        return self.dataset.classes.split_of(broadcaster_id)

    def render(self, picture: Picture) -> Rendered:
        settings = self._config
        return Rendered(jpeg=encode(picture, quality=settings.jpeg_quality, short_side=settings.short_side))

    def publish(self, decisions: Sequence[Decision]) -> None:
        outcomes = [decision.outcome for decision in decisions]
        images = [(decision.frame, decision.jpeg) for decision in decisions if decision.frame is not None]
        if images:
            self.dataset.publish(images, lambda: self._ledger.commit(outcomes))
        else:
            self._ledger.commit(outcomes)

    def finish(self) -> None:
        scenes = scenes_shown(self._ledger, self.dataset)
        if not self.dataset.complete(Marks(self._ledger.overlays(), scenes)):
            _log.warning("stopped before the newest frames were listed in the metadata: the next run lists them")


class FrameSink:
    """Hands every kept frame to ``deliver`` with its pixels; nothing is written."""

    pixels = True
    dataset = None

    def __init__(self, ledger: Ledger, config: Config, deliver: Callable[[Frame], None]) -> None:
        self._ledger = ledger
        self._short_side = config.dataset.short_side
        self._other = config.dataset.other == "on"
        self._deliver = deliver
        self._classes: dict[str, ClassEntry] = {}
        self._rule = SplitRule()

    def free_bytes(self) -> float:
        return math.inf

    def label(self, category: Category) -> ClassEntry:
        number = len(self._classes)
        if self._other and not is_game(category):
            return self._classes.setdefault("", ClassEntry(number, "", OTHER, OTHER))
        slug = slugify(category.name) or f"category-{category.id}"
        return self._classes.setdefault(
            category.id, ClassEntry(number, category.id, slug, printable(category.name))
        )

    def split(self, broadcaster_id: str) -> SplitName:
        return self._rule.split_of(broadcaster_id)

    def render(self, picture: Picture) -> Rendered:
        return Rendered(image=to_rgb(picture, short_side=self._short_side))

    def publish(self, decisions: Sequence[Decision]) -> None:
        self._ledger.commit([decision.outcome for decision in decisions])
        for decision in decisions:
            if decision.frame is not None:
                self._deliver(decision.frame)

    def finish(self) -> None:
        """Everything has been delivered."""
