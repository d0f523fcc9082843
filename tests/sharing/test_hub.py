"""Trained parts in folders and on the hub: what is saved says what it is, and comes back from either."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard, ModelHubMixin
from safetensors.torch import load_file, save_file

from unpairaug.errors import UserError
from unpairaug.recipe import load_recipe
from unpairaug.registry import tasks, translators
from unpairaug.sharing.manifest import write_manifest
from unpairaug.sharing.pretrained import FOLDER
from unpairaug.task import Task
from unpairaug.training.run_folder import RunFolder
from unpairaug.translator import Translator

COMMIT = "0" * 40
PARTS: list[Any] = [
    lambda: tasks.build({"type": "sr", "scale": 2, "head": {"type": "vdsr", "depth": 3, "width": 4}}),
    lambda: translators.build(
        {"type": "cyclegan", "ngf": 4, "n_blocks": 1, "discriminator": {"type": "patch", "ndf": 4}}
    ),
]
each_part = pytest.mark.parametrize("make", PARTS, ids=["task", "translator"])


def restored(part: Any) -> torch.Tensor:
    image = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return part.restore(image) if isinstance(part, Translator) else part(image)


@each_part
def test_a_folder_holds_a_card_that_the_hub_reads(make: Any, tmp_path: Path):
    part = make().eval()
    part.save_pretrained(tmp_path, license="cc-by-4.0")
    data = ModelCard.load(tmp_path / "README.md").data.to_dict()
    assert (data["library_name"], data["license"], data["pipeline_tag"]) == ("unpairaug", "cc-by-4.0", "image-to-image")
    assert {"unpairaug", part.part, part.config["type"]} <= set(data["tags"])
    assert isinstance(part, ModelHubMixin)
    assert torch.equal(restored(type(part).from_pretrained(tmp_path)), restored(part))


@each_part
def test_a_licence_that_nobody_gave_is_not_made_up(make: Any, tmp_path: Path):
    make().save_pretrained(tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.to_dict()["license"] == "unknown"
    assert "Not stated" in card.text and "Not known: no run" in card.text


@each_part
def test_the_lines_that_a_card_shows_run(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    part = make()
    part.save_pretrained(tmp_path / "path" / "of" / "this" / "folder")
    text = (tmp_path / "path/of/this/folder/README.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"degraded": torch.rand(1, 3, 8, 9), "source": torch.rand(1, 3, 8, 9)}
    monkeypatch.chdir(tmp_path)
    exec(text.partition("```python\n")[2].partition("```")[0], names)
    assert names["restored" if part.part == "task" else "fake"].shape[1] == 3


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that validated, and noted what it trains from under folders of one machine."""
    (tmp_path / "secret" / "of_mine").mkdir(parents=True)
    private = tmp_path / "secret" / "of_mine"
    sources = f"{{{private}: 3, 'https://me:word@example.org/shards/0.tar?token=abc': 1}}"
    recipe = load_recipe("smoke", [f"data.clean={sources}", f"output_dir={tmp_path / 'run'}", "train.seed=5"])
    run = RunFolder(recipe, {})
    run.lock_folder()
    run.open("cpu", 2, 0)
    run.log_metrics(4, "val", {"psnr_rgb": 27.25})
    run.log_metrics(8, "val", {"psnr_rgb": 28.125})
    run.log_metrics(8, "train", {"task_l1": 0.5})
    run.save(9, {}, {}, PARTS[1](), PARTS[0]())
    run.close()
    return run


@pytest.mark.parametrize("part", [Task, Translator])
def test_the_card_of_a_run_says_how_it_was_trained_and_no_folder_of_the_machine(run: RunFolder, part: Any):
    card = (run.path / FOLDER[part.part] / "README.md").read_text(encoding="utf-8")
    for said in (
        "| steps | 9 |",
        "| seed | 5 |",
        "| images of a step | 8 |",
        "28.1250",
        "step 8",
        "`of_mine` (weight 3)",
    ):
        assert said in card
    config = (run.path / FOLDER[part.part] / "config.json").read_text(encoding="utf-8")
    for text in (card, config):
        assert not [word for word in ("secret", str(run.path.parent), "token", "word", "27.25") if word in text]


def test_what_a_run_noted_stays_with_the_part_wherever_it_is_saved(run: RunFolder, tmp_path: Path):
    Task.from_pretrained(run.path).save_pretrained(tmp_path / "copy", license="mit")
    copy = Task.from_pretrained(tmp_path / "copy")
    assert copy.trained["steps"] == 9 and copy.trained["metrics"] == {"step": 8, "psnr_rgb": 28.125}
    assert "| steps | 9 |" in (tmp_path / "copy" / "README.md").read_text(encoding="utf-8")


