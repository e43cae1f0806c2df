"""What the suite is run over, and the streams it uses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harvester.model import AccessUnit
from harvester.ports import Decoder
from tests.contract.backends import BACKENDS, Subject, opened
from tests.contract.streams import EXACT, SIZES


@pytest.fixture(scope="module", params=BACKENDS)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    with opened(request.param, lambda: request.getfixturevalue("driver_files")) as one:
        yield one


@pytest.fixture
def decoder(subject: Subject) -> Decoder:
    return subject.decoder()


@pytest.fixture(scope="session")
def units() -> dict[str, AccessUnit]:
    return {sample.name: sample.unit() for sample in EXACT}


@pytest.fixture(scope="session")
def sized() -> dict[str, AccessUnit]:
    return {sample.name: sample.unit() for sample in SIZES}
