"""How long frames stay: they leave when they are too old, or when their source has gone from Twitch.

They leave as recurring cards do (:mod:`harvester.store.removals`): what is decided is committed first, so that a
kill changes nothing, and their hashes stay as anchors. No picture is looked at for it, so the order of decisions
does not matter; ``verify --replay`` takes it as it is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from harvester.config import Retention
from harvester.model import SPLITS, SourceKind
from harvester.store.dataset import Dataset
from harvester.store.ledger import Ledger

#: Reasons of frames that leave: older than ``[retention] ttl_days``, or of a source that has gone.
EXPIRED, GONE = "expired", "gone"

#: A source that Helix leaves out may be private for an hour: it is gone if it is left out again this much later.
GONE_FOR = timedelta(days=1)


def due(dataset: Dataset, ledger: Ledger, retention: Retention, now: datetime) -> dict[str, set[str]]:
    """Names of the images that have to leave now, by reason; none of them twice."""
    old = _too_old(dataset, retention, now)
    gone = _of_gone(dataset, ledger) - old if retention.gone == "purge" else set()
    return {reason: names for reason, names in ((EXPIRED, old), (GONE, gone)) if names}


def let_go(dataset: Dataset, ledger: Ledger, run_id: str, now: datetime, leaving: Mapping[str, set[str]]) -> int:
    """Take these images out, as far as the ledger keeps them; how many. Only for the holder of the dataset's lock.

    Raises MachineError; then, as after a kill, who opens the dataset next ends it.
    """
    reasons = {seq: reason for reason, names in leaving.items() for seq in ledger.kept_seqs(names).values()}
    if reasons:
        barrier = ledger.retention_barrier()
        dataset.remove(
            ledger.files_of(reasons),
            lambda: ledger.commit_barrier(barrier, run_id, now, reasons),
            lambda: ledger.commit_left(now),
        )
    return len(reasons)


def kept_sources(dataset: Dataset) -> dict[tuple[SourceKind, str], int]:
    """How many images there are of each source."""
    return {(kind, source_id): n for (kind, source_id), n in dataset.tally("source_type", "source_id").items()}


def _too_old(dataset: Dataset, retention: Retention, now: datetime) -> set[str]:
    if not retention.ttl_days:
        return set()
    bound = now - timedelta(days=retention.ttl_days)
    return {name for split in SPLITS for name in dataset.split(split).files_before(bound)}


def _of_gone(dataset: Dataset, ledger: Ledger) -> set[str]:
    gone = ledger.gone_sources(GONE_FOR)
    names: set[str] = set()
    for kind in sorted({kind for kind, _ in gone}):
        ids = [source_id for its_kind, source_id in gone if its_kind == kind]
        for split in SPLITS:
            names |= dataset.split(split).files_of({"source_type": [kind], "source_id": ids})
    return names
