"""Packages that `unpairaug new` writes: names, folders, and that they work as they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from unpairaug.errors import UserError
from unpairaug.registry.new import write_package

KINDS = ("task", "translator", "head", "loss")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of each kind."""
    folder = tmp_path_factory.mktemp("packages")
    for kind in KINDS:
        write_package(kind, f"fresh-{kind}", folder / kind)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_is_whole_and_carries_its_own_name_everywhere(written: Path, kind: str):
    files = {path.relative_to(written / kind).as_posix() for path in (written / kind).rglob("*") if path.is_file()}
    module = f"fresh_{kind}"
    assert files == {
        "README.md",
        "pyproject.toml",
        f"tests/test_{module}.py",
        *(f"{module}/{name}" for name in ("__init__.py", f"{kind}.py", f"{module}.yaml")),
    }
    for file in files:
        text = (written / kind / file).read_text()
        assert not re.search(f"my[_-]?{kind}", text, re.IGNORECASE), file
    assert f"class Fresh{kind.title()}" in (written / kind / module / f"{kind}.py").read_text()
    assert f'name = "fresh-{kind}"' in (written / kind / "pyproject.toml").read_text()


def test_packages_pass_the_code_checks(written: Path):
    for check in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, str(written), "--no-cache"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_packages_pass_their_own_tests_beside_unpairaug(written: Path, checkout: Path):
    places = [checkout, *(written / kind for kind in KINDS)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places)), "ACCELERATE_USE_CPU": "true"}
    tests = [str(written / kind / "tests") for kind in KINDS]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--durations=8", "-c", os.devnull, "--rootdir", str(written), *tests],
        capture_output=True,
        text=True,
        env=environment,
        cwd=written,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^12 passed", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("2fast", "my_2fast"),
        ("rain removal", "rain_removal"),
        ("räin", "r_in"),
        ("class", "my_class"),
        ("-", "my_task"),
        ("sr", "my_sr"),
        ("torch", "my_torch"),
        ("task", "my_task"),
    ],
)
def test_a_name_that_cannot_be_used_is_answered_with_one_that_can(name: str, offered: str, tmp_path: Path):
    with pytest.raises(UserError, match=f"try '{offered}'"):
        write_package("task", name, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert write_package("task", offered, tmp_path / "new").is_dir()


def test_nothing_is_overwritten_and_an_empty_folder_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rain-removal").mkdir()
    assert (write_package("task", "rain-removal") / "rain_removal" / "task.py").is_file()
    before = (tmp_path / "rain-removal" / "README.md").stat().st_mtime_ns
    with pytest.raises(UserError, match="rain-removal exists already, and nothing is overwritten"):
        write_package("translator", "rain-removal")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file exists already"):
        write_package("task", "snow", tmp_path / "file")
    assert (tmp_path / "rain-removal" / "README.md").stat().st_mtime_ns == before
    assert (tmp_path / "file").read_text() == "mine"


def test_a_package_is_not_written_into_this_repository(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(checkout / "tasks")
    with pytest.raises(UserError, match=r"within unpairaug itself.*--folder \.\./snow"):
        write_package("task", "snow")
    assert not (checkout / "tasks" / "snow").exists()
