"""The documentation builds as a site without a broken link, and its reference has everything that the program has."""

import subprocess
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import yaml

import reference_pages

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = (ROOT / "tests" / "public_api.txt").read_text(encoding="utf-8").split()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the configuration and all pages of the site."""
    folder = tmp_path_factory.mktemp("site")
    copytree(ROOT / "docs", folder / "docs")
    (folder / "mkdocs.yml").write_bytes((ROOT / "mkdocs.yml").read_bytes())
    for name, write in reference_pages.PAGES.items():
        (folder / "docs" / "reference" / name).write_text(write(), encoding="utf-8")
    return folder


def list_pages(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for one in (nav.values() if isinstance(nav, dict) else nav) for page in list_pages(one)]


def test_the_navigation_has_every_page_once(site: Path):
    nav = list_pages(yaml.safe_load((site / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert sorted(nav) == sorted(path.relative_to(site / "docs").as_posix() for path in site.rglob("docs/**/*.md"))


def test_the_site_builds_without_a_warning(site: Path):
    done = subprocess.run(["zensical", "build", "--strict"], cwd=site, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (site / "site" / "reference" / "recipe_keys.html").is_file()


def test_the_reference_has_every_recipe_key_and_public_name(site: Path):
    keys, names = (
        (site / "docs" / "reference" / name).read_text(encoding="utf-8") for name in ("recipe_keys.md", "python.md")
    )
    for key, _ in reference_pages.list_fields(reference_pages.Recipe):
        assert key in ("task", "translator") or f"| `{key}` |" in keys, key
    assert all(f"### `{name.rpartition('.')[2]}`" in names for name in PUBLIC)
    assert "object at 0x" not in keys + names
    rows = [line for line in keys.splitlines() if line.startswith("| `")]
    assert all(not line.endswith("|  |") for line in rows), "recipes.md does not explain this key"


def test_the_reference_has_every_command_with_its_options(site: Path):
    text = (site / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    assert {"## `unpairaug train`", "## `unpairaug bench step`"} <= set(text.splitlines())
    assert "<code>--seeds</code>" in text
