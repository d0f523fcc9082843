"""`unpairaug docs`: the documentation, as it was installed."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

FOLDERS = ("start", "guides", "reference", "explanation", "results")
"""Of the pages, in the order of reading."""


class Topic(NamedTuple):
    """A page, or a section of one."""

    page: Path
    title: str
    text: str
    """Markdown."""
    is_page: bool


def docs(
    topic: Annotated[
        str | None, typer.Argument(metavar="[TOPIC]", help="A page or a section; without it, the pages are listed.")
    ] = None,
) -> None:
    """Print a topic of the documentation that came with this installation.

    Warnings name the topic that explains them and says what to change. Example: unpairaug docs below-baseline
    """
    from unpairaug.errors import UserError, escape
    from unpairaug.registry.suggestions import suggest

    topics = find_topics()
    if topic is None:
        _print_pages({name: found for name, found in topics.items() if found.is_page})
        print("\nunpairaug docs TOPIC prints one of them, or a section of one, such as colour-drift.")
        return
    name = topic.rpartition("#")[2].removesuffix(".md").lower().replace("_", "-").replace(" ", "-")
    if name not in topics:
        raise UserError(f"no topic {escape(topic)!r}; {suggest(name, topics, 'unpairaug docs lists the pages')}")
    _print_markdown(topics[name].text)


def _print_pages(pages: dict[str, Topic]) -> None:
    """Names and titles, in the order of reading."""
    width = max(map(len, pages))
    for folder in FOLDERS:
        if found := {name: page for name, page in pages.items() if page.page.parent.name == folder}:
            print(
                f"\n{folder.capitalize()}",
                *(f"  {name:<{width}}  {page.title}" for name, page in found.items()),
                sep="\n",
            )


def find_topics() -> dict[str, Topic]:
    """Every page of the documentation, and every section of level 2 or 3, by its name in lower case with dashes.

    A page takes precedence over a section of the same name, and an earlier section over a later one.

    Raises:
        UserError: the installation has no documentation.
    """
    from unpairaug.errors import UserError

    folder = find_folder()
    if folder is None:
        raise UserError("this installation has no documentation; install unpairaug again")
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.md"))}
    topics = {_page_name(path): Topic(path, _title(text, path.stem), text, True) for path, text in pages.items()}
    for path, text in pages.items():
        for title, section in _sections(text):
            topics.setdefault(_name(title), Topic(path, title, section, False))
    return topics


def find_folder() -> Path | None:
    """The folder of the documentation: inside the package, or beside it in a checkout."""
    import unpairaug

    places = (Path(place) / "docs" for place in unpairaug.__path__)
    return next((place for place in places if place.is_dir()), None)


def _page_name(path: Path) -> str:
    """Of its file; `results/index.md` is `results`."""
    return _name(path.parent.name if path.stem == "index" and path.parent.name != "docs" else path.stem)


def _name(title: str) -> str:
    """As in the anchor of a heading."""
    return re.sub(r"[\s_]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip())


def _title(text: str, stem: str) -> str:
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1] if found else stem


def _sections(text: str) -> list[tuple[str, str]]:
    """Title and text of each section; it ends where one of the same or a higher level begins."""
    without_code = re.sub(r"^```.*?^```", lambda block: re.sub(r"[^\n]", " ", block[0]), text, flags=re.M | re.S)
    headings = [(found.start(), len(found[1]), found[2]) for found in re.finditer(r"^(#+) (.+)$", without_code, re.M)]
    sections = []
    for at, (start, level, title) in enumerate(headings):
        end = next((start for start, other, _ in headings[at + 1 :] if other <= level), len(text))
        if level in (2, 3):
            sections.append((title, text[start:end]))
    return sections


def _print_markdown(text: str) -> None:
    """Rendered on a terminal; as it is elsewhere."""
    if not sys.stdout.isatty():
        print(text.rstrip())
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console(width=min(100, Console().width)).print(Markdown(text))
