"""A page as its elements and its text, and what in it would reach outside or run."""

from __future__ import annotations

from html.parser import HTMLParser

#: Elements without an end tag.
_VOID = frozenset({"meta", "link", "img", "br"})


class Markup(HTMLParser):
    """``elements``: name and attributes in their order; ``text``: all text outside the style sheet, joined.
    ValueError where elements are not properly nested."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.style = ""
        self._text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        if self._open:
            raise ValueError(f"never closed: {self._open}")

    @property
    def text(self) -> str:
        return " ".join("".join(self._text).split())

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == name]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag == "p" and "p" not in self._open:
            raise ValueError("a second </p>")
        if self._open.pop() != tag and tag not in ("li", "td"):
            raise ValueError(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"]:
            self.style += data
        else:
            self._text.append(data)
