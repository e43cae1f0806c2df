"""What C code prints on descriptor 1 is known at once, however much it is, and stays in the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHILD = """
import ctypes, sys
from harvester.decode.printed import Printed

c = ctypes.CDLL(None)
c.printf(b"error before the beginning\\n")  # in the buffer, if that is still there
printed = Printed()
counts = [printed.errors()]
for text in (b"Decode Error", b" occurred for picture 3\\n", b"all is well\\n", b"[ERROR] of another kind\\n"):
    c.printf(text)
    counts.append(printed.errors())
for number in range(4000):
    c.printf(b"Decode Error occurred for picture %d\\n", number)
print(*counts, printed.errors(), file=sys.stderr)
"""


def test_lines_are_counted_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "printed"
    with path.open("w+b") as file:
        done = subprocess.run([sys.executable, "-c", CHILD], stdout=file, stderr=subprocess.PIPE, check=True)
    before, *counts = map(int, done.stderr.split())
    assert [count - before for count in counts] == [1, 1, 1, 2, 4002]
    assert path.read_text().endswith("Decode Error occurred for picture 3999\n")
