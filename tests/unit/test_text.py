"""Text from outside cannot steer a terminal, a path or a secret into the open."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harvester.text import PRINTABLE_CHARS, SLUG_CHARS, is_reserved_name, printable, redact, slugify


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hades II", "Hades II"),
        ("two\nlines\tand\u2028more", "two lines and more"),
        ("\x1b[31mred\x07", "[31mred"),
        ("\u202eevil\u200f", "evil"),
        ("zero\u200bwidth", "zerowidth"),
        ("🎮 Pokémon 日本語", "🎮 Pokémon 日本語"),
        ("  many   blanks ", "many blanks"),
        ("\x00\ud800\ue000", ""),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_printable_cuts_long_text() -> None:
    assert printable("x" * PRINTABLE_CHARS) == "x" * PRINTABLE_CHARS
    assert printable("x" * 300) == "x" * (PRINTABLE_CHARS - 1) + "…"
    assert printable("x" * 300, 400) == "x" * 300


@given(st.text(max_size=300))
@example("\x85\x1c a")
def test_printable_text_is_one_harmless_line(text: str) -> None:
    shown = printable(text)
    assert len(shown) <= PRINTABLE_CHARS
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(c).startswith("C") for c in shown)
    assert printable(shown) == shown
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Hades II", "hades-ii"),
        ("Pokémon Écarlate", "pokemon-ecarlate"),
        ("../../etc/passwd", "etc-passwd"),
        (".", None),
        ("", None),
        ("ゼルダ", None),
        ("🎮", None),
        ("CON", "con"),
        ("ﬁ½²", "fi122"),
        ("a\\b:c*d?e", "a-b-c-d-e"),
        ("x" * 300, "x" * SLUG_CHARS),
        ("x" * (SLUG_CHARS - 1) + " yy", "x" * (SLUG_CHARS - 1)),
    ],
)
def test_slugify(name: str, slug: str | None) -> None:
    assert slugify(name) == slug


@given(st.text(max_size=200))
def test_a_slug_is_none_or_safe(name: str) -> None:
    slug = slugify(name)
    if slug is None:
        assert not re.search(r"[a-zA-Z0-9]", name)
    else:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)
        assert len(slug) <= SLUG_CHARS
        assert slugify(slug) == slug


@pytest.mark.parametrize("name", ["con", "CON", "nul.txt", "Aux .tar.gz", "com1", "lpt9", "prn", "com0"])
def test_reserved_names(name: str) -> None:
    assert is_reserved_name(name)


@pytest.mark.parametrize("name", ["console", "com10", "con-9", "nul1", "", "hades-ii", "a.con"])
def test_names_that_are_free(name: str) -> None:
    assert not is_reserved_name(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://h/x.m3u8?sig=0a1b&token=%7B%22a%22%7D&p=7", "https://h/x.m3u8?sig=***&token=***&p=7"),
        (
            "POST /oauth2/token?client_id=abc&client_secret=def HTTP",
            "POST /oauth2/token?client_id=***&client_secret=*** HTTP",
        ),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer ***"),
        ("Authorization: OAuth abcdef123456", "Authorization: OAuth ***"),
        ("https://www.twitch.tv/videos/1?t=5s", "https://www.twitch.tv/videos/1?t=5s"),
    ],
)
def test_redact(text: str, shown: str) -> None:
    assert redact(text) == shown
