"""LPIPS, DISTS and ColorVideoVDP: laws that hold whatever the weights, and what is said where these are missing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.data import astronaut

from unpairaug.errors import UserError
from unpairaug.evaluation.evaluate import evaluate
from unpairaug.evaluation.perceptual_metrics import perceptual_metrics

CPU = torch.device("cpu")
WEIGHTS = {"lpips": ("alexnet", "AlexNet_Weights"), "dists": ("vgg16", "VGG16_Weights")}
each = pytest.mark.parametrize("name", list(WEIGHTS))


@pytest.fixture
def drawn_weights(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts random weights where torchvision keeps those that it downloads."""
    pytest.importorskip("torchmetrics", reason="the extra 'perceptual' is not installed")
    models = pytest.importorskip("torchvision.models")
    network, weights = WEIGHTS[name]
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in getattr(models, network)().state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    state = {
        # No metric looks at the classifier, so one number stands for each of its millions.
        key: torch.zeros(1).expand(shape)
        if key.startswith("classifier") or len(shape) < 2
        else torch.randn(shape, generator=generator) * (2 / shape[1:].numel()) ** 0.5
        for key, shape in shapes.items()
    }
    file = tmp_path / "hub" / "checkpoints" / Path(getattr(models, weights).DEFAULT.url).name
    file.parent.mkdir(parents=True)
    torch.save(state, file)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


@each
def test_what_differs_more_is_further_and_what_is_equal_is_at_nought(name: str, drawn_weights: None):
    metric = perceptual_metrics([name], CPU)[name]
    clean = astronaut()[80:160, 180:276]
    noise = np.random.default_rng(0).normal(size=clean.shape)
    noisy = [np.clip(clean + sigma * noise, 0, 255).astype(np.uint8) for sigma in (5, 40)]
    distances = [metric(image, clean, 0) for image in (clean, *noisy)]
    assert distances[0] == pytest.approx(0, abs=1e-5)
    assert distances[0] < distances[1] < distances[2]
    assert metric(noisy[0], clean, 0) == distances[1]  # nothing is kept from image to image
    framed = clean.copy()
    framed[:3] = 0
    assert metric(framed, clean, 3) == pytest.approx(0, abs=1e-5)
    with pytest.raises(UserError, match="too small to measure"):
        metric(clean[:30], clean[:30], 0)


def test_cvvdp_falls_from_10_with_what_an_eye_sees(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("pycvvdp", reason="the extra 'perceptual' is not installed")
    metric = perceptual_metrics(["cvvdp"], CPU)["cvvdp"]
    clean = astronaut()[80:160, 180:276]
    noise = np.random.default_rng(0).normal(size=clean.shape)
    noisy = [np.clip(clean + sigma * noise, 0, 255).astype(np.uint8) for sigma in (5, 40)]
    found = [metric(image, clean, 0) for image in (clean, *noisy)]
    assert found[0] == pytest.approx(10) and found[0] > found[1] > found[2]
    assert metric(noisy[0], clean, 0) == found[1]
    monkeypatch.setitem(sys.modules, "pycvvdp", None)
    with pytest.raises(UserError, match=r"--cvvdp needs cvvdp.*pip install 'unpairaug\[perceptual\]'"):
        perceptual_metrics(["cvvdp"], CPU)


@pytest.mark.parametrize("name", ["lpips"])
def test_evaluation_lists_the_metric_beside_the_others(name: str, drawn_weights: None):
    results = evaluate("bicubic", "sample", "sample", perceptual=[name])
    assert list(next(iter(results["images"].values())))[-1] == name
    assert results[name] == pytest.approx(np.mean([image[name] for image in results["images"].values()]))


@each
def test_weights_that_cannot_be_had_are_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("torchmetrics", reason="the extra 'perceptual' is not installed")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # where nobody listens: no test may download
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(UserError, match=rf"(?s)--{name} needs pretrained weights.*checkpoints"):
        perceptual_metrics([name], CPU)


@each
def test_a_missing_torchmetrics_is_named(name: str, monkeypatch: pytest.MonkeyPatch):
    for module in ("torchmetrics", "torchmetrics.image.lpip", "torchmetrics.functional.image.dists"):
        monkeypatch.setitem(sys.modules, module, None)  # what Python does with a module that must not be found
    with pytest.raises(UserError, match=rf"--{name} needs torchmetrics.*pip install 'unpairaug\[perceptual\]'"):
        perceptual_metrics([name], CPU)
