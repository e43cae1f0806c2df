"""What NVDEC does on this machine: is it right, how fast is it, does it keep its promises?

    python scripts/gpu_check.py [--out scripts/results/gpu_check.json] [--steps NAME,...] [--quick] [--budget-s S]

Needs a GPU with NVIDIA's driver (its video part too), and of packages PyNvVideoCodec, av, numpy and OpenCV; takes
CuPy, torch, nvImageCodec, nvidia-ml-py and pydantic into account where they are installed. Harvester is taken from
this repository, installed or not. The keyframes are encoded at the start from the package's footage.

Each step is a process of its own with a limit of time, all together stay below nine minutes. Whatever is found is
a line of JSON in the file at once, so that a crash loses nothing; a step that fails, hangs or kills its process is
told, and the next one runs. At the end a table, and which goals are met. --quick: as little of each as shows that
it works, a minute. Steps:

{steps}

Exit codes: 0 checked, whatever was found; 2 usage; 6 there is no GPU to check.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from gpu.book import Book, Record, found
from gpu.children import run_step
from gpu.plan import STEPS, TOTAL_S, Budget, Step, chosen
from gpu.telling import table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "scripts" / "results" / "gpu_check.json"
NO_GPU = 6
#: Where containers put the driver's files without always telling the loader.
DRIVER_FOLDERS = ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/wsl/lib", "/run/opengl-driver/lib")
_DECODER = "libnvcuvid.so.1"


def environ() -> Mapping[str, str]:
    """Of the steps: this repository is imported first, and the driver's folder is known to the loader."""
    paths = [str(ROOT), str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")]
    folders = [os.environ.get("LD_LIBRARY_PATH", ""), *_driver_folder()]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, folders)),
        "PYTHONUNBUFFERED": "1",
    }


def _driver_folder() -> Sequence[str]:
    """The folder of the driver where the loader does not look; none where it does, or where there is none."""
    try:
        ctypes.CDLL(_DECODER)
    except OSError:
        return [folder for folder in DRIVER_FOLDERS if (Path(folder) / _DECODER).exists()][:1]
    return []


def check(steps: Sequence[Step], book: Book, budget: Budget, *, quick: bool) -> int:
    """Run the steps. 0, or :data:`NO_GPU`."""
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as scratch:
        for step in steps:
            allowed = budget.allowance_s(step)
            say(f"{step.name}: {step.title} (at most {allowed:.0f} s)")
            if not allowed:
                book.write({"step": step.name, "what": "step", "out_of_time": True})
                continue
            run_step(step, book, allowed, Path(scratch), environ(), quick=quick)
            if step.name == "environment":
                if why := why_not(book):
                    say(f"no GPU to check: {why}")
                    return NO_GPU
                book.keep()
    return 0


def why_not(book: Book) -> str:
    """Why there is nothing to check, one line; "" if there is. Marks the book if it is about a stand-in."""
    gate = found(book.records, "environment", "gate")
    if not gate:
        return no_gpu(book.records)
    book.fake = bool(gate[0]["fake"])
    if book.fake:
        say("PyNvVideoCodec is a stand-in of the tests: nothing of this is a result of hardware")
    if book.fake and book.wanted == RESULTS:
        return "a stand-in's records do not go where results are kept; name another file with --out"
    return ""


def no_gpu(records: Sequence[Record]) -> str:
    """What the probe says; where it does not say anything, what the step ``environment`` died of."""
    for verdict in found(list(records), "environment", "probe"):
        if verdict["problem"]:
            return f"{verdict['why']}: {verdict['fix']}"
    failed = [record["failed"] for record in records if record["what"] in ("gate", "step") and "failed" in record]
    return str(failed[0]).splitlines()[0] if failed else "the first step told nothing"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    steps = "\n".join(f"  {step.name:12} {step.title}" for step in STEPS)
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").format(steps=steps), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="file of records, replaced")
    parser.add_argument("--steps", type=lambda text: text.split(","), metavar="NAME,...", help="default: all")
    parser.add_argument("--quick", action="store_true", help="as little of each step as shows that it works")
    parser.add_argument(
        "--budget-s",
        type=float,
        default=TOTAL_S,
        help="time for all steps together (s); above the default, limits grow alike",
    )
    options = parser.parse_args(arguments)
    try:
        options.steps = chosen(options.steps or [step.name for step in STEPS])
    except ValueError as error:
        parser.error(str(error))
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    book = Book(options.out)
    try:
        code = check(options.steps, book, Budget(options.budget_s), quick=options.quick)
    finally:
        book.close()
    if code == 0:
        print(table(book.records, options.steps), flush=True)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
