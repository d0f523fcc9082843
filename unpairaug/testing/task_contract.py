"""The rules for every task, beside those for its network as a head."""

from __future__ import annotations

from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from unpairaug.task import Task
from unpairaug.testing.contract import SIDE, SIZES, difference, find_not_finite, images
from unpairaug.translator import Translator


def is_a_task(task: Task) -> str | None:
    """It is an `unpairaug.Task` with a whole `scale` of 1 or more; `restorer` is None or a translator."""
    if not isinstance(task, Task):
        return f"a {type(task).__name__}"
    if not isinstance(task.restorer, Translator | None):
        return f"a {type(task.restorer).__name__} as `restorer`"
    return None if isinstance(task.scale, int) and task.scale >= 1 else f"scale {task.scale!r}"


def source_has_its_size(task: Task) -> str | None:
    """`source` makes (B, C, H / scale, W / scale) in [0, 1] of a clean image (B, C, H, W) in [0, 1]."""
    for height, width in SIZES:
        source = task.source(images(task.scale * height, task.scale * width))
        if tuple(source.shape) != (2, 3, height, width):
            return f"(2, 3, {task.scale * height}, {task.scale * width}) became {tuple(source.shape)}"
        if not (source.min() >= 0 and source.max() <= 1):
            return f"values from {source.min():.3g} to {source.max():.3g}"
    return None


def source_is_a_function(task: Task) -> str | None:
    """`source` makes the same of an image every time, alone and in a batch, and leaves it as it was."""
    clean = _clean(task)
    source = task.source(clean)
    alone = torch.cat([task.source(image[None]) for image in clean])
    return (
        difference(clean, _clean(task), 0)
        or difference(source, task.source(clean), 0)
        or difference(source, alone, 1.01 / 255)
    )


def source_stays_on_the_grid(task: Task) -> str | None:
    """`source` keeps the centres of the pixels: turned by 180 degrees before or after, it is the same."""
    turned = task.source(_clean(task).flip(2, 3)).flip(2, 3)
    return difference(turned, task.source(_clean(task)), 1.01 / 255)  # a value half way may be rounded either way


def restores_its_own_source(task: Task) -> str | None:
    """What it restores of a source has the shape of the clean image."""
    clean = _clean(task)
    restored = task.eval()(task.source(clean))
    return None if restored.shape == clean.shape else f"{tuple(restored.shape)} for {tuple(clean.shape)}"


def loss_is_a_scalar(task: Task) -> str | None:
    """`loss` is one finite number whose gradient reaches the restored image."""
    restored = images(task.scale * SIDE, task.scale * SIDE, seed=1).requires_grad_()
    loss = task.loss(restored, _clean(task))
    if loss.shape != ():
        return f"a tensor of shape {tuple(loss.shape)}"
    loss.backward()
    if restored.grad is None or not restored.grad.any():
        return "no gradient in the restored image"
    return find_not_finite(loss=loss, gradient=restored.grad)


def saved_equals_loaded(task: Task) -> str | None:
    """What `save_pretrained` writes, `Task.from_pretrained` loads: the same task, in evaluation mode."""
    if not hasattr(task, "config"):
        return None  # an instance that no registry built
    with TemporaryDirectory() as folder:
        task.save_pretrained(folder)
        loaded = Task.from_pretrained(folder, trust_code=True)
    with torch.no_grad():
        return difference(loaded(images(SIDE, SIDE)), task.eval()(images(SIDE, SIDE)), 1e-6)


def _clean(task: Task) -> Tensor:
    return images(task.scale * SIDE, task.scale * SIDE)


TASK_CONTRACT = [
    is_a_task,
    source_has_its_size,
    source_is_a_function,
    source_stays_on_the_grid,
    restores_its_own_source,
    loss_is_a_scalar,
    saved_equals_loaded,
]
