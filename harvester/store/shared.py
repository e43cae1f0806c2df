"""Which images show a scene of the game itself, told by what others have shown of it.

They are looked for in committed rows, at the end of a run and, for who was killed before, at the next start. A row
that is marked stays so, also when the ledger is lost or others are forgotten: what several have shown does not
become one person's.
"""

from __future__ import annotations

from collections.abc import Iterator

from harvester.model import SPLITS
from harvester.store.dataset import Dataset
from harvester.store.ledger import Ledger
from harvester.store.pictures import Repeated
from harvester.vision.measure import thumbnail, unpack
from harvester.vision.shared import LOOKS, OTHERS, SHARED, Thumbnail, is_shared


def scenes_shown(ledger: Ledger, dataset: Dataset) -> dict[str, str]:
    """The scene of each image that shows one and is not marked yet, by name.

    Those that a dataset in a hurry does not come to are the next run's. It takes a scan of an index of duplicates,
    and 0.2 ms for each picture that is compared.
    """
    found: dict[str, str] = {}
    repeated = ledger.repeated_by_others(OTHERS)
    known = _marked(dataset) if repeated else ()
    for one in repeated:
        if dataset.hurried():
            break
        if one.file_name not in known and _is_shared(ledger, one):
            found[one.file_name] = SHARED
    return found


def _marked(dataset: Dataset) -> set[str]:
    return {name for split in SPLITS for name in dataset.split(split).files_of({"scene": [SHARED]})}


def _is_shared(ledger: Ledger, one: Repeated) -> bool:
    (mine,) = _looks(ledger, (one.seq,))
    return is_shared(mine, (tuple(_looks(ledger, seqs[:LOOKS])) for seqs in one.others))


def _looks(ledger: Ledger, seqs: tuple[int, ...]) -> Iterator[Thumbnail]:
    return (thumbnail(unpack(packed)) for packed in ledger.measurements(seqs))
