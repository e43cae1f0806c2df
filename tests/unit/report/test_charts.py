"""Charts: bars from zero, on one scale, parts in the legend's colours, and nothing lost in "all others"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.report.charts import COLOURS, COLUMN, GAP, HEIGHT, REST, Chart, columns, shares


def heights(chart: Chart, number: int) -> dict[str, float]:
    left = number * COLUMN + GAP
    return {chart.legend[part.colour]: part.height for part in chart.parts if part.x == left}


def test_columns_share_one_scale_and_stand_upon_each_other():
    chart = columns([("1st", {"kept": 30, "dropped": 10}), ("2nd", {"kept": 20})], ("kept", "dropped"))
    assert (chart.highest, chart.legend) == (40, ("kept", "dropped"))
    assert heights(chart, 0) == pytest.approx({"kept": 75, "dropped": 25})
    assert heights(chart, 1) == pytest.approx({"kept": 50})
    kept, dropped, second = chart.parts
    assert (kept.y + kept.height, dropped.y + dropped.height, dropped.y) == pytest.approx((HEIGHT, kept.y, 0))
    assert second.y == pytest.approx(HEIGHT / 2)
    assert (kept.title, second.title) == ("1st: 30 kept", "2nd: 20 kept")


def test_the_largest_have_colours_of_their_own_and_the_rest_is_one():
    counts = {f"reason {n}": n for n in range(1, 21)}
    chart = columns([("night", counts)])
    assert len(chart.legend) == COLOURS
    assert chart.legend[0] == "reason 20"
    assert chart.legend[-1] == REST
    rest = sum(sorted(counts.values())[: 20 - (COLOURS - 1)])
    assert chart.parts[-1].title == f"night: {rest} {REST}"
    assert sum(part.height for part in chart.parts) == pytest.approx(HEIGHT)


@pytest.mark.parametrize("bars", [[], [("night", {})], [("night", {"kept": 0})]])
def test_nothing_is_an_empty_chart(bars):
    chart = columns(bars)
    assert (chart.highest, chart.parts, chart.legend) == (0, (), ())


def test_a_share_is_one_bar_of_a_hundred():
    chart = shares({"test": 1, "train": 8, "validation": 1}, ("train", "validation", "test"))
    assert [(part.x, part.width) for part in chart.parts] == [(0, 80), (80, 10), (90, 10)]
    assert chart.legend == ("train", "validation", "test")
    assert chart.parts[0].title == "train: 8 (80 %)"
    assert shares({"train": 0}).parts == ()


@given(st.dictionaries(st.text(max_size=5), st.integers(0, 10**12), max_size=30))
def test_whatever_is_counted_fills_the_bar_and_no_more(counts):
    chart = shares(counts)
    assert sum(part.width for part in chart.parts) == pytest.approx(100 if any(counts.values()) else 0)
    assert all(0 <= part.colour < len(chart.legend) <= COLOURS for part in chart.parts)