def test_a_run_that_goes_on_remembers_what_it_measured_up_to_there(run: RunFolder):
    again = RunFolder(run.recipe, {})
    again.open("cpu", 1, 5)
    again.close()
    assert again.validation == {"step": 4, "psnr_rgb": 27.25}


@each_part
def test_folders_of_earlier_versions_load(make: Any, tmp_path: Path):
    part = make().eval()
    part.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    del config["trained"]
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "README.md").unlink()
    again = type(part).from_pretrained(tmp_path)
    assert again.trained == {} and torch.equal(restored(again), restored(part))


@each_part
def test_weights_of_another_version_are_one_clear_message(make: Any, tmp_path: Path):
    part = make()
    part.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    gone = next(iter(weights))
    save_file({key: tensor for key, tensor in weights.items() if key != gone}, tmp_path / "model.safetensors")
    write_manifest(tmp_path, ("config.json", "model.safetensors"))
    with pytest.raises(UserError, match=rf"(?s)its weights do not fit the .* that unpairaug .*{re.escape(gone)}"):
        type(part).from_pretrained(tmp_path)


def test_a_repository_that_is_not_here_is_one_clear_message_without_network():
    with pytest.raises(UserError, match="no folder 'nobody/nothing' here, and the hub gave none"):
        Translator.from_pretrained("nobody/nothing")


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as publishing and loading a small repository takes."""

    def __init__(self, repositories: dict[str, dict[str, bytes]], *rest: Any) -> None:
        self.repositories = repositories
        super().__init__(*rest)

    def log_message(self, format: str, *args: object) -> None: ...

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = f"http://{self.headers['Host']}/ann/model"
        path = self.path.partition("?")[0]
        if path == "/api/repos/create":
            self.repositories.setdefault("ann/model", {})
            self.answer({"url": address})
        elif path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            self.answer({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        elif path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.repositories["ann/model"][line["value"]["path"]] = b64decode(line["value"]["content"])
            self.answer({"success": True, "commitOid": COMMIT, "commitUrl": f"{address}/commit/{COMMIT}"})
        else:
            self.answer({"warnings": [], "errors": []})  # /api/validate-yaml

    def do_GET(self) -> None:
        files = self.repositories.get("ann/model", {})
        if "/resolve/" in self.path:
            contents = files[self.path.rpartition("/")[2]]
            self.answer(contents, {"X-Repo-Commit": COMMIT, "ETag": f'"{hash(contents):x}"'})
        elif "/tree/" in self.path:
            self.answer([{"type": "file", "path": n, "size": len(c), "oid": COMMIT} for n, c in files.items()])
        else:
            self.answer({"id": "ann/model", "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]})

    do_HEAD = do_GET

    def answer(self, contents: Any, headers: dict[str, str] | None = None) -> None:
        data = contents if isinstance(contents, bytes) else json.dumps(contents).encode()
        self.send_response(200)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@pytest.fixture
def hub() -> Iterator[tuple[str, dict[str, dict[str, bytes]]]]:
    """The address of a hub on this machine, and the files of its repositories."""
    repositories: dict[str, dict[str, bytes]] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, repositories))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", repositories
    server.shutdown()
    server.server_close()


PUBLISH = """
import sys, torch
from unpairaug import Translator
mine = Translator.from_pretrained(sys.argv[1])
print(mine.push_to_hub("ann/model", license="cc0-1.0", token="hf_toy"))
theirs = Translator.from_pretrained("ann/model", token=False)
image = torch.rand(1, 3, 8, 8)
assert torch.equal(theirs.degrade(image), mine.degrade(image))
"""


def test_what_is_pushed_comes_back_by_its_id(hub: tuple[str, dict[str, dict[str, bytes]]], tmp_path: Path):
    address, repositories = hub
    PARTS[1]().save_pretrained(tmp_path / "translator")
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "HF_ENDPOINT": address,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-c", PUBLISH, str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == f"{address}/ann/model/commit/{COMMIT}"
    assert set(repositories["ann/model"]) == {"README.md", "config.json", "manifest.json", "model.safetensors"}
    card = repositories["ann/model"]["README.md"].decode()
    assert 'Translator.from_pretrained("ann/model")' in card and "license: cc0-1.0" in card


def test_importing_the_package_imports_neither_torch_nor_the_hub():
    code = "import sys, unpairaug; sys.exit(bool({'torch', 'huggingface_hub'} & set(sys.modules)))"
    checkout = str(Path(__file__).resolve().parents[2])
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": checkout}).returncode == 0


def test_a_folder_of_another_version_with_other_options_says_which_version_to_use(tmp_path: Path):
    translators.build({"type": "bicubic"}).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config |= {"unpairaug": "0.0.9", "translator": {**config["translator"], "lens": "measured"}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError, match=r"lens[\s\S]*unpairaug 0\.0\.9 saved it, and this is .*; load|: load it with"):
        Translator.from_pretrained(tmp_path)
