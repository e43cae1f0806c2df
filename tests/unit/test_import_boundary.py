"""What an import may load: the package opens fast, on any machine, without a decoder, a GPU or a network."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import harvester

#: Libraries that load when first used and never before.
HEAVY = ("av", "cv2", "PyNvVideoCodec", "pyarrow", "cupy", "torch")

#: Everything may be imported without them, but the modules that are the door of one and are loaded on use (and the
#: sandbox, which is a server of its own and makes video).
DOORS = {
    "harvester.decode.cpu": {"av"},
    "harvester.decode.nvdec_av": {"av"},
    "harvester.decode.nvdec": {"PyNvVideoCodec"},
    "harvester.store.dataset": {"pyarrow"},
    "harvester.store.metadata": {"pyarrow"},
}

#: What a user's script or the command line opens first: light, and without the sandbox, which only the command of
#: that name starts.
FRONT = (
    "harvester",
    "harvester.config",
    "harvester.model",
    "harvester.api",
    "harvester.cli",
    "harvester.pipeline",
)

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(harvester.__path__, "harvester.", onerror=lambda name: None)
    if not module.name.endswith("__main__")
)

PROGRAM = """
import importlib, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        sys.exit(f"{event} {arguments} at import")

sys.addaudithook(refuse)
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sys.modules, sep="\\n")
"""


def loaded_by(*modules: str) -> set[str]:
    """Names in ``sys.modules`` after a fresh interpreter imported ``modules``, without network."""
    command = [sys.executable, "-c", PROGRAM, *modules]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"import {modules}: {done.stderr}"
    return set(done.stdout.split())


def is_light(module: str) -> bool:
    return module not in DOORS and not module.startswith("harvester.sandbox")


def exists(module: str) -> bool:
    return module == "harvester" or module in MODULES


@pytest.mark.parametrize("module", [name for name in FRONT if exists(name)])
def test_the_front_loads_nothing_heavy_and_no_sandbox(module):
    loaded = loaded_by(module)
    assert module in loaded
    assert not loaded & set(HEAVY)
    assert not [name for name in loaded if name.startswith("harvester.sandbox")]


def test_no_module_but_the_doors_loads_anything_heavy():
    loaded = loaded_by(*filter(is_light, MODULES))
    assert "harvester.model" in loaded
    assert not sorted(loaded & set(HEAVY))


def test_a_door_opens_what_it_is_the_door_of_and_nothing_else():
    for module, own in DOORS.items():
        if exists(module):
            assert loaded_by(module) & set(HEAVY) <= own, module


def test_a_heavy_import_would_be_noticed():
    assert "cv2" in loaded_by("cv2")
