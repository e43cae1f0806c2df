"""What is made of the records: which goals are met, and the table."""

from __future__ import annotations

from typing import Any

import pytest
from gpu import book, goals, plan, telling


def _records(**changes: Any) -> list[book.Record]:
    """Those of a GPU that meets all goals, with some values changed: ``fps``, ``util``, ``same`` ..."""
    given = {"fps": 2800, "util": 70.0, "threaded": 3000, "gpu_fps": 2500, "cpu_ms": 0.4, "same": True} | changes
    given = {"growth": 0.01, "passed": "corrupt", "wrong": 0} | given
    step = {
        ("exactness", "case"): {"routed": False, "same": given["same"], "measurement_same": True},
        ("exactness", "a-b-a keyed"): {"same": given["same"]},
        ("measuring", "same"): {"same": given["same"]},
        ("modes", "mode"): {"latency": "LOW", "end_of_picture": True, "one_in_one_out": given["same"]},
        ("interop", "race"): {"frames": 2000, "wrong": given["wrong"]},
        ("throughput", "decode only"): {"fps": given["fps"], "decoder_util": given["util"]},
        ("throughput", "threaded decoder"): {"fps": given["threaded"]},
        ("throughput", "libavcodec"): {"fps": 500},
        ("measuring", "decode and measure"): {
            "device": True,
            "fps": given["gpu_fps"],
            "cpu_ms_per_frame": given["cpu_ms"],
        },
        ("worker", "damage"): {"said": {"cut": "corrupt", "noise": given["passed"]}},
        ("worker", "looks"): {
            "backend": "nvdec",
            "stream": "1080p",
            "kept_one_in": 0,
            "fps": 2400,
            "cpu_ms_per_frame": given["cpu_ms"],
        },
        ("soak", "soak"): {"rss_mb_per_s": given["growth"], "gpu_mb_per_s": given["growth"]},
    }
    return [{"step": name, "what": what, **facts} for (name, what), facts in step.items()]


class TestGoals:
    def met(self, records: list[book.Record]) -> dict[str, bool | None]:
        return {goal.name: goal.met for goal in goals.goals(records)}

    def test_a_good_gpu_meets_all_but_the_half_that_is_not_needed(self) -> None:
        met = self.met(_records())
        assert met.pop("decoder utilisation, %") is False  # 70 %, but 0.93 of the threaded decoder
        assert met.pop("either of these two") is True
        assert set(met.values()) == {True, None}
        assert sum(verdict is None for verdict in met.values()) == 3  # what is only shown

    @pytest.mark.parametrize(
        ("changes", "missed"),
        [
            ({"same": False}, 4),
            ({"fps": 2600}, 2),  # 0.87 of the threaded decoder, and so neither of the two
            ({"gpu_fps": 2300}, 1),
            ({"cpu_ms": 0.6}, 2),
            ({"growth": 0.3}, 2),
            ({"passed": "passed"}, 1),
            ({"wrong": 1}, 1),
        ],
    )
    def test_each_can_be_missed(self, changes: dict[str, Any], missed: int) -> None:
        met = self.met(_records(**changes))
        assert met.pop("decoder utilisation, %") is False
        assert list(met.values()).count(False) == missed

    def test_utilisation_alone_is_enough(self) -> None:
        assert self.met(_records(util=85.0, fps=2000))["either of these two"] is True

    def test_what_was_not_measured_is_not_met_and_not_missed(self) -> None:
        assert set(self.met([]).values()) == {None}

    def test_a_stand_in_meets_none(self) -> None:
        assert self.met([record | {"fake": True} for record in _records()]) == {}

    def test_a_case_that_failed_is_a_stream_with_other_bits(self) -> None:
        failed = {"step": "exactness", "what": "case", "routed": False, "failed": "DeviceError"}
        shares = [goal.value for goal in goals.goals([*_records(), failed]) if "same bits" in goal.name]
        assert shares == [0.5]
        routed = [goal.value for goal in goals.goals([*_records(), failed | {"routed": True}])]
        assert routed[0] == 1


def test_the_table_shows_steps_the_grid_what_is_lacking_and_the_goals() -> None:
    cell = {"step": "throughput", "what": "cell", "lines": 1080, "size_kb": 200, "latency": "LOW", "device": True}
    records = [
        *_records(),
        *(cell | {"sessions": count, "fps": 400.0 * count} for count in (1, 7)),
        {"step": "interop", "what": "take", "lacks": "cupy"},
        {"step": "interop", "what": "take", "lacks": "cupy"},
        {"step": "jpeg", "what": "cv2", "failed": "ValueError: what was wrong"},
    ]
    shown = telling.table(records, plan.STEPS)
    assert "take: 2 left out, cupy is not installed" in shown
    assert "cv2: failed ValueError: what was wrong" in shown
    grid = next(line for line in shown.splitlines() if "1080p 200 kB" in line)
    assert grid.split()[-2:] == ["400", "2800"]
    assert "decoding / ThreadedDecoder: 0.933, goal >= 0.9: met" in shown
    assert "decoder utilisation, %: 70, goal >= 80: NOT MET" in shown
    fake = telling.table([{"step": "modes", "what": "mode", "fake": True}], plan.STEPS)
    assert "no results of hardware" in fake and "met" not in fake
