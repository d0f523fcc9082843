"""A model folder of a stranger: no code that it names runs, unless the caller trusts it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from unpairaug import Run, Task, Translator, TranslatorAugment, UserError, evaluate, load_recipe
from unpairaug.albumentations import LearnedDegradation
from unpairaug.data import write_image
from unpairaug.degrading.degrade import Degradation, Degrader
from unpairaug.export import export
from unpairaug.registry import heads, losses, tasks, translators
from unpairaug.report.page import render_page
from unpairaug.report.record import read_record
from unpairaug.restoring.restore import load_model
from unpairaug.scoring.score_model import score_model
from unpairaug.sharing.tensor_file import save_tensors
from unpairaug.task import RESTORER
from unpairaug.training.replay import replay
from unpairaug.translator import build_translator

TASK = {"type": "denoise", "head": {"type": "dncnn", "depth": 3, "width": 4}}
TRANSLATOR = {"type": "cyclegan", "ngf": 4, "n_blocks": 1, "discriminator": {"type": "patch", "ndf": 4, "n_layers": 1}}
MODULE = """
from pathlib import Path
from torch import nn
from unpairaug import Task, Translator

Path({mark!r}).touch()

class Head(nn.Module):
    def __init__(self, depth: int = 3) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, degraded):
        return self.body(degraded)

class Blur(Translator):
    def degrade(self, source, rng=None):
        return nn.functional.avg_pool2d(source, 3, 1, 1)

class Denoise(Task):
    def __init__(self) -> None:
        super().__init__(scale=1, head={{"type": "dncnn", "depth": 3, "width": 4}})
"""


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the payload leaves behind. Its module lies in the current folder, which is searched for modules."""
    mark = tmp_path / "mark"
    (tmp_path / "payload.py").write_text(MODULE.format(mark=str(mark)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "payload", raising=False)
    return mark


def save_run(folder: Path, task: dict[str, Any], translator: dict[str, Any]) -> Path:
    """A run folder whose two configurations are replaced by those of a stranger; the weights are good ones."""
    for part, name, spec in (
        (tasks.build(TASK), "head", task),
        (build_translator(TRANSLATOR), "translator", translator),
    ):
        part.save_pretrained(folder / name)
        file = folder / name / "config.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps({**config, part.part: spec}), encoding="utf-8")
    return folder


def popen(mark: Path) -> dict[str, Any]:
    return {"type": "subprocess:Popen", "args": ["touch", str(mark)]}


TASKS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "the task": popen,
    "the task, in the current folder": lambda mark: {"type": "payload:Denoise"},
    "the head": lambda mark: {**TASK, "head": popen(mark)},
    "the head, in the current folder": lambda mark: {**TASK, "head": {"type": "payload:Head"}},
    "the translator behind the head": lambda mark: {**TASK, RESTORER: popen(mark)},
    "its discriminator": lambda mark: {**TASK, RESTORER: {**TRANSLATOR, "discriminator": popen(mark)}},
}
TRANSLATORS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "the translator": popen,
    "the translator, in the current folder": lambda mark: {"type": "payload:Blur"},
    "the discriminator": lambda mark: {**TRANSLATOR, "discriminator": popen(mark)},
    "the discriminator, in the current folder": lambda mark: {**TRANSLATOR, "discriminator": "payload:Head"},
}
REFUSED = (
    "names the (task|head|translator|discriminator) '(subprocess:Popen|payload:\\w+)': code that is neither part of"
)


