"""The shell scripts, run for real in a small copy of the repository whose ``harvester`` is a stub that writes down
how it was called."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import program

ROOT = Path(__file__).parents[2]
SCRIPTS = [ROOT / "scripts" / name for name in ("run", "test", "check", "_venv.sh", "_sandbox.sh")] + [
    ROOT / "scripts" / name for name in ("nightly.sh", "install-systemd")
]
SCRIPTS.append(ROOT / ".ci" / "run")
#: Where a machine has its settings and daemons' units: the same everywhere.
EVERYWHERE = {"/usr/bin/env", "/dev/null", "/opt/harvester/scripts/nightly.sh", "/etc/harvester"}
EVERYWHERE |= {"/etc/harvester/config.toml", "/etc/systemd/system", "/data/frames"}
BASH = shutil.which("bash") or "bash"

#: Stands for .venv/bin/harvester: as ``sandbox`` it serves until it is ended, as ``run`` it notes what it was given.
STUB = r"""#!/usr/bin/env bash
if [ "$1" = sandbox ]; then
    [ -z "${STUB_SANDBOX_FAILS:-}" ] || { echo "port taken"; exit 9; }
    echo $$ >"$STUB_NOTES/sandbox.pid"
    echo 'TWITCH_CLIENT_ID=sandbox' >"$5.env"
    echo 'TWITCH_CLIENT_SECRET="of the sandbox"' >>"$5.env"
    printf '%s\n' "$@" >"$STUB_NOTES/sandbox.arguments"
    echo '[endpoints]' >"$5"
    exec tail -f /dev/null
fi
printf '%s\n' "$@" >"$STUB_NOTES/run.arguments"
env >"$STUB_NOTES/run.environment"
pwd >"$STUB_NOTES/run.directory"
echo '{"status": "done"}'
[ -z "${STUB_WAITS:-}" ] || exec tail -f /dev/null
exit "${STUB_CODE:-0}"
"""


@pytest.fixture(autouse=True)
def bash() -> str:
    return program("bash")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A repository of scripts alone, set up already, with the stub in its virtual environment."""
    root = tmp_path / "repo sitory"  # a path with a space, on purpose
    shutil.copytree(ROOT / "scripts", root / "scripts")
    shutil.copy(ROOT / "pyproject.toml", root)
    stub = root / ".venv" / "bin" / "harvester"
    stub.parent.mkdir(parents=True)
    stub.write_text(STUB)
    stub.chmod(0o755)
    stub.with_name("python").symlink_to(shutil.which("python3"))
    stamp = f'. "{root}/scripts/_venv.sh"; echo "$(venv_stamp) run" >"$VENV/harvester-stamp"'
    subprocess.run([BASH, "-c", stamp], check=True)
    (tmp_path / "notes").mkdir()
    (tmp_path / "tmp").mkdir()
    return root


def environment(copy: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(copy),
        "TMPDIR": str(copy.parent / "tmp"),
        "STUB_NOTES": str(copy.parent / "notes"),
        **more,
    }


def run(copy: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [str(copy / "scripts" / "run"), *arguments]
    return subprocess.run(
        command,
        env=environment(copy, **more),
        cwd=copy.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def noted(copy: Path, name: str) -> str:
    return (copy.parent / "notes" / name).read_text()


def gone(copy: Path) -> bool:
    """Whether the stub's sandbox has ended and taken its folder along."""
    try:
        os.kill(int(noted(copy, "sandbox.pid")), 0)
    except ProcessLookupError:
        return not any((copy.parent / "tmp").iterdir())
    return False


def wait_until(holds) -> None:
    """Looks again and again, some ten seconds at most."""
    for _ in range(200):
        if holds():
            return
        subprocess.run(["sleep", "0.05"], check=True)
    raise AssertionError("it did not happen")


# --- what they look like ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_can_read_it(script):
    subprocess.run([BASH, "-n", str(script)], check=True)


@pytest.mark.parametrize(
    "script", [s for s in SCRIPTS if not s.suffix], ids=lambda path: str(path.relative_to(ROOT))
)
def test_commands_are_executable_and_stop_at_the_first_failure(script):
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / "scripts" / "constraints.txt"], ids=lambda path: path.name)
def test_no_machines_paths_or_hosts(script):
    text = script.read_text()
    paths = set(re.findall(r"""(?<![\w$}"/.])/[a-z]+/[\w/.-]*""", text))
    assert paths <= EVERYWHERE
    assert "://" not in text


