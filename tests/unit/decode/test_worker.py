"""A GPU's worker process: what it answers, what it holds, and how it comes to its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from harvester.config import Decode
from harvester.decode import lanes, open_decoder
from harvester.decode.lanes import Worker, WorkerLost
from harvester.decode.nvdec import to_picture
from harvester.decode.wire import Failed, Measured
from harvester.decode.worker import Gate, Held
from harvester.model import AccessUnit
from tests.contract.streams import H264, Sample
from tests.fakes import FOLDER

ROOM = 1 << 24

Start = Callable[..., Worker]


@pytest.fixture
def start(machine: Callable[..., None]) -> Iterator[Start]:
    """Starts workers; keywords: settings of the fake."""
    with ExitStack() as stack:

        def started(
            count: int = 2,
            held_bytes: int = ROOM,
            hurried: Callable[[], bool] = lambda: False,
            **settings: object,
        ) -> Worker:
            machine(**settings)
            worker = Worker("0", count, held_bytes, hurried)
            stack.callback(worker.end)
            return worker

        yield started


def measured(worker: Worker, unit: AccessUnit) -> Measured:
    answer = worker.look(unit)
    assert isinstance(answer, Measured), answer
    return answer


def stop(worker: Worker) -> None:
    """Stop it, and wait until it is: a signal takes its time."""
    os.kill(worker.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, worker.pid, os.WSTOPPED | os.WNOWAIT)


def gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has waited for yet counts."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(600):
        if holds():
            return
        time.sleep(0.05)
    pytest.fail("it never came to that")


# -- what it answers ----------------------------------------------------------------------------------------------


def test_pictures_and_measurements_are_the_cpus(start: Start, unit: AccessUnit, other: AccessUnit) -> None:
    worker, cpu = start(), open_decoder(Decode(backend="cpu"))
    for one in (unit, other, unit):
        look, answer = cpu.look(one), measured(worker, one)
        np.testing.assert_array_equal(answer.measurement.grid, look.measurement.grid)
        np.testing.assert_array_equal(answer.measurement.histogram, look.measurement.histogram)
        assert answer.handle is not None
        picture, wanted = to_picture(worker.give(answer.handle), one.stream), look.picture()
        for plane in ("y", "u", "v"):
            np.testing.assert_array_equal(getattr(picture, plane), getattr(wanted, plane))


def test_more_threads_than_lanes_get_their_own_pictures(start: Start, unit: AccessUnit, other: AccessUnit) -> None:
    worker = start(2)
    wanted = {one: measured(worker, one).measurement.gradient for one in (unit, other)}
    wrong: list[object] = []

    def work(one: AccessUnit) -> None:
        for _ in range(6):
            answer = worker.look(one)
            if not isinstance(answer, Measured) or answer.measurement.gradient != wanted[one]:
                wrong.append(answer)

    threads = [threading.Thread(target=work, args=(one,)) for one in (unit, other) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_lane_that_knows_the_size_is_taken(
    start: Start, unit: AccessUnit, other: AccessUnit, tmp_path: Path
) -> None:
    worker = start(2, notes=tmp_path)
    for one in (unit, other, other, unit, unit, other):  # in turns, each lane would meet both
        measured(worker, one)
    assert len((tmp_path / "decoders").read_text().splitlines()) == 2


def test_a_picture_with_a_printed_error_is_not_believed(start: Start, unit: AccessUnit) -> None:
    worker = start(hurt_at="1,3,4")
    measured(worker, unit)  # the second look, alone, is clean
    answer = worker.look(unit)
    assert isinstance(answer, Failed) and (answer.kind, "error" in answer.why) == ("corrupt", True)
    measured(worker, unit)


def test_what_the_package_raises_is_an_answer(start: Start, unit: AccessUnit) -> None:
    worker = start(fail_at="1")
    answer = worker.look(unit)
    assert isinstance(answer, Failed) and answer.kind == "device"
    measured(worker, unit)


# -- what it holds ------------------------------------------------------------------------------------------------


def test_pictures_are_held_up_to_a_bound_and_let_go_of(start: Start, unit: AccessUnit) -> None:
    size = unit.stream.width * unit.stream.height * 3 // 2
    worker = start(held_bytes=2 * size)
    first, second, third = (measured(worker, unit) for _ in range(3))
    assert first.handle is not None and second.handle is not None and third.handle is None
    assert third.measurement.gradient == first.measurement.gradient
    worker.let_go(first.handle)
    fourth = measured(worker, unit)
    assert fourth.handle is not None
    assert worker.give(second.handle).shape == worker.give(fourth.handle).shape


def test_a_held_picture_outlives_the_next_of_its_kind(start: Start, unit: AccessUnit) -> None:
    worker, next_one = start(1), Sample("next", H264, scene="teeworlds-ctf2").unit()
    assert next_one.stream == unit.stream
    held = measured(worker, unit)
    measured(worker, next_one)
    assert held.handle is not None
    luma = worker.give(held.handle)[: unit.stream.height]
    np.testing.assert_array_equal(np.bincount(luma.ravel(), minlength=256), held.measurement.histogram)


def test_a_handle_that_is_not_held_may_be_let_go_of() -> None:
    held = Held(100)
    handle = held.keep(np.zeros(60, np.uint8))
    assert handle is not None and held.keep(np.zeros(60, np.uint8)) is None
    held.let_go([handle, handle, 77])
    assert held.nbytes == 0


def test_who_passes_a_gate_alone_has_nobody_beside() -> None:
    gate, passed, may_leave = Gate(), list[str](), threading.Event()

    def alone() -> None:
        with gate.alone():
            passed.append("alone")
            may_leave.wait()

    def beside() -> None:
        with gate.beside():
            passed.append("beside")

    first, second = threading.Thread(target=alone), threading.Thread(target=beside)
    with gate.beside(), gate.beside():
        first.start()
        wait_until(lambda: gate._closed)
        first.join(0.05)
        assert not passed
    wait_until(lambda: bool(passed))
    second.start()
    second.join(0.05)
    assert passed == ["alone"]
    may_leave.set()
    first.join()
    second.join()
    assert passed == ["alone", "beside"]


# -- how it begins and ends ---------------------------------------------------------------------------------------


def test_a_worker_that_cannot_work_says_why(start: Start) -> None:
    with pytest.raises(WorkerLost, match="libnvidia-encode"):
        start(driver="no-encode")


def test_a_driver_that_ends_the_process_is_a_loss_with_its_last_words(start: Start, unit: AccessUnit) -> None:
    worker = start(driver="cuinit")
    with pytest.raises(WorkerLost):
        worker.look(unit)
    worker.wait()
    assert worker.how_it_ended().startswith("exit code 1; its last words: [FATAL]")
    assert "CUDA driver API error" in worker.how_it_ended()


def test_who_waits_for_a_worker_that_is_killed_is_told(start: Start, unit: AccessUnit) -> None:
    worker = start()
    stop(worker)  # in the middle: the question lies there
    lost: list[WorkerLost] = []

    def ask() -> None:
        try:
            worker.look(unit)
        except WorkerLost as error:
            lost.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]  # two in a lane, two before it
    for thread in threads:
        thread.start()
    worker.end()
    for thread in threads:
        thread.join()
    assert len(lost) == 4
    assert gone(worker.pid)
    with pytest.raises(WorkerLost):
        worker.look(unit)


def test_one_that_hangs_is_lost(start: Start, unit: AccessUnit, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = start()
    monkeypatch.setattr(lanes, "ANSWER_S", 0.01)
    stop(worker)
    with pytest.raises(WorkerLost, match="no answer"):
        worker.look(unit)
    worker.end()
    assert gone(worker.pid)


def test_one_that_stops_in_the_middle_of_an_answer_is_lost(
    start: Start, unit: AccessUnit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "REST_S", 1)
    half = "import os, sys, json; told = json.loads(sys.argv[1]); "
    half += "from multiprocessing.connection import Connection; from harvester.decode.wire import Hello; "
    half += "control = Connection(told['control']); control.send(Hello()); os.read(told['lanes'][0][0], 4096); "
    half += "os.write(told['lanes'][0][0], b'\\0\\0\\1'); os.read(told['control'], 1)"
    path = f"import sys; sys.path[:] = {sys.path!r}; "
    monkeypatch.setattr(lanes.children, "command", lambda _, told: [sys.executable, "-c", path + half, told])
    worker = start(1)
    with pytest.raises(WorkerLost, match="beginning"):
        worker.look(unit)


def test_who_must_end_does_not_wait_for_one_that_hangs(
    start: Start, unit: AccessUnit, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry = threading.Event()
    worker = start(hurried=hurry.is_set)
    measured(worker, unit)
    hurry.set()
    measured(worker, unit)  # what answers is heard
    monkeypatch.setattr(lanes, "ANSWER_S", 3600.0)
    stop(worker)
    with pytest.raises(WorkerLost, match="no answer"):
        worker.look(unit)


def test_who_must_end_does_not_wait_for_one_that_hangs_at_its_start(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(3600)"]
    monkeypatch.setattr(lanes.children, "command", lambda *_: hanging)
    monkeypatch.setattr(lanes, "START_S", 3600.0)
    with pytest.raises(WorkerLost, match="not started"):
        start(hurried=lambda: True)


def test_a_ctrl_c_meant_for_the_run_does_not_end_it(start: Start, unit: AccessUnit) -> None:
    worker = start()
    assert os.getsid(worker.pid) != os.getsid(0)
    os.kill(worker.pid, signal.SIGINT)
    measured(worker, unit)


def test_nothing_is_left_open(start: Start, unit: AccessUnit) -> None:
    before = set(os.listdir("/proc/self/fd"))
    worker = start(3)
    measured(worker, unit)
    worker.end()
    assert set(os.listdir("/proc/self/fd")) == before


HANGING = """
import time
from harvester.decode import driver, worker

