"""What ``scripts/gpu_check.py`` is made of and needs no GPU: time, records, guards, rates, streams, goals, table."""

from __future__ import annotations

import ctypes
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from gpu import book, driver, plan, rates, reference, streams, watching
from gpu.book import Book, found
from gpu.check import Check
from gpu.step_jpeg import psnr

from harvester.model import Codec

ROOT = Path(__file__).parents[3]


def test_a_gpu_whose_uuid_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise driver.DriverError("cuDeviceGetUuid gives 801")

    cuda = object.__new__(driver.Cuda)
    cuda._device = ctypes.c_int(0)
    monkeypatch.setattr(cuda, "_call", refuse)
    assert cuda.uuid() is None


class TestPlan:
    def test_all_steps_fit_below_nine_minutes(self) -> None:
        assert sum(step.limit_s for step in plan.STEPS) + plan.GRACE_S <= plan.TOTAL_S <= 540 - 2 * plan.GRACE_S

    def test_every_step_is_a_module(self) -> None:
        for step in plan.STEPS:
            assert (ROOT / "scripts" / f"{step.module.replace('.', '/')}.py").is_file()

    def test_a_step_gets_its_limit_or_what_is_left(self) -> None:
        step = plan.Step("x", "", 20)
        assert plan.Budget(100).allowance_s(step) == 20
        assert 10 < plan.Budget(15).allowance_s(step) <= 15 - plan.GRACE_S
        assert plan.Budget(2 * plan.TOTAL_S).allowance_s(step) == 40
        assert plan.Budget(plan.GRACE_S).allowance_s(step) == 0

    def test_environment_and_streams_are_always_there_and_first(self) -> None:
        assert [step.name for step in plan.chosen(["jpeg", "modes"])] == [
            "environment",
            "streams",
            "modes",
            "jpeg",
        ]
        with pytest.raises(ValueError, match="mode"):
            plan.chosen(["mode"])


class TestBook:
    def test_a_record_is_on_disk_when_it_is_written(self, tmp_path: Path) -> None:
        kept = Book(tmp_path / "out.json")
        kept.write({"step": "a", "what": "b", "n": 1})
        assert book.read(kept.path) == [{"step": "a", "what": "b", "n": 1}]

    def test_the_last_results_stay_until_there_are_others(self, tmp_path: Path) -> None:
        out = tmp_path / "out.json"
        out.write_text("the last ones")
        given_up = Book(out)
        given_up.write({"step": "a", "what": "b"})
        given_up.close()
        assert out.read_text() == "the last ones" and list(tmp_path.iterdir()) == [out]
        kept = Book(out)
        kept.write({"step": "a", "what": "b"})
        kept.keep()
        kept.write({"step": "a", "what": "c"})
        kept.close()
        assert [record["what"] for record in book.read(out)] == ["b", "c"] and list(tmp_path.iterdir()) == [out]

    def test_a_stand_in_is_told_of_in_every_record(self, tmp_path: Path) -> None:
        kept = Book(tmp_path / "out.json")
        kept.fake = True
        assert kept.write({"step": "a", "what": "b"})["fake"] is True

    def test_a_line_that_was_cut_is_left_out_and_no_other(self, tmp_path: Path) -> None:
        file = tmp_path / "out.json"
        file.write_text('{"step": "a", "what": "b"}\n{"step": "a", "wh')
        assert book.read(file) == [{"step": "a", "what": "b"}]
        file.write_text('{"step": \n{"step": "a", "what": "b"}\n')
        with pytest.raises(ValueError):
            book.read(file)

    def test_found_takes_what_found_something(self) -> None:
        right = {"step": "a", "what": "b", "n": 1}
        others = [right | {key: "x"} for key in ("failed", "lacks", "out_of_time", "step", "what")]
        assert found([right, *others, right | {"n": 2}], "a", "b", n=1) == [right]


