"""What ``status`` tells of each category besides counts: when it last went well, and when it is due again."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from harvester.model import Rank
from harvester.store.dataset import Dataset
from harvester.store.ledger import Ledger
from harvester.store.overview import overview
from tests.unit.store.conftest import CELESTE, HADES
from tests.unit.store.test_ledger import NOW, outcome

DAY = timedelta(days=1)


def ended(ledger: Ledger, number: int, exit_code: int, *categories: str) -> None:
    """The run of a day, which worked on those categories."""
    ledger.begin_run(f"r{number}", NOW + number * DAY, {})
    report = {"exit_code": exit_code, "categories": {category: {"target": None} for category in categories}}
    ledger.end_run(f"r{number}", NOW + number * DAY, json.dumps(report))


def test_the_last_run_that_went_well_is_told_of_each_category(tmp_path: Path) -> None:
    dataset, ledger = Dataset.open(tmp_path), Ledger(None)
    for category in (HADES, CELESTE):
        dataset.classes.register(category)
    ended(ledger, 1, 0, HADES.id, CELESTE.id)
    ended(ledger, 2, 0, HADES.id)
    ended(ledger, 3, 5, HADES.id, CELESTE.id)
    ledger.begin_run("killed", NOW + 4 * DAY, {})
    hades, celeste = overview(dataset, ledger, max_per_vod=40).categories
    assert hades.last_success == (NOW + 2 * DAY).isoformat()
    assert celeste.last_success == (NOW + DAY).isoformat()


def test_the_first_failure_that_is_due_is_told(tmp_path: Path) -> None:
    dataset, ledger = Dataset.open(tmp_path), Ledger(None)
    dataset.classes.register(HADES)
    assert overview(dataset, ledger, max_per_vod=40).categories[0].next_due == ""
    for place, days in enumerate((3, 2, 5)):
        failed = {"verdict": "failed", "reason": "timeout", "retry_at": NOW + days * DAY, "category_id": HADES.id}
        ledger.commit([outcome(ledger, Rank(1, 0, 0, 0, place), k=place, **failed)])
    assert overview(dataset, ledger, max_per_vod=40).categories[0].next_due == (NOW + 2 * DAY).isoformat()
