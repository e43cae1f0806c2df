"""Helix, Twitch's official API: categories and the VODs and clips listed under them. The one door to twitchAPI.

twitchAPI builds the queries and the items; its paging, retries and token renewal are replaced here, because 4.5.0
ends a listing silently on 429 and 403, follows a repeating cursor for ever, never frees its lock after a failed
renewal, and quotes URLs that hold the secret. Everything it may raise is translated before it leaves this module.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from twitchAPI.helper import build_url
from twitchAPI.twitch import Twitch
from twitchAPI.type import SortMethod, TimePeriod, VideoType

from harvester.clock import Clock
from harvester.config import Credentials, Discover, Endpoints, Fetch
from harvester.errors import SourceError, TryAgainLater, UnknownCategory, UsageError
from harvester.model import Category, Clip, Source, SourceKind, Vod
from harvester.ports import Listing, ListingScope, RateHeadroom
from harvester.stats import RequestKind, Traffic
from harvester.text import printable
from harvester.transport import SharedLimits, Transport
from harvester.twitch.connected import Connected
from harvester.twitch.crossing import Crossing, VideoQuery
from harvester.twitch.listing import Gathering, list_one, list_planned
from harvester.twitch.names import match_name, search_terms, unknown
from harvester.twitch.paging import CAPS, PAGE, Paging, Stopped
from harvester.twitch.presence import listed_among
from harvester.twitch.records import UNREADABLE, clip_of, vod_of
from harvester.twitch.refusals import (
    BadQuestion,
    NothingThere,
    refusal,
    refused_credentials,
    unknown_source,
)
from harvester.twitch.windows import BIGGEST, ClipWindows, Window, first_width
from harvester.twitch.wire import RETRY_BASE_S, RETRY_MAX_S, Answer, Wire

#: Requests under way at once: bursts of more than 100 have met 400s; 8 a second need no more than these.
CONNECTIONS = 4
#: An empty page with a cursor is asked for this often again before it is taken for the end: it may be a fault that
#: passes, and half a category would be missing.
EMPTY_PAGE_RETRIES = 2

_log = logging.getLogger(__name__)


class _Client(Twitch):  # type: ignore[misc]
    """twitchAPI's client, asking through our :class:`Wire`."""

    def __init__(self, endpoints: Endpoints, credentials: Credentials, wire: Wire) -> None:
        super().__init__(
            credentials.client_id,
            credentials.client_secret,
            authenticate_app=False,
            base_url=endpoints.helix.rstrip("/") + "/",  # twitchAPI concatenates
            auth_base_url=endpoints.auth.rstrip("/") + "/",
        )
        logging.getLogger("twitchAPI").setLevel(logging.CRITICAL + 1)  # its lines quote whole URLs
        self._wire = wire
        self._renewal = asyncio.Lock()

    async def _build_generator(  # noqa: PLR0917 - twitchAPI's own signature
        self,
        method: str,
        url: str,
        url_params: dict[str, Any],
        auth_type: Any,
        auth_scope: list[Any],
        return_type: Callable[..., Any],
        body_data: dict[str, Any] | None = None,
        split_lists: bool = False,
        error_handler: Mapping[int, BaseException] | None = None,
    ) -> AsyncGenerator[Any, None]:
        """All list calls of twitchAPI come here. Yields items, None for each unreadable one, last a Stopped."""
        del body_data, error_handler
        paging, stopped = Paging(CAPS.get(url, PAGE)), None
        while stopped is None:
            params = {**url_params, "after": paging.cursor}
            target = build_url(self.base_url + url, params, remove_none=True, split_lists=split_lists)
            entries, stopped = paging.take(await self._page(method, target, auth_type, auth_scope))
            for entry in entries:
                yield _built(return_type, entry)
        yield stopped

    async def _page(self, method: str, url: str, auth_type: Any, auth_scope: list[Any]) -> Mapping[str, Any]:
        """A page; one that is empty and yet says that there are more is asked for again."""
        page = await self._answered(method, url, auth_type, auth_scope)
        for _ in range(EMPTY_PAGE_RETRIES):
            if page.get("data") or not page.get("pagination"):
                break
            page = await self._answered(method, url, auth_type, auth_scope)
        return page

    async def _answered(self, method: str, url: str, auth_type: Any, auth_scope: list[Any]) -> Mapping[str, Any]:
        answer, token = await self._ask(method, url, auth_type, auth_scope)
        if answer.status == 401:
            await self._renew(token)
            answer, _ = await self._ask(method, url, auth_type, auth_scope)
        if answer.status != 200:
            raise refusal(answer)
        return answer.data

    async def _ask(
        self, method: str, url: str, auth_type: Any, auth_scope: list[Any]
    ) -> tuple[Answer, str | None]:
        await self.sign_in()
        token = self._app_auth_token
        headers = self._generate_header(auth_type, auth_scope)
        return await self._wire.ask(method, url, kind=RequestKind.HELIX, headers=headers), token

    async def sign_in(self) -> None:
        """Make sure that there is a token, whether it still holds or not."""
        async with self._renewal:
            if not self._has_app_auth:
                await self.authenticate_app([])

    async def _renew(self, stale: str | None) -> None:
        """A new token, unless another query has already replaced the ``stale`` one."""
        async with self._renewal:
            if self._app_auth_token == stale:
                await self._generate_app_token()

    async def _refresh_app_token(self) -> None:
        await self._renew(self._app_auth_token)

    async def _generate_app_token(self) -> None:
        form = {
            "client_id": self.app_id,
            "client_secret": self.app_secret,
            "grant_type": "client_credentials",
            "scope": "",
        }
        url = build_url(self.auth_base_url + "token", form)
        answer = await self._wire.ask("POST", url, kind=RequestKind.AUTH, headers={})
        token = answer.data.get("access_token")
        if answer.status == 200 and isinstance(token, str) and token.isascii() and token.isprintable():
            self._app_auth_token = token
        elif answer.status in (400, 401, 403):
            raise refused_credentials(answer)
        else:
            raise TryAgainLater(f"Twitch gave no token (status {answer.status}): try again later")

    async def token_expires_in_s(self) -> int:
        """Seconds that the token still holds, by ``GET /validate``. Raises CredentialsRefused if it does not."""
        await self.sign_in()
        headers = {"Authorization": f"OAuth {self._app_auth_token}"}
        answer = await self._wire.ask(
            "GET", f"{self.auth_base_url}validate", kind=RequestKind.AUTH, headers=headers
        )
        if answer.status != 200:
            raise refused_credentials(answer)
        expires = answer.data.get("expires_in")
        return expires if isinstance(expires, int) else 0