def test_constraints_are_exact_pins_of_all_that_is_needed():
    lines = [line for line in (ROOT / "scripts" / "constraints.txt").read_text().splitlines() if line[0] != "#"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line) for line in lines)
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    assert len(pinned) == len(lines)
    project = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[0]
    asked = {name.lower() for name in re.findall(r'"([A-Za-z0-9-]+)>=', project)}
    assert asked
    assert asked <= pinned


# --- scripts/run with arguments ----------------------------------------------------------------------------------------


def test_arguments_go_to_the_run_as_they_are_from_where_the_user_stands(copy):
    done = run(copy, "--category", "Hades II; $(x) *", "--out", "", STUB_CODE="4", TWITCH_CLIENT_ID="mine")
    assert done.returncode == 4
    assert done.stderr == ""
    assert noted(copy, "run.arguments").splitlines() == ["run", "--category", "Hades II; $(x) *", "--out", ""]
    assert noted(copy, "run.directory").strip() == str(copy.parent)
    assert "TWITCH_CLIENT_ID=mine\n" in noted(copy, "run.environment")
    assert not (copy.parent / "notes" / "sandbox.pid").exists()


# --- scripts/run alone: the demo ---------------------------------------------------------------------------------------


def test_the_demo_runs_against_the_sandbox_with_its_credentials_and_no_one_elses(copy):
    done = run(
        copy,
        TWITCH_CLIENT_ID="mine",
        TWITCH_CLIENT_SECRET_FILE="/mine",
        HARVESTER_DEDUPE_RADIUS="0",
        http_proxy="http://proxy.example",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, '{"status": "done"}\n', "")
    arguments = noted(copy, "run.arguments").splitlines()
    assert arguments[:2] == ["run", "--config"]
    assert arguments[2].endswith("/sandbox.toml")
    assert arguments[3:-1] == ["--top", "5", "--frames", "8", "--out"]
    assert arguments[-1] == f"{copy}/demo"
    assert noted(copy, "sandbox.arguments").splitlines() == [
        "sandbox",
        "--port",
        "0",
        "--config-out",
        arguments[2],
    ]
    seen = noted(copy, "run.environment")
    assert "TWITCH_CLIENT_ID=sandbox\n" in seen
    assert "TWITCH_CLIENT_SECRET=of the sandbox\n" in seen
    assert "TWITCH_CLIENT_SECRET_FILE" not in seen
    assert "HARVESTER_" not in seen
    assert "no_proxy=127.0.0.1,localhost" in seen
    wait_until(lambda: gone(copy))


