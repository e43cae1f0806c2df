"""Which URLs may be asked at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import FetchError
from harvester.transport import (
    AllowedHosts,
)

REAL = AllowedHosts(loopback=False, suffixes=("cloudfront.net", ".twitch.tv", "", "localhost", "10.0.0.1"))
LOOPBACK = AllowedHosts(loopback=True, suffixes=("cloudfront.net",))

#: URLs that no stack may ask in the real world.
OUTSIDE = [
    "http://d1.cloudfront.net/1.ts",
    "https://evilcloudfront.net/",
    "https://cloudfront.net.evil.org/",
    "https://localhost/",
    "https://10.0.0.1/",
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://d1.cloudfront.net@evil.org/",
    "https://user:pw@d1.cloudfront.net/",
    "ftp://d1.cloudfront.net/",
    "//d1.cloudfront.net/",
    "",
    "https://",
    "https://evil.org\\@d1.cloudfront.net/",
    "https://evil.org#.twitch.tv",
    "https://evil.org?.twitch.tv/",
    "file:///etc/passwd",
    "https://d1.cloudfront.net:8443/",
    "https://d1.cloudfront.net:80/",
    "https://d1.cloudfront.net:x/",
    "https://d1.cloudfront.net:99999/",
    "https://d1.cloudfront.net:0/",
    "https://:x",
    "https://evil.org%2f.cloudfront.net/",
    "https://evil.org%00.cloudfront.net/",
    "https://evil.org%5c.cloudfront.net/",
    "https://evil.org\\.cloudfront.net/",
    "https://d1.cloudfront.net../",
    "https://cloudfront.net.evil.org./",
    "https://d1.cloudfront.n\u0435t/",
    "https://d1\u3002cloudfront.net.evil.org/",
    "https://evil.org\uff0f.cloudfront.net/",
    "https://localhost./",
    "https://169.254.169.254/latest/meta-data",
    "https://0177.0.0.1/",
    "https://[fe80::1%25eth0]/",
    "https://:@d1.cloudfront.net/",
    "wss://d1.cloudfront.net/",
]


@pytest.mark.parametrize(
    "url",
    [
        "https://d1.cloudfront.net/a/1.ts",
        "https://cloudfront.net/",
        "https://gql.twitch.tv/gql",
        "https://D1.CloudFront.NET./x",
        "https://d1.cloudfront.net:443/x",
        "https://d1\u3002cloudfront.net/x",
        "https://\uff441.cloudfront.net/x",
    ],
)
def test_real_world_reaches(url: str) -> None:
    assert REAL.check(url).host


@pytest.mark.parametrize("url", OUTSIDE)
def test_real_world_refuses(url: str) -> None:
    with pytest.raises(FetchError) as caught:
        REAL.check(url)
    assert (caught.value.reason, caught.value.retryable) == ("host-refused", False)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/x", "http://localhost/", "https://[::1]:1/", "http://127.9.9.9/"]
)
def test_loopback_world_reaches(url: str) -> None:
    assert LOOPBACK.check(url).host


@pytest.mark.parametrize(
    "url",
    [
        "https://d1.cloudfront.net/1.ts",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "http://127.0.0.1.evil.org/",
        "http://localhost.evil.org/",
        "ftp://127.0.0.1/",
        "http://169.254.169.254/",
        "http://127.0.0.1@evil.org/",
    ],
)
def test_loopback_world_refuses(url: str) -> None:
    with pytest.raises(FetchError, match="refused"):
        LOOPBACK.check(url)


@given(st.text(max_size=60))
def test_any_text_is_checked_or_refused(text: str) -> None:
    for hosts in (REAL, LOOPBACK):
        for url in (text, f"https://{text}", f"http://127.0.0.1{text}"):
            try:
                allowed = hosts.check(url)
            except FetchError as error:
                assert error.reason == "host-refused"
            else:
                host = (allowed.host or "").rstrip(".").lower()
                assert (
                    host.startswith("127.")
                    or host in ("localhost", "::1")
                    or host.endswith(("cloudfront.net", "twitch.tv"))
                )


def test_signed_urls_are_sent_byte_for_byte() -> None:
    url = "http://127.0.0.1:1/AT-cm%7C1.mp4?sig=ab&token=%7B%22a%22%3A1%2c%22b%22%7D"
    assert str(LOOPBACK.check(url)) == url
