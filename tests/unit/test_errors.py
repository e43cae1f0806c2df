"""The error tree: its drawing is the tree, exit codes are the contract's, reasons are slugs."""

from __future__ import annotations

import ast
import inspect
import pickle
import re
from pathlib import Path

import pytest

from harvester import errors
from harvester.errors import (
    FetchError,
    HarvesterError,
    MediaError,
    NeedMoreData,
    SourceError,
    TargetError,
    TryAgainLater,
)

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, HarvesterError)]

#: Exit codes of the contract; the rest of the tree inherits them.
EXIT_CODES = {
    "HarvesterError": 1,
    "UsageError": 2,
    "CredentialsRefused": 3,
    "TargetError": 4,
    "TryAgainLater": 5,
    "MachineError": 6,
    "LockHeld": 75,
}


def drawn() -> dict[str, str | None]:
    """Parent of each error in the module docstring's drawing."""
    parents: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for indent, name in re.findall(r"^    ([│├└─ ]*)([A-Z]\w+)", errors.__doc__, flags=re.MULTILINE):
        above = [(depth, parent) for depth, parent in above if depth < len(indent)]
        parents[name] = above[-1][1] if above else None
        above.append((len(indent), name))
    return parents


def test_the_drawing_is_the_tree():
    real = {kind.__name__: kind.__mro__[1].__name__ for kind in ALL}
    assert drawn() == {**real, "HarvesterError": None}


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_exit_codes_are_those_of_the_contract(kind):
    named = next(parent.__name__ for parent in kind.__mro__ if parent.__name__ in EXIT_CODES)
    assert kind.exit_code == EXIT_CODES[named]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_has_its_own_reason_as_a_slug_and_its_message(kind):
    error = kind("what, why, what to do")
    assert str(error) == "what, why, what to do"
    assert re.fullmatch(r"[a-z][a-z-]*", error.reason)
    assert error.__doc__


def test_a_reason_given_replaces_the_default():
    assert SourceError("no", reason="sub-only").reason == "sub-only"
    assert SourceError("no").reason == "broken"


def test_what_may_work_later_is_retryable_and_the_rest_is_not():
    assert {kind.__name__ for kind in ALL if kind("x").retryable} == {"TryAgainLater", "FetchError"}
    assert not FetchError("refused host", retryable=False).retryable
    assert SourceError("not ready", reason="not-ready", retryable=True).retryable


def test_what_only_some_errors_know():
    assert FetchError("no", status=404).status == 404
    assert FetchError("no").status is None
    assert NeedMoreData("short", total_bytes=10).total_bytes == 10
    assert NeedMoreData("short").total_bytes is None
    assert NeedMoreData("short").reason == "truncated"
    assert issubclass(NeedMoreData, MediaError)
    assert TryAgainLater("down", reason="rate-limit").reason == "rate-limit"


def test_a_target_error_survives_its_way_between_processes():
    sent = pickle.loads(pickle.dumps(MediaError("grey", reason="truncated")))
    assert isinstance(sent, TargetError)
    assert (str(sent), sent.reason) == ("grey", "truncated")


def test_no_except_star_raises():
    """What is raised in one, Python before 3.11.4 wraps in a group (gh-103590): a full disk became a bug."""
    starred = (
        (path, node)
        for path in Path(errors.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.TryStar)
    )
    wrapping = [
        f"{path.name}:{inner.lineno}"
        for path, node in starred
        for handler in node.handlers
        for inner in ast.walk(handler)
        if isinstance(inner, ast.Raise)
    ]
    assert not wrapping
