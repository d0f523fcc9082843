"""LearnedDegradation as a transform of albumentations: seeds, replays, files, worker processes."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import pickle
import sys
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from unpairaug.albumentations import LearnedDegradation
from unpairaug.augment import TranslatorAugment
from unpairaug.errors import UserError
from unpairaug.translator import Translator, build_translator

SHAPES = [(12, 10), (12, 10, 1), (12, 10, 3)]


@pytest.fixture(scope="module")
def camera() -> Translator:
    torch.manual_seed(0)
    translator = build_translator({"type": "stochastic_cyclegan", "width": 4, "depth": 2})
    for weight in translator.generators["degrade"].parameters():
        nn.init.normal_(weight, std=0.1)
    return translator


@pytest.fixture(scope="module")
def model(camera: Translator, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("runs") / "camera"
    camera.save_pretrained(folder)
    return str(folder)


def photograph(shape: tuple[int, ...] = (12, 10, 3), dtype: Any = np.uint8) -> np.ndarray:
    bits = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return bits if dtype == np.uint8 else (bits / 255).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_comes_back_degraded_in_its_shape_and_type(model: str, shape: tuple[int, ...], dtype: Any):
    image = photograph(shape, dtype)
    before = image.copy()
    shown = A.Compose([LearnedDegradation(model, p=1)], seed=0)(image=image)["image"]
    assert shown.shape == shape and shown.dtype == dtype and shown.flags.c_contiguous
    assert not np.array_equal(shown, before)
    assert np.array_equal(image, before), "what was given stays as it was"


def test_it_degrades_as_the_module_for_batches_does(model: str):
    transform, image = LearnedDegradation(model, strength=(0.2, 0.9), p=1), photograph()
    shown = transform(image=image)["image"]
    rng = torch.Generator().manual_seed(transform.get_applied_params()["seed"])
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = TranslatorAugment(model, strength=(0.2, 0.9))(batch, rng=rng)
    assert np.array_equal(shown, expected[0].permute(1, 2, 0).numpy())


def test_masks_and_boxes_stay(model: str):
    mask = np.eye(12, 10, dtype=np.uint8)
    shown = A.Compose([LearnedDegradation(model, p=1)])(image=photograph(), mask=mask)
    assert np.array_equal(shown["mask"], mask)


def test_the_seed_of_the_composition_decides(model: str):
    def images(seed: int) -> list[np.ndarray]:
        pipe = A.Compose([A.HorizontalFlip(p=0.5), LearnedDegradation(model, strength=(0.3, 1), p=0.5)], seed=seed)
        return [pipe(image=photograph())["image"] for _ in range(6)]

    first, again, other = images(1), images(1), images(2)
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))
    assert len({image.tobytes() for image in first}) > 2, "one call is unlike the next"


def test_a_saved_and_loaded_composition_gives_the_same_images(model: str, tmp_path: Path):
    pipe = A.Compose([A.HorizontalFlip(p=0.5), LearnedDegradation(model, strength=(0.3, 1), p=0.7)])
    A.save(pipe, tmp_path / "pipe.json")
    for copy in (A.from_dict(json.loads(json.dumps(A.to_dict(pipe)))), A.load(tmp_path / "pipe.json")):
        for seed in range(4):
            pipe.set_random_seed(seed)
            copy.set_random_seed(seed)
            assert np.array_equal(pipe(image=photograph())["image"], copy(image=photograph())["image"])


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_replay_gives_the_same_image(model: str, camera: Translator, in_memory: bool):
    given = camera if in_memory else model
    pipe = A.ReplayCompose([A.HorizontalFlip(p=0.5), LearnedDegradation(given, strength=(0.3, 1), p=0.7)])
    results = [pipe(image=photograph()) for _ in range(5)]
    for result in results:
        assert np.array_equal(A.ReplayCompose.replay(result["replay"], image=photograph())["image"], result["image"])
    assert len({result["image"].tobytes() for result in results}) > 1


def test_a_translator_in_memory_works_and_cannot_be_written_to_a_file(camera: Translator, model: str):
    pipe = A.Compose([LearnedDegradation(camera, p=1)], seed=0)
    named = A.Compose([LearnedDegradation(model, p=1)], seed=0)
    assert np.array_equal(pipe(image=photograph())["image"], named(image=photograph())["image"])
    with pytest.raises(UserError, match=r"save_pretrained\(folder\)"):
        A.to_dict(pipe)


def test_a_pickle_holds_the_path_and_not_the_weights(model: str, camera: Translator):
    transform = LearnedDegradation(model, p=1)
    written = pickle.dumps(transform)
    assert len(written) < len(pickle.dumps(LearnedDegradation(camera, p=1))) / 4
    twin = pickle.loads(written)
    for one in (transform, twin):
        one.set_random_seed(3)
    assert np.array_equal(transform(image=photograph())["image"], twin(image=photograph())["image"])


class Photographs(Dataset[np.ndarray]):
    """Six times the same photograph through a pipe whose seed is the item's number."""

    def __init__(self, pipe: A.Compose) -> None:
        self.pipe = pipe

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> np.ndarray:
        self.pipe.set_random_seed(i)
        return self.pipe(image=photograph())["image"]


