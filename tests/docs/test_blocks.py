"""Every code block of the README and the docs is run or parsed by a test, or says above it why it is not.

Commands of `unpairaug` and of training are parsed in test_readme.py. The pages of `RUN_BY` are run by their tests.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from test_readme import PAGES, ROOT, training_arguments

from unpairaug.registry import tasks, translators

RUN_BY = {
    "add_a_task.md": "docs/test_tutorials.py",
    "add_a_translator.md": "docs/test_tutorials.py",
    "reuse.md": "training/test_reuse.py",
    "degrade.md": "degrading/test_degrade.py",
    "noise.md": "scoring/test_noise_statistics.py",
}
"""The tests that run all Python blocks of a page."""
RUN_BY_CI = ("pip", "pytest", "ruff", "pyright", "zensical")
SITE = ["python", "docs/reference/reference_pages.py"]
BLOCK = re.compile(r"(?:^<!-- not run: (.+) -->\n+)?^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


def find_unmarked(path: Path, language: str) -> list[str]:
    """The blocks of a page in one language that give no reason not to be run."""
    blocks = BLOCK.findall(path.read_text(encoding="utf-8"))
    return [text for reason, found, text in blocks if found == language and not reason]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a reader: a run with its parts, and photographs."""
    folder = tmp_path_factory.mktemp("reader")
    torch.manual_seed(0)
    camera = translators.build({"type": "stochastic_cyclegan", "width": 4, "depth": 2})
    camera.save_pretrained(folder / "runs" / "cyclesr_sr" / "translator")
    head = tasks.build({"type": "sr", "scale": 2, "head": {"type": "vdsr", "depth": 3, "width": 4}})
    head.save_pretrained(folder / "runs" / "cyclesr_sr" / "head")
    for side, pixels in (("clean", 192), ("degraded", 96)):
        (folder / "photographs" / side).mkdir(parents=True)
        for i in range(4):
            noise = (torch.rand(pixels, pixels, 3) * 255).byte().numpy()
            Image.fromarray(noise).save(folder / "photographs" / side / f"{side}{i}.png")
    return folder


@page
def test_every_python_block_runs_or_says_why_not(path: Path, reader: Path, monkeypatch: pytest.MonkeyPatch):
    if test := RUN_BY.get(path.name):
        assert path.name in (ROOT / "tests" / test).read_text(encoding="utf-8"), "the test that runs this page"
        return
    monkeypatch.chdir(reader)
    for block in find_unmarked(path, "python"):
        if re.match(r"# \w+\.py\n", block):  # a module that a command of the README uses; test_readme.py imports it
            assert path.name == "README.md"
            continue
        exec(compile(block, str(path), "exec"), {"__name__": "__main__"})


@page
def test_every_command_is_parsed_or_run_or_says_why_not(path: Path):
    if RUN_BY.get(path.name) == "docs/test_tutorials.py":
        return
    for block in find_unmarked(path, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            assert (
                not words
                or words[0] in RUN_BY_CI
                or words[:2] == SITE
                or "unpairaug" in words
                or training_arguments(words)
            ), line


@page
def test_every_block_of_yaml_is_read(path: Path):
    for block in find_unmarked(path, "yaml"):
        assert isinstance(yaml.safe_load(block), dict)


@page
def test_every_block_names_its_language(path: Path):
    languages = {language for _, language, _ in BLOCK.findall(path.read_text(encoding="utf-8"))}
    assert languages <= {"bash", "python", "yaml", "text", "json"}
