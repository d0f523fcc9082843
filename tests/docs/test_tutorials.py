"""The tutorials work block by block: every file is written and every command is run, in order."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

# The programs that a page uses, as an installation provides them. `pip` installs into a folder of this test.
PROGRAMS = {
    "accelerate": '"{python}" -m accelerate.commands.accelerate_cli "$@"',
    "pip": '"{python}" -m pip "$@" --quiet --no-deps --no-index --no-build-isolation --target "{site}"',
    "pytest": '"{python}" -m pytest "$@"',
    "python": '"{python}" "$@"',
    "unpairaug": '"{python}" -c "from unpairaug.commands import main; main()" "$@"',
}


def run_tutorial(page: Path, reader: Path) -> tuple[str, Path]:
    """Run all blocks of a page in an empty folder; return the output and the last current folder."""
    (reader / "bin").mkdir()
    for name, command in PROGRAMS.items():
        program = reader / "bin" / name
        program.write_text("#!/bin/sh\nexec " + command.format(python=sys.executable, site=reader / "site") + "\n")
        program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{reader / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(map(str, (page.parents[2], reader / "site"))),
        "ACCELERATE_USE_CPU": "true",
        "HOME": str(reader),
    }
    here, printed = reader / "folder", ""
    here.mkdir()
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.M):
        if language == "bash":
            script = f"set -e\n{text}\npwd > '{reader / 'pwd'}'\n"
            done = subprocess.run(["bash", "-c", script], cwd=here, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            printed += done.stdout
            here = Path((reader / "pwd").read_text().strip())
        else:
            name, _, content = text.removeprefix("# ").partition("\n")
            (here / name).write_text(content, encoding="utf-8")
    return printed, here


def hash_package(checkout: Path) -> str:
    """Hash of all files of the package, its tasks and its recipes."""
    files = [path for name in ("unpairaug", "tasks", "recipes") for path in sorted((checkout / name).rglob("*"))]
    kept = [path for path in files if path.suffix in (".py", ".yaml", ".toml", ".md")]
    return hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in kept)).hexdigest()


@pytest.fixture(scope="module")
def task(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Output of add_a_task.md, and its last current folder."""
    before = hash_package(checkout)
    result = run_tutorial(checkout / "docs" / "guides" / "add_a_task.md", tmp_path_factory.mktemp("reader"))
    assert hash_package(checkout) == before, "the tutorial changed this repository"
    return result


def test_the_tutorials_head_trains_from_a_folder_that_held_no_code(task: tuple[str, Path]):
    _, folder = task
    left = {path.name for path in folder.iterdir()}
    assert left == {"make_photographs.py", "clean", "compressed", "val_clean", "val_compressed", "runs", "restored"}
    lines = [json.loads(line) for line in (folder / "runs/jpeg_artefacts/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["split"] == "train"] == [5, 10]
    config = json.loads((folder / "runs/jpeg_artefacts/head/config.json").read_text())
    assert config["task"]["type"] == "jpeg_artefacts.task:JpegArtefacts"


def test_the_tutorials_package_is_listed_and_its_model_restores(task: tuple[str, Path]):
    printed, folder = task
    assert re.search(r"jpeg_artefacts +package jpeg-artefacts 0.1.0 +Removes JPEG artefacts", printed)
    assert "3 passed" in printed
    assert re.search("psnr_rgb", printed)
    for compressed in (folder / "val_compressed").iterdir():
        with Image.open(compressed) as before, Image.open(folder / "restored" / f"{compressed.stem}.png") as after:
            assert before.size == after.size


def test_the_translators_and_the_task_of_the_page_are_short_keep_their_contracts_and_train(
    checkout: Path, tmp_path: Path
):
    page = checkout / "docs" / "guides" / "add_a_translator.md"
    _, folder = run_tutorial(page, tmp_path)
    for name, most in (("old_phone", 15), ("blur_and_noise", 40), ("sharpen", 10)):
        lines = [line for line in (folder / f"{name}.py").read_text().splitlines() if line.strip()]
        assert len(lines) <= most, f"{name}: {len(lines)} lines"
    types = {
        "old_phone": "old_phone:OldPhone",
        "learnt_blur": "blur_and_noise:LearntBlur",
        "measured_first": "blur_and_noise:LearntBlur",
    }
    for run, type_ in types.items():
        config = json.loads((folder / "runs" / run / "translator" / "config.json").read_text())["translator"]
        assert config["type"] == type_ and config.get("measure", "none") == (
            "all" if run == "measured_first" else "none"
        )
    assert (folder / "runs/sharpen/head/model.safetensors").is_file()