def test_the_demos_exit_code_is_the_runs(copy):
    assert run(copy, STUB_CODE="75").returncode == 75
    wait_until(lambda: gone(copy))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_signal_reaches_the_run_and_the_sandbox_ends_with_it(copy, number):
    demo = subprocess.Popen(
        [str(copy / "scripts" / "run")],
        env=environment(copy, STUB_WAITS="yes"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: (copy.parent / "notes" / "run.directory").exists())
    demo.send_signal(number)
    assert demo.wait(timeout=60) == -number
    wait_until(lambda: gone(copy))


def test_a_sandbox_that_does_not_start_is_told_with_its_last_words(copy):
    done = run(copy, STUB_SANDBOX_FAILS="yes")
    assert done.returncode == 1
    assert done.stderr == "error: the sandbox ended before it was ready; its last lines:\nport taken\n"
    assert not (copy.parent / "notes" / "run.arguments").exists()
    wait_until(lambda: not any((copy.parent / "tmp").iterdir()))


# --- setting up ---------------------------------------------------------------------------------------------------------


def fake_python(folder: Path, body: str) -> str:
    """A PATH whose pythons are all the shell program ``body``."""
    folder.mkdir()
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
        (folder / name).write_text(f"#!{BASH}\n{body}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_an_old_python_is_told(copy, tmp_path):
    shutil.rmtree(copy / ".venv")
    path = fake_python(tmp_path / "old", '[ "$1" = --version ] && echo "Python 3.9.2" || exit 1')
    done = run(copy, PATH=path)
    assert done.returncode == 2
    assert "error: Python 3.11 or newer is needed, and python3 here is Python 3.9.2: install" in done.stderr


def test_a_python_without_venv_is_told_what_to_install(copy, tmp_path):
    shutil.rmtree(copy / ".venv")
    path = fake_python(tmp_path / "bare", '[[ "$2" = *version_info* ]]')
    done = run(copy, PATH=path)
    assert done.returncode == 2
    assert "has no venv module: install it (Debian and Ubuntu: apt-get install python3-venv)" in done.stderr


@pytest.fixture
def noting_python(copy: Path) -> Path:
    """The copy's .venv/bin/python becomes a program that notes each ``-m`` command and claims success."""
    notes = copy.parent / "notes" / "python"
    program = copy / ".venv" / "bin" / "python"
    program.unlink()
    program.write_text(
        f'#!{BASH}\n[ "$1" != -m ] || echo "$@" >>"{notes}"\n[ "$1" != --version ] || echo "Python 3.11.0"\n'
    )
    program.chmod(0o755)
    return notes


def test_what_changed_is_installed_once_by_the_constraints(copy, noting_python):
    for _ in range(2):
        assert run(copy, "--version").returncode == 0
    installs = noting_python.read_text().splitlines()
    assert len(installs) == 2
    assert all(f"-c {copy}/scripts/constraints.txt" in install for install in installs)
    assert installs[0].endswith("hatchling editables")
    assert installs[1].endswith(f"--no-build-isolation -e {copy}")
    with (copy / "pyproject.toml").open("a") as project:
        project.write("# changed\n")
    assert run(copy, "--version").returncode == 0
    assert len(noting_python.read_text().splitlines()) == 4


def test_an_installation_that_fails_is_told_and_done_again_even_if_nothing_is_new(copy, noting_python):
    assert run(copy, "--version").returncode == 0
    program, project = copy / ".venv" / "bin" / "python", copy / "pyproject.toml"
    working, written = program.read_text(), project.read_text()
    program.write_text(f'{working}[ "$1" != -m ]\n')
    project.write_text(f"{written}# changed\n")
    done = run(copy, "--version")
    assert done.returncode == 2
    assert "error: pip could not install what harvester needs" in done.stderr
    program.write_text(working)
    project.write_text(written)  # what is half installed is not what this asks for
    installs = noting_python.read_text().count("pip install")
    assert run(copy, "--version").returncode == 0
    assert noting_python.read_text().count("pip install") == installs + 2


# --- scripts/test -------------------------------------------------------------------------------------------------------


def run_tests(copy: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [str(copy / "scripts" / "test"), *arguments]
    return subprocess.run(command, env=environment(copy, **more), capture_output=True, text=True, check=False)


def test_tests_leave_the_long_ones_out_unless_asked(copy, noting_python):
    (copy / "scripts" / "test-apt.txt").write_text("bash\n")
    assert run_tests(copy, "tests/unit", "-k", "clock").returncode == 0
    assert run_tests(copy, "--full").returncode == 0
    short, full = [line for line in noting_python.read_text().splitlines() if line.startswith("-m pytest")]
    assert re.fullmatch(r"-m pytest -n \d+ -m not long tests/unit -k clock", short)
    assert re.fullmatch(r"-m pytest -n \d+", full)
    assert noting_python.read_text().count(f"-e {copy}[dev]") == 1


def test_an_absent_program_is_a_hint_but_in_ci_or_in_full_a_failure(copy, noting_python):
    (copy / "scripts" / "test-apt.txt").write_text("bash\nno-such-program\n")
    hinted = run_tests(copy)
    assert hinted.returncode == 0
    assert "left out: apt-get install no-such-program" in hinted.stderr
    for refused in (run_tests(copy, "--full"), run_tests(copy, CI="true")):
        assert refused.returncode == 2
        assert (
            "error: the tests need programs that are not here: apt-get install no-such-program" in refused.stderr
        )


# --- scripts/nightly.sh -------------------------------------------------------------------------------------------------


def night(copy: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [str(copy / "scripts" / "nightly.sh"), *arguments]
    logs = {"HARVESTER_LOGS": str(copy.parent / "logs"), **more}
    return subprocess.run(
        command, env=environment(copy, **logs), cwd=copy.parent, capture_output=True, text=True, check=False
    )


def test_a_good_night_is_silent_and_leaves_its_log(copy):
    done = night(copy, "--out", "my frames")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    given = noted(copy, "run.arguments").splitlines()
    assert given == ["run", "--log-format", "json", "--json", "--out", "my frames"]
    assert noted(copy, "run.directory").strip() == str(copy.parent)
    (log,) = (copy.parent / "logs").iterdir()
    assert log.read_text() == '{"status": "done"}\n'


@pytest.mark.parametrize("code", ["1", "5", "75"])
def test_a_bad_night_tells_its_last_lines_and_passes_the_code_on(copy, code):
    done = night(copy, "--out", "frames", STUB_CODE=code)
    assert done.returncode == int(code)
    head, last = done.stderr.splitlines()
    assert head.startswith(
        f"harvester: this night ended with exit code {code}; the last lines of {copy.parent}/logs/"
    )
    assert last == '{"status": "done"}'


def test_the_oldest_logs_go(copy):
    logs = copy.parent / "logs"
    logs.mkdir()
    for day in range(1, 62):
        (logs / f"20260101T0000{day:02}Z-1.log").write_text("old")
    (logs / "of-someone-else.txt").write_text("mine")
    assert night(copy, "--out", "frames").returncode == 0
    left = sorted(file.name for file in logs.glob("*.log"))
    assert (len(left), left[0]) == (60, "20260101T000003Z-1.log")
    assert (logs / "of-someone-else.txt").exists()


def test_credentials_come_from_files_unless_the_environment_has_them(copy):
    secrets = copy / ".config" / "harvester"
    secrets.mkdir(parents=True)
    for name in ("twitch-client-id", "twitch-client-secret"):
        (secrets / name).write_text("secret")
    assert night(copy, "--out", "frames", TWITCH_CLIENT_ID="mine").returncode == 0
    seen = noted(copy, "run.environment")
    assert f"TWITCH_CLIENT_SECRET_FILE={secrets}/twitch-client-secret\n" in seen
    assert "TWITCH_CLIENT_ID_FILE" not in seen


def test_a_night_of_nothing_is_refused(copy):
    done = night(copy)
    assert done.returncode == 2
    assert done.stderr.startswith("error: say what to harvest")
    assert not (copy.parent / "notes" / "run.arguments").exists()


# --- scripts/install-systemd --------------------------------------------------------------------------------------------


def install(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(copy / "scripts" / "install-systemd"), "--root", str(copy.parent / "machine"), *arguments]
    return subprocess.run(
        command, env=environment(copy), cwd=copy.parent, capture_output=True, text=True, check=False
    )


def units(copy: Path) -> dict[str, str]:
    folder = copy.parent / "machine" / "etc" / "systemd" / "system"
    return {file.name: file.read_text() for file in folder.iterdir()} if folder.exists() else {}


def test_the_units_name_this_installation_and_systemd_takes_them(copy):
    (copy.parent / "my config.toml").write_text("")
    done = install(copy, "--config", "my config.toml", "--out", "all & frames", "--user", "root")
    assert done.returncode == 0, done.stderr
    assert "twitch-client-secret" in done.stderr  # says where the secret is to be put
    found = units(copy)
    assert set(found) == {"harvester.service", "harvester.timer"}
    service = found["harvester.service"]
    assert not re.search(r"@\w+@", service)
    out = copy.parent / "all & frames"
    config = copy.parent / "my config.toml"
    start = f'"{copy}/.venv/bin/harvester" run --log-format text --config "{config}" --out "{out}"'
    assert f"\nExecStart={start}\n" in service
    assert f'\nReadWritePaths="{out}"\n' in service
    assert "\nUser=root\n" in service
    assert out.is_dir()
    if shutil.which("systemd-analyze"):  # has said nothing, then
        assert "Unknown" not in done.stderr
        assert "ignoring" not in done.stderr


def test_a_unit_that_systemd_refuses_is_an_error(copy):
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze on this machine")
    (copy.parent / "c.toml").write_text("")
    with (copy / "scripts" / "systemd" / "harvester.service").open("a") as service:
        service.write("[Service]\nRestart=always\n")
    done = install(copy, "--config", "c.toml", "--out", "frames", "--user", "root")
    assert done.returncode == 2
    assert "error: systemd does not take these units" in done.stderr


def test_removing_leaves_everything_else(copy):
    (copy.parent / "c.toml").write_text("")
    assert install(copy, "--config", "c.toml", "--out", "frames", "--user", "root").returncode == 0
    (copy.parent / "machine" / "etc" / "systemd" / "system" / "other.service").write_text("")
    assert install(copy, "--remove").returncode == 0
    assert set(units(copy)) == {"other.service"}
    assert (copy.parent / "frames").is_dir()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--out", "frames"], "--config FILE is missing"),
        (["--config", "c.toml"], "--out DIR is missing"),
        (["--config", "absent.toml", "--out", "frames"], "--config absent.toml: there is no such file"),
        (
            ["--config", "c.toml", "--out", "frames", "--user", "nobody-such"],
            "--user nobody-such: there is no such user",
        ),
        (["--config", "c.toml", "--out", 'a"b'], "a unit cannot name a path with one of"),
        (["--config", "c.toml", "--out", "a%n"], "a unit cannot name a path with one of"),
        (["--confog", "c.toml"], "no such option: --confog"),
        (["--out"], "--out needs a value"),
    ],
)
def test_what_cannot_be_installed_is_told_and_nothing_is_written(copy, arguments, told):
    (copy.parent / "c.toml").write_text("")
    done = install(copy, *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert units(copy) == {}