class HelixCatalog(Connected):
    """A :class:`harvester.ports.Catalog` over Helix, used as ``async with HelixCatalog(...) as catalog``.

    Signs in at the first question. Raises :class:`CredentialsRefused` for a wrong id or secret,
    :class:`TryAgainLater` for everything that may pass (``unavailable``, ``rate-limited``, ``refused``).
    """

    def __init__(
        self,
        endpoints: Endpoints,
        discover: Discover,
        credentials: Credentials,
        traffic: Traffic,
        clock: Clock | None = None,
        *,
        retry_base_s: float = RETRY_BASE_S,
        retry_max_s: float = RETRY_MAX_S,
        read_timeout_s: float = 20.0,
        limits: SharedLimits | None = None,
    ) -> None:
        hosts = tuple(urlsplit(url).hostname or "" for url in (endpoints.helix, endpoints.auth))
        fetch = Fetch(connections_per_host=CONNECTIONS, read_timeout_s=read_timeout_s)
        transport = Transport(
            fetch,
            loopback=endpoints.loopback,
            traffic=traffic,
            hosts=hosts,
            limits=limits,
            body_timeout_s=2 * read_timeout_s,
        )
        super().__init__(transport)
        self._wire = Wire(
            transport,
            requests_per_s=discover.requests_per_s,
            retry_base_s=retry_base_s,
            retry_max_s=retry_max_s,
        )
        self._client = _Client(endpoints, credentials, self._wire)
        self._clock = clock or Clock()
        self._biggest: set[str] = set()  # ids, as far as they were asked for

    async def find_category(self, query: str) -> Category:
        """See :meth:`harvester.ports.Catalog.find_category`."""
        query = query.strip()
        if query.startswith("name:"):
            return await self._by_name(query.removeprefix("name:").strip())
        forced = query.startswith("id:")
        id_ = query.removeprefix("id:").strip()
        if id_.isascii() and id_.isdigit():
            found = await self._categories(self._client.get_games(game_ids=[id_]), 1)
            if found:
                return found[0]
        if forced:
            raise UnknownCategory(f"no category has the id {printable(id_)!r}")
        return await self._by_name(query)

    async def top_categories(self, count: int) -> Sequence[Category]:
        """See :meth:`harvester.ports.Catalog.top_categories`."""
        first = max(1, min(count, PAGE))
        top = await self._categories(self._client.get_top_games(first=first), count)
        self._biggest.update(category.id for category in top[:BIGGEST])
        return top

    async def list_vods(self, category: Category, scope: ListingScope) -> Listing[Vod]:
        """See :meth:`harvester.ports.Catalog.list_vods`: one query per wanted language and type, and more where
        Helix's cap of a query hides some."""

        def ask(query: VideoQuery) -> AsyncGenerator[Any, None]:
            items: AsyncGenerator[Any, None] = self._client.get_videos(
                game_id=category.id,
                first=PAGE,
                language=query.language,
                period=TimePeriod(query.period),
                sort=SortMethod(query.sort),
                video_type=VideoType(query.type.value if query.type else "all"),
            )
            return items

        gathering = Gathering(lambda item: vod_of(item, category.id), scope)
        return await list_planned(Crossing(scope), ask, gathering)

    async def list_clips(self, category: Category, scope: ListingScope) -> Listing[Clip]:
        """See :meth:`harvester.ports.Catalog.list_clips`: window after window, from the newest on."""

        def ask(window: Window) -> AsyncGenerator[Any, None]:
            items: AsyncGenerator[Any, None] = self._client.get_clips(
                game_id=category.id, first=PAGE, started_at=window.asked_from, ended_at=window.end
            )
            return items

        running = self._clock.start + timedelta(seconds=1)  # Helix tells whole seconds: this one counts
        width = first_width(scope.pace_per_h, biggest=category.id in self._biggest)
        windows = ClipWindows(scope.since, scope.until or running, width)
        gathering = Gathering(lambda item: clip_of(item, category.id), scope)
        return await list_planned(windows, ask, gathering)

    async def find_source(self, category: Category, kind: SourceKind, source_id: str) -> Source:
        """See :meth:`harvester.ports.Catalog.find_source`; a clip must be of that category for Twitch too."""
        every = ListingScope(limit=1)
        if kind == "vod":
            videos = self._client.get_videos(ids=[source_id])
            found: Listing[Vod] | Listing[Clip] = await list_one(
                videos, Gathering(lambda item: vod_of(item, category.id), every)
            )
        else:
            clips = self._client.get_clips(clip_id=[source_id])
            found = await list_one(clips, Gathering(lambda item: clip_of(item, category.id), every))
        if not found.sources:
            raise unknown_source(category, kind, source_id, listed=found.seen > 0)
        return found.sources[0]

    async def still_listed(self, kind: SourceKind, ids: Sequence[str]) -> set[str]:
        """See :meth:`harvester.ports.Catalog.still_listed`."""

        def ask(some: list[str]) -> AsyncGenerator[Any, None]:
            of_clips: AsyncGenerator[Any, None] = self._client.get_clips(clip_id=some)
            of_vods: AsyncGenerator[Any, None] = self._client.get_videos(ids=some)
            return of_vods if kind == "vod" else of_clips

        return await listed_among(ids, ask)

    async def clip_category(self, slug: str) -> Category:
        """See :meth:`harvester.ports.Catalog.clip_category`; slugs are case-sensitive."""
        game_id = None
        async with aclosing(self._client.get_clips(clip_id=[slug])) as items:
            async for item in items:
                if getattr(item, "id", None) == slug:
                    game_id = getattr(item, "game_id", None) or ""
        if game_id is None:
            raise SourceError(
                f"Twitch does not know clip {printable(slug)}: deleted or misspelt", reason="gone", retryable=True
            )
        if not game_id:
            raise UsageError(f"clip {printable(slug)} has no category: give one by --category")
        return await self.find_category(f"id:{game_id}")

    async def headroom(self) -> RateHeadroom:
        """The rate limit now, at the cost of one question."""
        await self._categories(self._client.get_top_games(first=1), 1)
        return self._wire.headroom

    async def token_expires_in_s(self) -> int:
        """Seconds that our token still holds. Raises CredentialsRefused, TryAgainLater."""
        return await self._client.token_expires_in_s()

    async def _by_name(self, name: str) -> Category:
        if not name or not _is_sendable(name):
            raise UnknownCategory("a category's name is empty or no text")
        exact = await self._categories(self._client.get_games(names=[name]), 1)
        similar = await self._search(name)  # Helix's exact look-up hides the second of two of one name
        found = match_name(name, [*exact, *similar]) or (exact[0] if exact else None)
        if found is not None:
            return found
        for term in search_terms(name):
            similar = similar or await self._search(term)
        raise unknown(name, similar)

    async def _search(self, text: str) -> list[Category]:
        return await self._categories(self._client.search_categories(text, first=PAGE), CAPS["search/categories"])

    async def _categories(self, items: AsyncGenerator[Any, None], count: int) -> list[Category]:
        """Up to ``count`` categories; an id or name that Helix refuses as such (400, 404) is none."""
        found: list[Category] = []
        async with aclosing(items):
            try:
                async for item in items:
                    if len(found) < count and not isinstance(item, Stopped):
                        found += _category(item)
                    if len(found) >= count:
                        break
            except (NothingThere, BadQuestion) as error:
                _log.debug("no categories: %s", error)
        return found


def _built(return_type: Callable[..., Any], entry: dict[str, Any]) -> Any:
    """twitchAPI's item, or None when it is of no shape that it knows."""
    try:
        return return_type(**entry)
    except UNREADABLE:
        return None


def _category(item: Any) -> list[Category]:
    try:
        return [Category(item.id, item.name)]
    except UNREADABLE:
        return []


def _is_sendable(text: str) -> bool:
    """False for what the command line could not decode: lone surrogates have no place in a URL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