@pytest.mark.parametrize("spec", TASKS.values(), ids=TASKS)
def test_a_head_of_a_stranger_runs_no_code(spec: Callable[[Path], dict[str, Any]], mark: Path, tmp_path: Path):
    run = str(save_run(tmp_path / "run", spec(mark), TRANSLATOR))
    write_image(tmp_path / "images" / "a.png", (torch.rand(32, 32, 3) * 255).byte().numpy())
    images = str(tmp_path / "images")
    uses: dict[str, Callable[[], object]] = {
        "from_pretrained": lambda: Task.from_pretrained(run),
        "restore": lambda: load_model(run),
        "evaluate": lambda: evaluate(run, images, images),
        "export": lambda: export(run, tmp_path / "out.safetensors", "safetensors"),
        "degrade": lambda: Degrader(Degradation(run)),
    }
    for use in uses.values():
        with pytest.raises(UserError, match=REFUSED):
            use()
    assert not mark.exists() and "payload" not in sys.modules


@pytest.mark.parametrize("spec", TRANSLATORS.values(), ids=TRANSLATORS)
def test_a_translator_of_a_stranger_runs_no_code(spec: Callable[[Path], dict[str, Any]], mark: Path, tmp_path: Path):
    run = str(save_run(tmp_path / "run", TASK, spec(mark)))
    uses: dict[str, Callable[[], object]] = {
        "from_pretrained": lambda: Translator.from_pretrained(run),
        "degrade": lambda: Degrader(Degradation(run)),
        "score": lambda: score_model(run, "sample", "sample"),
        "augment": lambda: TranslatorAugment(run),
        "albumentations": lambda: LearnedDegradation(run),
        "recipe": lambda: load_recipe("smoke", [f"translator={{from: {run}}}"]),
    }
    for use in uses.values():
        with pytest.raises(UserError, match=REFUSED):
            use()
    assert not mark.exists() and "payload" not in sys.modules


def test_a_report_of_a_strangers_run_shows_no_restored_images_and_says_why(mark: Path, tmp_path: Path):
    run = save_run(tmp_path / "run", {**TASK, "head": popen(mark)}, TRANSLATOR)
    (run / "recipe.yaml").write_text("data: {clean: sample, degraded: sample}\n")
    (run / "metrics.jsonl").write_text('{"step": 1, "split": "train", "task_l1": 0.1}\n')
    assert "No image could be restored" in render_page(read_record(run))
    assert not mark.exists()


