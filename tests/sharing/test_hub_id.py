"""Hub ids: `user/name` and `user/name@revision`, and which commit came."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from unpairaug import Task, UserError, load_recipe
from unpairaug.registry import tasks
from unpairaug.sharing.hub_id import pin
from unpairaug.translator import build_translator

OLD, NEW = "0" * 40, "1" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache with two commits of one repository: a head of depth 3 as `v1`, one of depth 4 as `main`."""
    repository = tmp_path / "models--ann--model"
    (repository / "refs").mkdir(parents=True)
    for commit, revision, depth in ((OLD, "v1", 3), (NEW, "main", 4)):
        (repository / "refs" / revision).write_text(commit)
        task = tasks.build({"type": "denoise", "head": {"type": "dncnn", "depth": depth, "width": 4}})
        task.save_pretrained(repository / "snapshots" / commit / "head")
        build_translator({"type": "classic"}).save_pretrained(repository / "snapshots" / commit / "translator")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "depth"), [("ann/model", 4), ("ann/model@v1", 3), (f"ann/model@{OLD}", 3), ("ann/model@main", 4)]
)
def test_a_revision_is_loaded_and_its_commit_said(name: str, depth: int, cache: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "unpairaug"):
        task = Task.from_pretrained(name, cache_dir=cache)
    assert task.config["head"]["depth"] == depth
    commit = NEW if depth == 4 else OLD
    said = f"ann/model: commit {commit}; ann/model@{commit} names the same files in future"
    assert (said in caplog.text) == (not name.endswith(commit)), "a full commit needs no such line"


def test_two_different_revisions_are_refused(cache: Path):
    assert Task.from_pretrained("ann/model@v1", revision="v1", cache_dir=cache).config["head"]["depth"] == 3
    with pytest.raises(UserError, match="'ann/model@v1' names a revision, and revision='main' another; give one"):
        Task.from_pretrained("ann/model@v1", revision="main", cache_dir=cache)


@pytest.mark.parametrize("name", ["ann/model@", "ann", "ann/model@v2", "a b/c", "ann/\x1b[31m", "x" * 5000])
def test_what_the_hub_does_not_have_is_one_message(name: str, cache: Path):
    with pytest.raises(UserError) as refused:
        Task.from_pretrained(name, cache_dir=cache)
    assert (str(refused.value).isprintable() and "give a run folder" in str(refused.value)) or len(name) > 100


def test_a_recipe_records_the_commit(cache: Path, tmp_path: Path):
    (tmp_path / "here").mkdir()
    assert pin(str(tmp_path / "here")) == str(tmp_path / "here")
    for name, commit in (("ann/model", NEW), ("ann/model@v1", OLD)):
        recipe = load_recipe("smoke", [f"translator={{from: {name}}}", "schedule.translator_warmup=0"])
        assert recipe.translator["from"] == f"ann/model@{commit}"
