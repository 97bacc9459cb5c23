"""What a browser would make of a page: its tags, its text, and whether its elements nest."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = frozenset({"br", "img", "meta"})


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> closes itself outside of SVG"
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def _read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader


def check_nesting(page: str) -> None:
    """Assert that every element is closed where it must be, and that no id stands twice."""
    reader = _read(page)
    assert not reader.open, f"{reader.open} are left open"
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids)), "an id stands twice"


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """Return the elements of a page with their attributes, in order."""
    return _read(page).tags


def shown_text(page: str) -> str:
    """Return the text of a page, white space as it stands."""
    return _read(page).text
