"""How a run ended: the contract's precedence of exit codes, its statuses, and books that are sums."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harvester.config import Run
from harvester.errors import (
    CredentialsRefused,
    FetchError,
    HarvesterError,
    LockHeld,
    MachineError,
    TryAgainLater,
    UnknownCategory,
    UsageError,
)
from harvester.model import Category
from harvester.pipeline.category import CategoryBooks
from harvester.pipeline.harvest import Harvested
from harvester.pipeline.stopping import Stop
from harvester.report.ending import Ending, conclude, exit_code, status
from harvester.report.summary import EXIT_CODES
from harvester.stats import RequestKind, StageTimes, Traffic

#: "1 > 130/143 > 6 > 3 > 5 > 4 > 0"; 75 and 2 are met alone, before a run does anything else.
CONTRACT = (1, 130, 143, 6, 75, 2, 3, 5, 4, 0)

ENDED_BY: dict[int, HarvesterError | None] = {
    0: None,
    1: HarvesterError("bug"),
    2: UsageError("wrong"),
    3: CredentialsRefused("no"),
    4: FetchError("not there"),
    5: TryAgainLater("later"),
    6: MachineError("full"),
    75: LockHeld("taken"),
}
#: Errors of single categories: unknown (4), listing not to be had (5).
ASIDE: dict[int, list[HarvesterError]] = {0: [], 4: [UnknownCategory("what?")], 5: [TryAgainLater("outage")]}
SIGNALS = {0: None, 130: 2, 143: 15}


def books(number: int = 1, **counts: Any) -> CategoryBooks:
    return CategoryBooks(Category(str(number), f"Game {number}"), total=50, **counts)


#: Books that ask for an exit code themselves.
ALONE = {
    0: books(kept=8, failed=Counter({"gone": 2})),
    4: books(kept=7, failed=Counter({"gone": 3})),
    5: books(failed=Counter({"timeout": 3}), outages=3),
}


def ending(
    *entries: CategoryBooks,
    error: HarvesterError | None = None,
    aside: list[HarvesterError] | None = None,
    signal_number: int | None = None,
    reason: str = "",
) -> Ending:
    stop = Stop()
    if signal_number is not None or reason:
        stop.ask(reason or "interrupted", signal_number=signal_number)
    traffic = Traffic()
    traffic.sent(RequestKind.MEDIA)
    traffic.received(RequestKind.MEDIA, 1000)
    harvested = Harvested({entry.category.id: entry for entry in entries}, aside or [], "cpu")
    return Ending("run", harvested, stop, error, traffic, StageTimes(), 1.5)


@pytest.mark.parametrize(("by", "aside", "signal"), list(itertools.product(ENDED_BY, ASIDE, SIGNALS)))
def test_of_all_exit_codes_the_contracts_first_wins(by: int, aside: int, signal: int) -> None:
    for alone, entry in ALONE.items():
        what = ending(entry, error=ENDED_BY[by], aside=ASIDE[aside], signal_number=SIGNALS[signal])
        expected = min({by, aside, signal, alone}, key=CONTRACT.index)
        report = conclude(what, Run(), Path("out"))
        assert report.exit_code == exit_code(what, Run()) == expected
        assert expected in EXIT_CODES[report.status]


@pytest.mark.parametrize(
    ("kept", "failed", "outages", "share", "code"),
    [
        (0, 0, 0, 0.2, 0),
        (8, 2, 0, 0.2, 0),  # just the share
        (7, 2, 2, 0.2, 4),
        (9, 1, 0, 0.0, 4),
        (0, 5, 5, 1.0, 0),
        (0, 5, 5, 0.2, 5),  # nothing came, and an outage is to blame for all of it
        (0, 5, 4, 0.2, 4),
        (1, 5, 5, 0.2, 4),
    ],
)
def test_the_share_of_failures(kept: int, failed: int, outages: int, share: float, code: int) -> None:
    entry = books(kept=kept, failed=Counter({"x": failed}), outages=outages)
    assert exit_code(ending(entry), Run(failed_share=share)) == code


@pytest.mark.parametrize(
    ("reason", "due", "code"),
    [
        *((outage, True, 5) for outage in ("unavailable", "refused", "timeout", "http-503", "http-429")),
        *((own, True, 4) for own in ("gone", "unplayable", "not-ready", "broken", "http-404", "http-5")),
        ("timeout", False, 4),  # tried for the last time
    ],
)
def test_a_lone_failure_is_an_outage_only_where_network_or_server_are_to_blame(
    reason: str, due: bool, code: int
) -> None:
    entry = books()
    entry.count("failed", reason, due=due)
    assert exit_code(ending(entry), Run()) == code
    entry.forget_decisions(1)
    assert exit_code(ending(entry), Run()) == 0


def test_the_share_is_one_of_all_categories_together() -> None:
    whole, broken = books(1, kept=95), books(2, failed=Counter({"gone": 5}))
    assert exit_code(ending(whole, broken), Run()) == 0
    assert exit_code(ending(broken), Run()) == 4


@pytest.mark.parametrize(
    ("code", "reason", "kept", "expected"),
    [
        (0, "", 3, "done"),
        (0, "max_time", 3, "bounded"),
        (130, "interrupted", 3, "interrupted"),
        (143, "interrupted", 0, "interrupted"),
        (4, "", 0, "partial"),
        (4, "max_time", 3, "partial"),
        (5, "", 3, "partial"),
        (5, "", 0, "failed"),
        (2, "", 0, "failed"),
        (3, "", 3, "failed"),
        (6, "", 3, "failed"),
        (75, "", 0, "failed"),
    ],
)
def test_statuses(code: int, reason: str, kept: int, expected: str) -> None:
    assert status(ending(reason=reason), code, kept) == expected


def test_a_report_sums_the_books_of_its_categories() -> None:
    one = books(1, kept=3, dropped=Counter(black=2, duplicate=1), target=60)
    two = books(2, kept=1, dropped=Counter(black=1), failed=Counter(gone=2), note="no new sources")
    two.unwritten = 4
    what = ending(one, two, aside=[UnknownCategory("no 'X'")], reason="max_frames")
    report = conclude(what, Run(failed_share=1), Path("out"), Path("out/sheet.jpg"))
    told = json.loads(report.to_json())
    assert told["planned"] == 3 + 3 + 1 + 1 + 2 + 4
    assert (told["kept"], told["pending"]) == (4, 4)
    assert told["dropped"] == {"black": 3, "duplicate": 1}
    assert told["failed"] == {"gone": 2}
    assert told["requests"] == {"media": 1}
    assert told["bytes"] == {"media": 1000}
    assert told["categories"]["1"]["target"] == 60
    assert told["categories"]["2"]["note"] == "no new sources"
    assert (told["status"], told["exit_code"], told["errors"]) == ("partial", 4, ["no 'X'"])
    assert report.notes == ("stopped: max_frames",)
    assert (report.dataset, report.contact_sheet) == ("out", "out/sheet.jpg")


def test_a_run_that_ended_before_a_dataset_was_opened_has_none() -> None:
    report = conclude(ending(error=UnknownCategory("no 'X'")), Run())
    assert (report.dataset, report.exit_code, report.status, report.planned) == ("", 2, "failed", 0)
    assert report.errors == ("no 'X'",)
