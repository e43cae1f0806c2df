"""The fake, newly imported for each test, and its streams."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest

from harvester.model import AccessUnit
from tests.contract.streams import Sample
from tests.fakes import nvdec
from tests.unit.fakes.feeding import CROPPED, DEEP, LARGE, SMALL


@pytest.fixture
def package() -> Iterator[ModuleType]:
    with nvdec() as fake:
        yield fake


@pytest.fixture(scope="session")
def units() -> dict[Sample, AccessUnit]:
    return {sample: sample.unit() for sample in (SMALL, LARGE, CROPPED, DEEP)}
