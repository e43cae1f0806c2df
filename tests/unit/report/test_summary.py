"""The report of a run: its books sum or it does not exist, its JSON is the contract's, its text is harmless."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from harvester.pipeline.listing import Listed
from harvester.report.summary import CategoryReport, RunReport, failed_json, render_text

HADES = CategoryReport(
    name="Hades II",
    kept=8,
    total=20,
    target=20,
    dropped={"duplicate": 3, "black": 1},
    failed={"gone": 2},
    pending=5,
    removed={"recurring": 1},
    labels={"none": 1, "vod": 3, "clip": 0},
)
CELESTE = CategoryReport(
    name="Celeste", kept=1, total=9, failed={"gone": 1, "truncated": 4}, note="no new sources"
)

REPORT = RunReport(
    run_id="20261101T030000Z-abc",
    status="partial",
    exit_code=4,
    dataset="/data/set",
    decoder="cpu: no GPU here",
    seconds=12.3456,
    planned=25,
    kept=9,
    pending=5,
    dropped={"black": 1, "duplicate": 3},
    failed={"gone": 3, "truncated": 4},
    removed={"recurring": 1},
    requests={"auth": 1, "media": 25, "gql": 0},
    bytes={"media": 3_400_000, "helix": 999},
    categories={"1": HADES, "2": CELESTE},
    errors=("GET /seg?token=s3cret failed",),
    notes=("the clock is set",),
    stages={"decode": 1.5, "fetch": 20.0},
    waits={"network": 11.2, "publish": 1.0},
    held_up={"network": 9.0, "decode": 0.01, "other": 2.99},
    contact_sheet="/data/set/sheet.jpg",
)

#: Fields of the contract's JSON line.
CONTRACT = (
    "run_id status exit_code dataset decoder seconds planned kept pending dropped failed removed requests bytes categories"
).split()


# --- books ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"planned": 24},
        {"kept": 8},
        {"kept": 8, "planned": 24},  # sums, but not what the categories say
        {"pending": 4, "planned": 24},
        {"dropped": {"black": 4}},
        {"dropped": {"black": 1, "duplicate": 4}, "planned": 26},
        {"failed": {"gone": 3}, "planned": 21},
        {"removed": {}},
        {"categories": {}},
        {"categories": {"1": HADES}},
        {"requests": {"media": -1}},
        {"bytes": {"media": -1}},
        {"seconds": -1.0},
        {"status": "fine"},
        {"status": "done"},
        {"exit_code": 0},
        {"exit_code": 130},
    ],
)
def test_a_report_that_does_not_hold_together_cannot_be_built(changes):
    with pytest.raises(ValueError, match=r"\w"):
        replace(REPORT, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"kept": -1},
        {"pending": -1},
        {"dropped": {"black": -1}},
        {"total": 6},
        {"target": -1},
        {"failed": {"x": -1}},
    ],
)
def test_a_categorys_books_cannot_be_wrong(changes):
    with pytest.raises(ValueError, match="Hades II"):
        replace(HADES, **changes)


def test_planned_is_what_became_of_the_targets():
    assert HADES.planned == 8 + 3 + 1 + 2 + 5


@pytest.mark.parametrize(
    ("status", "code"),
    [("done", 0), ("bounded", 0), ("partial", 4), ("partial", 5), ("interrupted", 130), ("interrupted", 143)]
    + [("failed", code) for code in (1, 2, 3, 5, 6, 75)],
)
def test_status_and_exit_code_of_the_contract_go_together(status, code):
    assert replace(REPORT, status=status, exit_code=code).status == status


# --- JSON ---------------------------------------------------------------------------------------------------------------


def test_the_json_line_has_the_contracts_fields():
    values = json.loads(REPORT.to_json())
    assert set(CONTRACT) <= set(values)
    assert (
        values["planned"]
        == values["kept"] + sum(values["dropped"].values()) + sum(values["failed"].values()) + values["pending"]
    )
    assert values["seconds"] == 12.346
    assert values["requests"] == {"media": 25, "auth": 1}
    assert list(values["dropped"]) == ["duplicate", "black"]
    assert values["categories"]["1"] == {
        "name": "Hades II",
        "kept": 8,
        "total": 20,
        "target": 20,
        "planned": 19,
        "pending": 5,
        "dropped": {"duplicate": 3, "black": 1},
        "failed": {"gone": 2},
        "removed": {"recurring": 1},
        "note": "",
        "listed": {},
        "labels": {"vod": 3, "none": 1},
        "capped": {},
    }


def test_counters_are_counts_too():
    counted = replace(HADES, dropped=Counter(duplicate=3, black=1))
    assert json.loads(replace(REPORT, categories={"1": counted, "2": CELESTE}).to_json()) == json.loads(
        REPORT.to_json()
    )


names = st.text(st.characters(), max_size=40)  # any code point, lone surrogates too
counts = st.dictionaries(names, st.integers(0, 9), max_size=3)


@given(name=names, dropped=counts, failed=counts, note=names, error=names)
def test_any_name_gives_one_ascii_line_and_harmless_text(name, dropped, failed, note, error):
    category = CategoryReport(name=name, dropped=dropped, failed=failed, note=note)
    report = RunReport(
        *("r", "done", 0, name),
        planned=category.planned,
        dropped=dropped,
        failed=failed,
        categories={"1": category},
        errors=(error,),
        notes=(note,),
    )
    line = report.to_json()
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["categories"]["1"]["planned"] == category.planned
    text = render_text(report)
    assert all(row.isprintable() for row in text.split("\n"))
    text.encode()


def test_no_secret_gets_out():
    report = replace(
        REPORT,
        notes=("Authorization: Bearer s3cretnote",),
        categories={"1": HADES, "2": replace(CELESTE, note="sig=s3cret")},
    )
    assert "s3cret" not in report.to_json()
    assert "s3cret" not in render_text(report)


def test_a_command_that_never_became_a_run_still_ends_with_the_contracts_object():
    values = json.loads(failed_json(2, "config", "bad key\x1b"))
    assert set(CONTRACT) <= set(values)
    assert (values["status"], values["exit_code"], values["reason"]) == ("failed", 2, "config")
    assert values["errors"] == ["bad key\x1b"]
    assert json.loads(failed_json(130, "interrupted", ""))["status"] == "interrupted"
    assert failed_json(2, "usage", "é\n").isascii()
    assert "\n" not in failed_json(2, "usage", "é\n")


# --- text -----------------------------------------------------------------------------------------------------------------


def test_the_summary_says_what_happened():
    assert render_text(REPORT, width=100).splitlines() == [
        "partial in 12.3 s: 9 frames kept of 25 targets, 5 pending",
        "",
        "category      in all  kept  dropped               failed               removed",
        "Hades II    20 of 20     8  3 duplicate, 1 black  2 gone               1 recurring",
        "Celeste            9     1  -                     4 truncated, 1 gone  -",
        "",
        "labels   3 by the VOD's own category, 1 of other categories",
        "requests 26 (media 25, auth 1)",
        "received 3.4 MB (media 3.4 MB, helix 999 B)",
        "speed    1.6 frames/s",
        "decoder  cpu: no GPU here",
        "stages   fetch 20.0 s, decode 1.5 s; targets waiting on average: network 0.9, publish 0.1",
        "bound by network (network 75%, other 25% of the time)",
        "dataset  /data/set",
        "pictures /data/set/sheet.jpg",
        "note: the clock is set",
        "note: Celeste: no new sources",
        "error: GET /seg?token=*** failed",
    ]


def test_a_run_whose_target_is_met_says_so():
    met = CategoryReport(name="Celeste", total=8, target=8)
    held_up = {"list": 0.4}  # it asked which categories are meant
    report = RunReport("r", "done", 0, "/data/set", seconds=0.4, categories={"2": met}, held_up=held_up)
    text = render_text(report)
    assert text.splitlines()[0] == "done in 0.4 s: the target is met, nothing to fetch"
    assert "8 of 8" in text
    assert "speed" not in text
    assert "removed" not in text
    assert "bound by" not in text
    assert json.loads(report.to_json())["bound_by"] == ""


@pytest.mark.parametrize("part", [{"total": 7, "target": 8}, {"total": 8}])
def test_a_run_that_found_nothing_new_does_not_claim_a_target(part):
    categories = {
        "1": CategoryReport(name="Hades", total=8, target=8),
        "2": CategoryReport(name="Celeste", **part),
    }
    report = RunReport("r", "done", 0, "/data/set", categories=categories, held_up={"list": 0.4})
    assert render_text(report).startswith("done in 0.0 s: nothing fetched\n")
    assert json.loads(report.to_json())["bound_by"] == "list"


def test_names_are_no_markup_and_need_no_colour():
    hostile = replace(HADES, name="[red]x[/red] \x1b[31m\u202e")
    text = render_text(replace(REPORT, categories={"1": hostile, "2": CELESTE}))
    assert "[red]x[/red] [31m" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("width", [10, 60, 80, 200])
def test_the_table_keeps_within_its_width_and_paths_stay_whole(width):
    wide = replace(HADES, name="\u539f\u795e " * 20)
    report = replace(REPORT, dataset="/data/" + "x" * 250, categories={"1": wide, "2": CELESTE})
    rows = render_text(report, width=width).splitlines()
    assert f"dataset  {report.dataset}" in rows
    table = rows[2 : rows.index("", 2)]
    assert max(cell_len(row) for row in table) <= max(width, 60)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "0.0 s"), (59.4, "59.4 s"), (59.7, "1 min 0 s"), (61, "1 min 1 s"), (7300, "2 h 1 min")],
)
def test_durations_read_as_people_say_them(seconds, shown):
    assert render_text(replace(REPORT, seconds=seconds)).startswith(f"partial in {shown}: ")


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (12_340_000, "12.3 MB"),
        (5 * 10**9, "5.0 GB"),
        (10**13, "10.0 TB"),
    ],
)
def test_sizes_are_decimal(size, shown):
    assert f"received {shown}" in render_text(replace(REPORT, bytes={"media": size}))


def test_each_category_tells_what_its_listing_found():
    listed = {"vod": Listed(5, 9, 4), "clip": Listed(3, 3, stopped="cap", lost=1)}
    whole = {"vod": Listed(1, 1), "clip": Listed(0, 0)}
    text = render_text(
        replace(REPORT, categories={"1": replace(HADES, listed=listed), "2": replace(CELESTE, listed=whole)})
    )
    assert (
        "listed   Hades II: 5 new VODs and 4 known of at least 9, 3 new clips of at least 3; VODs to the end\n"
        in text
    )
    assert (
        "\n         Celeste: 1 new VODs of at least 1, 0 new clips of at least 0; VODs and clips to the end\n"
        in text
    )
    assert "note: Hades II: 3 new clips of at least 3: Twitch gives no more of one question" in text
    one = replace(HADES, listed=listed)
    alone = RunReport("r", "partial", 4, "d", planned=19, kept=8, pending=5, categories={"1": one},
        dropped=one.dropped, failed=one.failed, removed=one.removed)  # fmt: skip
    assert "listed   5 new VODs and 4 known" in render_text(alone)


def test_what_caps_cost_is_told_by_category_and_in_all():
    one = CategoryReport("Hades II", dropped={"day-cap": 3, "black": 1}, capped={"day-cap": 3, "vod-cap": 7160})
    other = CategoryReport("Celeste", dropped={"day-cap": 2}, capped={"day-cap": 2})
    books = {"planned": 6, "dropped": {"day-cap": 5, "black": 1}, "categories": {"1": one, "2": other}}
    report = RunReport("run", "done", 0, "/data/set", **books)
    told = json.loads(report.to_json())
    assert told["capped"] == {"vod-cap": 7160, "day-cap": 5}
    assert told["categories"]["2"]["capped"] == {"day-cap": 2}
    assert "caps     7160 moments beyond max_per_vod, 5 targets beyond max_per_day" in render_text(report)