def test_a_hub_repository_of_a_stranger_runs_no_code(mark: Path, tmp_path: Path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "cache" / "models--ann--model"
    save_run(repository / "snapshots" / commit, {**TASK, "head": popen(mark)}, {"type": "payload:Blur"})
    (repository / "refs").mkdir()
    for name in ("main", "v1"):
        (repository / "refs" / name).write_text(commit)
    for cls in (Task, Translator):
        for name in ("ann/model", "ann/model@v1", f"ann/model@{commit}"):
            with pytest.raises(UserError, match=REFUSED):
                cls.from_pretrained(name, cache_dir=tmp_path / "cache")
    assert not mark.exists() and "payload" not in sys.modules


def test_a_module_that_is_imported_already_is_not_called_either(mark: Path, tmp_path: Path):
    import payload  # type: ignore[import-not-found]  # the fixture has written it

    mark.unlink()
    run = save_run(tmp_path / "run", {**TASK, "head": {"type": "payload:Head"}}, TRANSLATOR)
    called: list[object] = []
    payload.Head.__init__ = lambda self, **options: called.append(self)
    with pytest.raises(UserError, match=REFUSED):
        Task.from_pretrained(run)
    assert not called and not mark.exists()


def test_with_trust_the_code_of_a_folder_loads(mark: Path, tmp_path: Path):
    run = tmp_path / "run"
    head = {"type": "payload:Head", "depth": 4}
    tasks.build({"type": "denoise", "head": head}).save_pretrained(run / "head")
    translators.build("payload:Blur").save_pretrained(run / "translator")
    for cls in (Task, Translator):
        with pytest.raises(UserError, match=REFUSED):
            cls.from_pretrained(run)
    image = torch.rand(1, 3, 16, 16)
    assert Task.from_pretrained(run, trust_code=True)(image).shape == image.shape
    assert load_model(str(run), trust_code=True)(image).shape == image.shape
    assert Translator.from_pretrained(run, trust_code=True).degrade(image).shape == image.shape
    assert Degrader(Degradation(str(run), trust_code=True)).translator.config["type"] == "payload:Blur"
    assert TranslatorAugment(run, trust_code=True)(image).shape == image.shape
    recipe = ["task=denoise"]
    for trusted in ("{from: run, trust_code: true}", "{from: run, type: 'payload:Blur'}"):
        loaded = load_recipe("smoke", [f"translator={trusted}", *recipe])
        assert loaded.translator["type"] == "payload:Blur"
    assert load_recipe("smoke", ["translator={from: run, trust_code: true}", *recipe]).translator["trust_code"] is True


def test_what_is_no_head_is_not_called_even_with_trust(mark: Path, tmp_path: Path):
    run = save_run(tmp_path / "run", {**TASK, "head": popen(mark)}, popen(mark))
    with pytest.raises(UserError, match=r"head 'subprocess:Popen': subprocess.Popen is no head; derive it from torch"):
        Task.from_pretrained(run, trust_code=True)
    with pytest.raises(UserError, match=r"subprocess.Popen is no translator; derive it from unpairaug.translator"):
        Translator.from_pretrained(run, trust_code=True)
    assert not mark.exists()


@pytest.mark.parametrize("section", ["task", "task.head", "translator", "translator.discriminator", "task.loss.own"])
def test_a_recipe_calls_no_class_of_another_kind(section: str, mark: Path):
    override = f"{section}={{type: 'subprocess:Popen', args: [touch, {mark}]}}"
    with pytest.raises(UserError, match=r"subprocess.Popen is no (task|head|translator|discriminator|loss)"):
        load_recipe("smoke", [override])
    for registry in (heads, losses, tasks, translators):
        with suppress(UserError):
            registry.build({"type": "subprocess:Popen", "args": ["touch", str(mark)]})
    assert not mark.exists()


@pytest.mark.parametrize("way", [{"trust_code": True}, {"type": "payload:Blur"}])
def test_the_recipe_in_a_strangers_replay_file_cannot_trust_itself(way: dict[str, Any], mark: Path, tmp_path: Path):
    run = save_run(tmp_path / "run", TASK, {"type": "payload:Blur"})
    recipe = load_recipe("smoke").model_dump(mode="json")
    recipe["translator"] = {"from": str(run), **way}
    values = {"recipe": recipe, "precision": "no", "step": 1, "names": [], "files": [], "batches": 1, "state": {}}
    save_tensors(tmp_path / "step.safetensors", {"a": torch.zeros(1)}, {"replay": json.dumps(values)})
    with pytest.raises(UserError, match=r"names the translator 'payload:Blur': code that is neither part of"):
        replay(tmp_path / "step.safetensors")
    assert not mark.exists()


def test_the_recipe_in_a_strangers_run_folder_runs_no_code(mark: Path, tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text("base: smoke\ntask: {head: {type: 'payload:Head'}}\n")
    with pytest.raises(UserError, match=REFUSED):
        Run(tmp_path).recipe  # noqa: B018  # the property reads it
    assert not mark.exists()
    assert Run(tmp_path, trust_code=True).recipe.task["head"]["type"] == "payload:Head"


def test_a_stranger_names_no_file_to_read_weights_from(mark: Path, tmp_path: Path):
    (tmp_path / "weights.pth").write_bytes(b"a pickle")
    head = {"type": "spandrel", "checkpoint": str(tmp_path / "weights.pth")}
    run = save_run(tmp_path / "run", {**TASK, "head": head}, TRANSLATOR)
    with pytest.raises(UserError, match=r"names a file to read, .*weights\.pth"):
        Task.from_pretrained(run)
    with pytest.raises(UserError, match="cannot be loaded"):
        Task.from_pretrained(run, trust_code=True)