class TestCheck:
    def told(self, work: Any, limit_s: float = 60, **options: Any) -> tuple[Any, dict[str, Any]]:
        reading, writing = os.pipe()
        try:
            check = Check("step", writing, limit_s, Path(), [], quick=True)
            result = check.part("part", work, mark=7, **options)
            return result, json.loads(os.read(reading, 100_000))
        finally:
            os.close(reading), os.close(writing)

    def test_what_was_found(self) -> None:
        result, record = self.told(lambda: {"n": np.int64(3), "flag": np.bool_(True)})
        assert result == {"n": 3, "flag": True}
        assert record.pop("took_s") >= 0
        assert record == {"step": "step", "what": "part", "mark": 7, "n": 3, "flag": True}

    def test_what_is_raised_is_told_and_goes_no_further(self) -> None:
        result, record = self.told(lambda: {"n": 1 // 0})
        assert result is None and record["mark"] == 7
        assert record["failed"].startswith("ZeroDivisionError")

    def test_a_package_that_is_not_there_is_no_failure(self) -> None:
        def work() -> dict[str, Any]:
            import no_such_package  # type: ignore[import-not-found]

            return {"n": no_such_package}

        result, record = self.told(work)
        assert result is None and record["lacks"] == "no_such_package" and "failed" not in record

    def test_without_time_nothing_is_done(self) -> None:
        result, record = self.told(lambda: pytest.fail("done all the same"), limit_s=1, needs_s=5)
        assert result is None and record == {"step": "step", "what": "part", "mark": 7, "out_of_time": True}

    def test_what_c_code_printed_meanwhile_is_in_the_record(self, capfd: pytest.CaptureFixture[str]) -> None:
        def work() -> dict[str, Any]:
            ctypes.CDLL(None).printf(
                b"Decode Error occurred for picture 3\n"
            )  # buffered: standard output is a file
            return {}

        print("before", flush=True)
        _, record = self.told(work)
        assert record["printed"] == "Decode Error occurred for picture 3\n"
        assert "before" in capfd.readouterr().out


class TestRates:
    def test_counts_what_all_threads_do_and_the_time_it_takes(self) -> None:
        seen: list[int] = []

        def begun(number: int) -> rates.Turn:
            seen.append(number)

            def turn(count: int) -> int:
                del count
                threading.Event().wait(0.01)
                return 2

            return turn

        rate = rates.measure(begun, 3, 0.2, warm_up_s=0)
        assert sorted(seen) == [0, 1, 2] and rate.threads == 3
        assert 0 < rate.frames <= 3 * 2 * 20 and rate.frames % 2 == 0
        assert rate.seconds >= 0.2 and rate.p50_ms and rate.p99_ms and 10 <= rate.p50_ms <= rate.p99_ms
        assert rate.per_s == rate.frames / rate.seconds

    def test_waits_for_a_first_frame(self) -> None:
        slow = rates.measure(lambda _: lambda __: threading.Event().wait(0.05) or 1, 1, 0.001, warm_up_s=0)
        assert slow.frames >= 1 and slow.seconds > 0.01

    @pytest.mark.parametrize("when", ["opening", "turning"])
    def test_raises_what_a_thread_raised(self, when: str) -> None:
        def begun(number: int) -> rates.Turn:
            if when == "opening" and number == 1:
                raise RuntimeError("no more sessions")

            def turn(count: int) -> int:
                if number == 1 and count == 3:
                    raise RuntimeError("no more sessions")
                return 1

            return turn

        before = threading.active_count()
        with pytest.raises(RuntimeError, match="no more sessions"):
            rates.measure(begun, 3, 30, warm_up_s=0)
        assert threading.active_count() == before

    def test_percentile_and_slope(self) -> None:
        values = list(range(1, 101))
        assert (rates.percentile(values, 0.5), rates.percentile(values, 0.99)) == (50, 99)
        assert rates.percentile([7.0], 0.99) == 7 and rates.percentile([], 0.5) is None
        assert rates.slope([(x, 3 * x + 5) for x in (0.0, 1.0, 4.0)]) == pytest.approx(3)
        assert rates.slope([(1.0, 9.0)]) == rates.slope([]) == 0


class TestWatching:
    def test_a_line_of_nvidia_smi(self) -> None:
        assert watching.parsed("83, 12, 1024, 1545\n") == watching.Sample(83, 12, 1024, 1545)
        assert watching.parsed("[N/A], 12, 1024") == watching.Sample(None, 12, 1024, None)

    def test_means_are_of_the_later_two_thirds(self) -> None:
        samples = [watching.Sample(decoder, None, 5, 1000) for decoder in (0.0, 90.0, 80.0)]
        facts = watching.Seen("nvml", samples).facts()
        assert (facts["decoder_util"], facts["decoder_util_max"], facts["gpu_util"]) == (85, 90, None)
        assert facts["gpu_memory_mib"] == 5 and facts["video_mhz"] == 1000
        assert watching.Seen("").facts() == {}


#: The cases that are not long to encode.
CHEAP = [
    case
    for case in streams.CASES
    if case.name in ("1080p", "1088p") or (case.codec is not Codec.HEVC and case.height < 800)
]


@pytest.fixture(scope="module")
def units() -> dict[str, Any]:
    return {case.name: streams.exact_unit(case) for case in CHEAP}


class TestStreams:
    @pytest.mark.long
    @pytest.mark.parametrize(
        "case", [case for case in streams.CASES if case not in CHEAP], ids=lambda case: case.name
    )
    def test_the_dear_ones_are_what_they_are_called(self, case: streams.Case) -> None:
        unit = streams.exact_unit(case)
        shown = unit.stream
        assert (shown.codec, shown.width, shown.height) == (case.codec, case.width, case.height)
        assert shown.bit_depth == (10 if case.name.endswith("-10") else 8)
        assert reference.same(reference.expected(unit), unit)

    def test_cases_are_what_they_are_called(self, units: dict[str, Any]) -> None:
        shown = {name: unit.stream for name, unit in units.items()}
        for case in CHEAP:
            assert shown[case.name].codec is case.codec
            if not case.metadata:
                assert (shown[case.name].width, shown[case.name].height) == (case.width, case.height)
            assert shown[case.name].bit_depth == (10 if case.name.endswith("-10") else 8)
        assert shown["1080p"].coded_height == shown["1088p"].coded_height == shown["1088p"].height == 1088
        assert shown["left-crop"].crop[:2] == (16, 8) and shown["interlaced"].interlaced
        assert shown["full-range"].full_range and (shown["bt601"].matrix, shown["bt709"].matrix) == (6, 1)
        assert units["slices"].data.count(b"\0\0\1\x65") == 8

    def test_the_cpu_decodes_them_all(self, units: dict[str, Any]) -> None:
        for unit in units.values():
            block = reference.expected(unit)
            assert block.shape == streams.shape_of(unit.stream) and reference.same(block, unit)
        assert not reference.same(reference.expected(units["720p"]), units["b-frames"])

    def test_chroma_is_interleaved_as_nv12_has_it(self, units: dict[str, Any]) -> None:
        with av.open(io.BytesIO(units["720p"].data), format="h264") as container:
            frame = next(container.decode(video=0)).reformat(format="nv12")
        np.testing.assert_array_equal(reference.expected(units["720p"]), frame.to_ndarray())

    def test_quick_runs_have_what_the_steps_ask_for(self) -> None:
        assert set(streams.QUICK_CASES) <= {case.name for case in streams.CASES}
        for quick in (True, False):
            keys = streams.sized_keys(quick=quick)
            assert {(Codec.H264, 1080, 200), (Codec.H264, 720, 100), (Codec.H264, 480, 50)} <= set(keys)
            assert any(codec is Codec.HEVC for codec, _, _ in keys)

    @pytest.mark.parametrize("size_kb", [50, 200])
    def test_keyframes_have_about_the_size_asked_for(self, size_kb: int) -> None:
        unit = streams.sized_unit(Codec.H264, 720, size_kb, 1)
        assert size_kb * 0.8 < len(unit.data) / 1000 < size_kb * 1.25
        assert (unit.stream.width, unit.stream.height) == (1280, 720)

    def test_the_movie_holds_the_keyframes_in_turn(self, units: dict[str, Any]) -> None:
        pair = [units["b-frames"], units["720p"]]
        with av.open(io.BytesIO(streams.movie(pair, 5))) as container:
            shown = [frame.to_ndarray()[:720] for frame in container.decode(video=0)]
        wanted = [reference.expected(pair[number % 2])[:720] for number in range(5)]
        assert len(shown) == 5 and all(map(np.array_equal, shown, wanted))

    def test_damage_keeps_the_length_and_changes_the_middle(self, units: dict[str, Any]) -> None:
        data = units["720p"].data
        hurt = streams.damaged(data)
        assert (
            len(hurt) == len(data) and hurt != data and hurt[:1000] == data[:1000] and hurt[-1000:] == data[-1000:]
        )


def test_psnr_of_pictures() -> None:
    picture = np.full((4, 4, 3), 100, np.uint8)
    assert psnr(picture, picture) is None
    assert psnr(picture, picture + np.uint8(1)) == pytest.approx(48.13, abs=0.01)


def test_what_decodes_needs_no_package_that_only_a_configuration_does() -> None:
    """A machine that is borrowed for the check has the codecs' packages, and may have no others."""
    absent = ("pydantic", "aiohttp", "click", "rich", "pyarrow", "twitchAPI", "streamlink", "jinja2")
    steps = [step.module for step in plan.STEPS]
    code = f"import sys, importlib\nfor name in {absent}: sys.modules[name] = None\n" + (
        f"for name in {[*steps, 'harvester.decode.worker', 'harvester.decode.trial', 'harvester.decode.routing', 'harvester.decode.nvdec_av']}: "
        "importlib.import_module(name)"
    )
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts")])}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
