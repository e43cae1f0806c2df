"""Opens what a harvest needs of the outside, and closes it again: Twitch on one side, the dataset on the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harvester.clock import Clock
from harvester.config import Config, Credentials
from harvester.errors import ConfigError, ForeignDataset
from harvester.model import Source
from harvester.pipeline.harvest import Outside, Store
from harvester.pipeline.sinks import DatasetSink
from harvester.pipeline.stopping import Stop
from harvester.stats import Traffic
from harvester.store.classes import holds_dataset
from harvester.store.columns import Marks
from harvester.store.dataset import Dataset
from harvester.store.forgetting import carry_out
from harvester.store.layout import shown
from harvester.store.ledger import Ledger
from harvester.store.lock import DatasetLock
from harvester.store.shared import scenes_shown
from harvester.transport import RateLimit, SharedLimits, Transport

#: Helix wants longer pauses than media hosts: 1, 2, 4, 8 s at most between its tries (facts) where the latter's
#: first is half a second. This many of [fetch] retry_base_s.
HELIX_PATIENCE = 2


@dataclass(frozen=True, slots=True)
class OpenDataset:
    """A dataset directory that is ours for now, recovered, with its ledger."""

    dataset: Dataset
    ledger: Ledger

    def store(self, config: Config, stop: Stop) -> Store:
        """The dataset as a harvest that ``stop`` may end sees it."""
        self.dataset.hurried = stop.hurried
        sink = DatasetSink(self.dataset, self.ledger, config)
        return Store(self.ledger, sink, self.forgotten, index=self.dataset.paths.index)

    def forgotten(self, source: Source) -> bool:
        """True if a tombstone keeps the source out."""
        return self.dataset.tombstones.is_forgotten(
            source_type=source.kind,
            source_id=source.id,
            broadcaster_id=source.broadcaster_id,
            category_id=source.category_id,
        )


@contextmanager
def open_dataset(root: Path, clock: Clock, *, create: bool = True, adopt: bool = True) -> Iterator[OpenDataset]:
    """Lock, open and recover the dataset in ``root``; a lost ledger is rebuilt from the metadata.

    ``adopt``: also take up single images that the ledger does not know (False: leave them for ``verify`` to find).

    Raises LockHeld, ForeignDataset or MachineError.
    """
    if not create:
        Dataset.open(root, create=False)  # nothing is made, not even the lock's folder, where there is no dataset
    with DatasetLock(root):
        dataset = Dataset.open(root, create=create)
        ledger = Ledger(dataset.paths.ledger)
        try:
            dataset.recover(ledger.is_kept)
            if names := ledger.leaving():
                dataset.remove(names, lambda: None, lambda: ledger.commit_left(clock.now()))
            carry_out(dataset, ledger, clock.now())
            dataset.complete(Marks(ledger.overlays(), scenes_shown(ledger, dataset)))
            lost = not ledger.keeps_any()
            if lost:
                dataset.withdraw_unlisted()
            if adopt or lost:
                _adopt(dataset, ledger, clock)
            yield OpenDataset(dataset, ledger)
        finally:
            ledger.close()


def _adopt(dataset: Dataset, ledger: Ledger, clock: Clock) -> None:
    """Take up images that the metadata lists and the ledger does not know; what is forgotten goes again, wherever
    it came back from."""
    stones = dataset.tombstones
    back = {frame.file_name for frame in dataset.frames(unless=ledger.kept_among) if stones.covers(frame)}
    if back:
        dataset.remove(back, lambda: None, lambda: None)
    ledger.adopt(dataset.frames(unless=ledger.kept_among), clock.now())


@contextmanager
def look_at_dataset(root: Path, clock: Clock) -> Iterator[OpenDataset]:
    """Look at the dataset in ``root`` while nobody works on it; not a byte of it changes.

    Raises LockHeld, ForeignDataset or MachineError.
    """
    Dataset.open(root, create=False)  # nothing is made, not even the lock's folder, where there is no dataset
    with DatasetLock(root), inspect_dataset(root, clock, alone=True) as opened:
        if opened is None:
            raise ForeignDataset(f"{shown(root)} holds no dataset yet")
        yield opened


@contextmanager
def inspect_dataset(root: Path, clock: Clock, *, alone: bool = False) -> Iterator[OpenDataset | None]:
    """Look at the dataset in ``root`` without a lock and without changing it; None if there is none yet.

    ``alone``: the caller holds its lock.

    Raises ForeignDataset or MachineError.
    """
    if not holds_dataset(root):
        yield None
        return
    dataset = Dataset.open(root, create=False)
    file = dataset.paths.ledger
    ledger = Ledger(file, readonly=True, alone=alone) if file.exists() else Ledger(None)
    try:
        if not file.exists():
            ledger.adopt(dataset.frames(), clock.now())
        yield OpenDataset(dataset, ledger)
    finally:
        ledger.close()


def require_rights(config: Config) -> None:
    """Raise ConfigError unless the configuration may touch the world it points at."""
    if not config.endpoints.loopback and not config.rights.basis.strip():
        raise ConfigError(
            "[rights] basis is not set: say on which ground you store this content (own channels, written"
            " permission, ...) in config.toml or HARVESTER_RIGHTS_BASIS; it goes into the dataset card",
            reason="no-rights-basis",
        )


@asynccontextmanager
async def reach(
    config: Config, secrets: Credentials, clock: Clock, traffic: Traffic | None = None
) -> AsyncIterator[Outside]:
    """Connect to the configured world; ``traffic``: where requests are counted, a new one by default.

    Raises ConfigError, CredentialsRefused or TryAgainLater.
    """
    from harvester.twitch.desk import player_headers
    from harvester.twitch.gql import GqlDetails
    from harvester.twitch.helix import HelixCatalog  # half a second of imports that --help and status do not need
    from harvester.twitch.playback import StreamlinkResolver

    require_rights(config)
    traffic = Traffic() if traffic is None else traffic
    limits = SharedLimits.of(config.fetch)
    gql_limit = RateLimit(config.fetch.gql_requests_per_s)
    resolver = StreamlinkResolver(
        config.endpoints,
        config.fetch,
        traffic,
        clock,
        gql_limit=gql_limit,
        limits=limits,
        kinds=config.discover.source_types,
    )
    details = GqlDetails(config.endpoints, config.fetch, traffic, gql_limit, player_headers(), limits=limits)
    try:
        async with (
            Transport(
                config.fetch, loopback=config.endpoints.loopback, traffic=traffic, limits=limits
            ) as transport,
            HelixCatalog(
                config.endpoints,
                config.discover,
                secrets,
                traffic,
                clock,
                retry_base_s=HELIX_PATIENCE * config.fetch.retry_base_s,
                limits=limits,
            ) as catalog,
            details,
        ):
            told = details if config.discover.details == "gql" else None
            yield Outside(catalog, resolver, transport, clock, traffic, told)
    finally:
        resolver.close()
