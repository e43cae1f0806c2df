"""What a test does whose program is absent: a newcomer may leave it out, CI may not."""

from __future__ import annotations

import pytest

from tests.conftest import program

ABSENT = "no-such-program"


def test_an_absent_program_leaves_a_test_out_and_fails_it_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    assert program("sh").endswith("/sh")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"apt-get install {ABSENT}"):
        program(ABSENT)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=f"apt-get install {ABSENT}"):
        program(ABSENT)