@pytest.mark.parametrize(("start", "workers"), [("fork", 2), ("spawn", 1)])
def test_worker_processes_give_the_same_images_as_this_one(model: str, camera: Translator, start: str, workers: int):
    named_and_held = [LearnedDegradation(given, strength=(0.3, 1), p=1) for given in (model, camera)]
    photographs = Photographs(A.Compose(named_and_held))
    here = [photographs[i] for i in range(6)]
    loader = DataLoader(photographs, batch_size=2, num_workers=workers, multiprocessing_context=start)
    assert np.array_equal(torch.cat(list(loader)).numpy(), np.stack(here))


def _threads_within(photographs: Photographs) -> tuple[int, int]:
    seen = []
    augment = photographs.pipe.transforms[0].augment
    augment.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    torch.set_num_threads(2)
    photographs[0]
    return seen[0], torch.get_num_threads()


def test_a_child_process_uses_one_thread_and_its_parent_its_own_number(model: str):
    photographs = Photographs(A.Compose([LearnedDegradation(model, p=1)]))
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_threads_within, (photographs,)) == (1, 2)
    before = torch.get_num_threads()
    try:
        assert _threads_within(photographs) == (2, 2)
    finally:
        torch.set_num_threads(before)


def test_a_wrong_model_strength_or_probability_is_refused_when_it_is_given(tmp_path: Path, model: str):
    with pytest.raises(UserError, match=r"no config\.json"):
        LearnedDegradation(tmp_path)
    with pytest.raises(UserError, match="strength 3 should be"):
        LearnedDegradation(model, strength=3)
    with pytest.raises(ValueError, match="less than or equal to 1"):
        LearnedDegradation(model, p=2)


def test_without_albumentations_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "albumentations", None)
    monkeypatch.delitem(sys.modules, "unpairaug.albumentations")
    with pytest.raises(ImportError, match="pip install albumentations"):
        importlib.import_module("unpairaug.albumentations")


def test_the_agpl_successor_is_refused_and_the_mit_fork_is_not():
    from unpairaug.registry.albumentations_package import check_licence

    check_licence(["albumentations"])
    check_licence(["nrtk-albumentations"])
    with pytest.raises(UserError, match=r"whose licence is the AGPL.*pip install albumentations==2\.0\.8"):
        check_licence(["AlbumentationsX"])


@pytest.mark.parametrize("strength", [1.0, (0.3, 0.9)])
def test_a_large_image_in_tiles_is_the_whole_image(model: str, monkeypatch: pytest.MonkeyPatch, strength: Any):
    transform, image = LearnedDegradation(model, strength=strength, p=1), photograph((131, 170, 3))
    whole = transform.apply(image, seed=5)
    monkeypatch.setattr("unpairaug.albumentations.MAX_WHOLE_PIXELS", 131 * 170 - 1)
    monkeypatch.setattr("unpairaug.albumentations.TILE_SIDE", 48)
    seen = list[tuple[int, ...]]()
    transform.augment.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    tiled = transform.apply(image, seed=5)
    difference = np.abs(whole.astype(int) - tiled)
    assert len(seen) == 12 and max(max(shape) for shape in seen) <= 48 + 2 * 16
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3  # where rounding hangs on the last bit


def test_a_large_image_stays_whole_where_the_translator_looks_at_all_of_it(monkeypatch: pytest.MonkeyPatch):
    whole_image = build_translator({"type": "cyclegan", "ngf": 4, "n_blocks": 1, "norm": "instance"})
    transform, image = LearnedDegradation(whole_image, p=1), photograph((40, 40, 3))
    whole = transform.apply(image, seed=5)
    monkeypatch.setattr("unpairaug.albumentations.MAX_WHOLE_PIXELS", 1)
    assert np.array_equal(transform.apply(image, seed=5), whole)