driver.LIFE_S = 1
worker.refusal = lambda: time.sleep(99)
worker.main()
"""


def test_one_that_hangs_at_its_start_ends_without_its_parent_too() -> None:
    mine, control = socket.socketpair()
    with mine, control:
        told = {"control": control.fileno(), "lanes": [], "held_bytes": 0, "decoders": 1}
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", HANGING, json.dumps(told)]
        ended = subprocess.run(command, env=environment, pass_fds=[control.fileno()], check=False)
    assert ended.returncode == -signal.SIGALRM


PARENT = """
import json, os, sys
from harvester.decode.lanes import Worker
from harvester.model import AccessUnit, Codec, StreamInfo

worker = Worker("0", 2, 1 << 24)
unit = AccessUnit(StreamInfo(Codec.H264, 320, 192), open(sys.argv[1], "rb").read(), 0.0)
print(json.dumps([worker.pid, worker.look(unit).handle]), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_its_parent_and_leaves_nothing(
    number: signal.Signals, unit: AccessUnit, tmp_path: Path
) -> None:
    (tmp_path / "unit").write_bytes(unit.data)
    shared = set(os.listdir("/dev/shm"))
    path = os.pathsep.join([str(FOLDER), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "unit")],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with parent:
        assert parent.stdout is not None
        pid, handle = json.loads(parent.stdout.readline())
        assert handle is not None and not gone(pid)
        parent.send_signal(number)
        parent.wait()
    wait_until(lambda: gone(pid))
    assert set(os.listdir("/dev/shm")) == shared
