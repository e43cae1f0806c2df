"""What the clients of Twitch's services have in common: a transport that opens and closes with them."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from harvester.transport import Transport


class Connected:
    """Base of a client over ``transport``, used as ``async with Client(...) as client``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)
