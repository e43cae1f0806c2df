"""The cap on bytes, by the arithmetic of its bucket; and the environment's proxy, by what it says of hosts."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.config import Fetch
from harvester.errors import ConfigError
from harvester.transport import Proxies
from harvester.transport.limits import ByteRate, SharedLimits

HTTPS = 443


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def test_every_byte_is_paid_for() -> None:
    clock = Clock()
    rate = ByteRate(1000, clock)
    assert rate.pay(500) == pytest.approx(0.5)
    assert rate.pay(250) == pytest.approx(0.75)  # after the other
    clock.now_s += 0.75
    assert rate.pay(100) == pytest.approx(0.1)


def test_idle_time_is_not_saved_up() -> None:
    clock = Clock()
    rate = ByteRate(1000, clock)
    clock.now_s += 3600
    assert rate.pay(500) == pytest.approx(0.5)


def test_no_cap() -> None:
    rate = SharedLimits.of(Fetch()).byte_rate
    assert rate.pay(1 << 40) == 0


def test_the_key_is_in_megabits() -> None:
    rate = SharedLimits.of(Fetch(max_mbit_per_s=8)).byte_rate
    assert rate.pay(1_000_000) == pytest.approx(1)


@given(st.lists(st.tuples(st.integers(1, 1 << 20), st.floats(0, 3)), min_size=1, max_size=60))
def test_never_more_than_the_cap_and_nobody_starves(pieces: list[tuple[int, float]]) -> None:
    clock, per_s = Clock(), 100_000.0
    rate, begun_s, ends = ByteRate(per_s, clock), 50.0, []
    for n_bytes, idle_s in pieces:
        clock.now_s += idle_s
        ends.append((clock.now_s + rate.pay(n_bytes), n_bytes))
    total = 0
    for earlier, (end_s, n_bytes) in zip([(begun_s, 0), *ends], ends, strict=False):
        total += n_bytes
        assert end_s >= earlier[0]  # in the order of arrival
        assert total <= per_s * (end_s - begun_s) * (1 + 1e-9) + 1e-3
    assert ends[-1][0] <= clock.now_s + total / per_s + 1e-6  # and no longer than all of it takes


def test_threads_pay_into_one_purse() -> None:
    clock = Clock()
    rate = ByteRate(1000, clock)
    threads = [threading.Thread(target=lambda: [rate.pay(1) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rate.pay(0) == pytest.approx(2.0)


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("HTTPS_PROXY", "http://upper.example:3128")
    return monkeypatch


def proxy() -> Proxies:
    return Proxies.from_environment(loopback=False)


def test_lower_case_wins_and_all_proxy_comes_last(proxied: pytest.MonkeyPatch) -> None:
    proxied.setenv("ALL_PROXY", "http://all.example:1")
    assert proxy().url == "http://upper.example:3128"
    proxied.setenv("https_proxy", "http://lower.example:1")
    assert proxy().url == "http://lower.example:1"
    for name in ("https_proxy", "HTTPS_PROXY"):
        proxied.delenv(name)
    assert proxy().url == "http://all.example:1"


def test_plain_http_proxy_is_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://upper.example:3128")
    assert proxy().for_host("api.twitch.tv", HTTPS) is None


def test_loopback_has_no_proxy(proxied: pytest.MonkeyPatch) -> None:
    assert Proxies.from_environment(loopback=True) == Proxies()


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("", False),
        ("*", True),
        ("twitch.tv", True),
        (".twitch.tv", True),
        ("other.example, twitch.tv", True),
        ("api.twitch.tv:443", True),
        ("api.twitch.tv:8443", False),
        ("itch.tv", False),
        ("gql.twitch.tv", False),
    ],
)
def test_no_proxy(proxied: pytest.MonkeyPatch, no_proxy: str, direct: bool) -> None:
    proxied.setenv("NO_PROXY", no_proxy)
    assert proxy().for_host("api.twitch.tv", HTTPS) == (None if direct else "http://upper.example:3128")


@pytest.mark.parametrize(
    ("value", "url", "authorization"),
    [
        ("proxy.example:3128", "http://proxy.example:3128", None),
        ("http://proxy.example", "http://proxy.example:80", None),
        ("https://proxy.example/", "https://proxy.example:443", None),
        ("http://[::1]:8080", "http://[::1]:8080", None),
        ("http://ann:p%40ss@proxy.example:1", "http://proxy.example:1", "Basic YW5uOnBAc3M="),
        ("http://ann@proxy.example:1", "http://proxy.example:1", "Basic YW5uOg=="),
    ],
)
def test_how_a_proxy_is_written(
    monkeypatch: pytest.MonkeyPatch, value: str, url: str, authorization: str | None
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    read = proxy()
    assert read.url == url
    assert read.headers.get("Proxy-Authorization") == authorization
    assert "Basic" not in repr(read)
    assert "ann" not in repr(read) + read.place


@pytest.mark.parametrize(
    "value",
    [
        "socks5://h:1",
        "http://",
        "http://u:hunter2@[::1",
        "http://u:hunter2@h:99999",
        "http://u:hunter2@h:x",
        "ftp://h",
    ],
)
def test_what_is_no_proxy(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        proxy()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
