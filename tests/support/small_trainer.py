"""A joint trainer of toy networks, and batches for it."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from small_parts import built_in, small

from unpairaug.bridge import Bridge
from unpairaug.camera.spectra import BANDS, kernel_of
from unpairaug.data import UnpairedBatch
from unpairaug.recipe import TrainSection
from unpairaug.recipe.optimizer_sections import OptimizerSection
from unpairaug.registry import Spec, tasks, translators
from unpairaug.training.real_path import RealPath
from unpairaug.training.schedule import Schedule
from unpairaug.training.trainer import JointTrainer
from unpairaug.translator import MEASURE, Translator, build_translator

PATCH = {"type": "patch", "ndf": 4, "n_layers": 1}
SRGAN = {"type": "srgan", "ndf": 4, "norm": "none"}
CYCLEGAN = {"type": "cyclegan", "ngf": 4, "n_blocks": 1, "discriminator": PATCH, "pool_size": 0}
STOCHASTIC = {
    "type": "stochastic_cyclegan",
    "width": 4,
    "depth": 3,
    "discriminator": {"type": "texture", "ndf": 4},
    "pool_size": 0,
}

ADAM = {kind: {"lr": 1e-2} for kind in OptimizerSection.model_fields}
GAN = {"l1": 1.0, "ssim": 0.1, "gan": {"weight": 0.05, "game": "relativistic", "discriminator": SRGAN}}


def every_translator(pool_size: int) -> dict[str, dict]:
    """Every built-in translator by its name; those that show fakes of earlier steps again, with that many of them."""
    pooled = {name: "pool_size" in translators.options(name).model_fields for name in built_in(translators)}
    return {name: small(name, **({"pool_size": pool_size} if pools else {})) for name, pools in pooled.items()}


def divisible_translators() -> dict[str, dict]:
    """All of them so that they do not depend on how a batch is divided: without a pool, without batch norm."""
    every = every_translator(pool_size=0)
    every["cincgan"]["norm"] = "none"
    every["cyclegan"]["discriminator"] = PATCH  # a norm over the four places that a deeper one sees enlarges rounding
    behind_camera = {f"{name} behind a camera": {**every[name], MEASURE: "all"} for name in ("cyclegan", "one_sided")}
    return {**every, **behind_camera}


def make_trainer(
    translator: dict = CYCLEGAN,
    schedule: Schedule = Schedule(steps=100),  # noqa: B008
    optimizer: dict = ADAM,
    loss: str | dict = "l1",
    bridge: dict | None = None,
    real_path: dict | None = None,
    **train,
) -> JointTrainer:
    torch.manual_seed(0)
    task = tasks.build({"type": "sr", "scale": 2, "head": {"type": "vdsr", "depth": 3, "width": 4}, "loss": loss})
    for layer in task.modules():  # VDSR starts as plain enlargement: wake it up
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, std=0.1)
    options, how = TrainSection(steps=100, **train), OptimizerSection.model_validate({**ADAM, **optimizer})
    path = RealPath(task.scale, **(real_path or {}))
    parts = translator_at_scale(translator, task.scale), task, Bridge(**(bridge or {})), path
    return JointTrainer(Accelerator(cpu=True), *parts, schedule, options, how)


def translator_at_scale(spec: Spec, scale: int) -> Translator:
    """The translator with the task's scale, as a recipe builds it; its camera, if it has one, blurs and adds noise."""
    of_class = {key: value for key, value in spec.items() if key != MEASURE}
    translator = build_translator({**spec, **translators.complete(of_class, {"scale": scale})})
    if translator.camera is not None:
        translator.camera.optics.kernel.copy_(kernel_of(torch.linspace(1.0, 0.1, BANDS + 1), 15))
        translator.camera.noise.ends.fill_(0.02)
    return translator


def make_batch(first: int = 0, size: int = 4) -> UnpairedBatch:
    rng = torch.Generator().manual_seed(first)
    images = (torch.rand(size, 3, side, side, generator=rng) for side in (32, 16))
    return UnpairedBatch(*images, torch.arange(first, first + size))
