"""The step that went wrong, as a file: its batch and the state before it. `unpairaug debug replay` takes it again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from unpairaug import __version__
from unpairaug.data import UnpairedBatch
from unpairaug.errors import UserError, escape
from unpairaug.files import parse_json_object
from unpairaug.recipe import Recipe
from unpairaug.registry.options import dotted_key, mistakes
from unpairaug.registry.plugins import format_error
from unpairaug.registry.trust import names_from
from unpairaug.rng import mix_seed
from unpairaug.sharing.manifest import flush_to_disk
from unpairaug.sharing.size_limit import limit_networks
from unpairaug.sharing.tensor_file import save_tensors
from unpairaug.training.build import build_trainer, make_accelerator
from unpairaug.training.checkpoint import Tensors
from unpairaug.training.trainer import JointTrainer

STATE, BATCH, KEY = "state", "batch", "replay"
"""How the names of tensors begin, and the name of the metadata."""


def save_replay(
    path: Path,
    step: int,
    names: Sequence[str],
    recipe: Recipe,
    files: dict[str, Tensors],
    state: dict[str, Any],
    batches: Sequence[UnpairedBatch],
    precision: str,
) -> None:
    """Write everything that the step needs to be taken again, without the images it read.

    Args:
        path: a safetensors file; its folder is made.
        step: counted from 0.
        names: what is not finite, in words.
        recipe: with lengths in steps.
        files: tensors of the state before the step, as a checkpoint has them.
        state: its plain values.
        batches: the micro-batches of all processes; images in [0, 1].
        precision: mixed precision of the run.

    Raises:
        OSError: it cannot be written.
    """
    tensors = {f"{STATE}/{file}/{key}": t for file, held in files.items() for key, t in held.items()}
    for number, batch in enumerate(batches):
        images = {name: (255 * getattr(batch, name)).round().byte() for name in ("clean", "degraded")}
        tensors |= {f"{BATCH}/{number}/{name}": t for name, t in {**images, "index": batch.index}.items()}
    facts = {"unpairaug": __version__, "step": step, "names": [*names], "precision": precision}
    values = {**facts, "files": [*files], "batches": len(batches), "recipe": recipe.model_dump(mode="json")}
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    save_tensors(partial, tensors, {KEY: json.dumps({**values, "state": state})})
    flush_to_disk(partial)
    partial.replace(path)


@dataclass(frozen=True)
class Replay:
    """A step taken again."""

    step: int
    """Counted from 0."""
    names: list[str]
    """What was not finite in the run, in words."""
    samples: list[int]
    values: dict[str, float]
    """Each loss term and the norm of each network's gradient, by the names that the run gives them."""
    first_layer: str | None
    """The first layer whose output is not finite; None where every output is."""

    def bad(self) -> list[str]:
        """The names of the values that are not finite."""
        return [name for name, value in self.values.items() if not math.isfinite(value)]


def replay(path: Path, trust_code: bool = False) -> Replay:
    """Take the step of a replay file again, on this machine's device.

    Args:
        path: what `save_replay` wrote.
        trust_code: import `module:Class` names of its recipe, which runs code of the file's author.

    Raises:
        UserError: it is no such file, or it is damaged, or it names code that is not trusted.
    """
    tensors, values = _read(path)
    try:
        with names_from(str(path), trust_code), limit_networks(tensors.values()):
            trainer = _build_trainer(tensors, values)
        device = trainer.accelerator.device
        batches = [_batch(_below(tensors, f"{BATCH}/{n}/"), device) for n in range(values["batches"])]
        step, names = int(values["step"]), [str(name) for name in values["names"]]
        trainer.schedule.phase(step)
        samples = [index for batch in batches for index in batch.index.tolist()]
        if not samples:
            raise ValueError("there is no sample")
    except UserError:
        raise
    except Exception as error:  # a file of somebody else or of another version can be wrong in many ways
        raise UserError(f"{escape(path)} holds no step that can be taken: {escape(format_error(error))}") from error
    torch.manual_seed(mix_seed(trainer.train.seed, step))
    with _first_bad_layer(trainer) as layers:
        losses = trainer.train_step(batches, step)
    found = {f"loss {name}": loss.item() for name, loss in losses.items()}
    found |= {f"gradient of {name}": norm.item() for name, norm in trainer.gradients.norms.items()}
    return Replay(step, names, samples, found, layers[0] if layers else None)


def _build_trainer(tensors: Tensors, values: dict[str, Any]) -> JointTrainer:
    """The trainer in the state before the step."""
    try:
        recipe = Recipe.model_validate(values["recipe"])
    except ValidationError as error:
        said = (f"{dotted_key(path)}: {sentence}" for path, sentence in mistakes(error, values["recipe"]))
        raise UserError(f"the recipe in the file of the step: {'; '.join(said)}") from error
    train = recipe.train.model_copy(update={"mixed_precision": values["precision"]})
    trainer = build_trainer(recipe, make_accelerator(recipe.model_copy(update={"train": train})))
    trainer.load_state({file: _below(tensors, f"{STATE}/{file}/") for file in values["files"]}, values["state"])
    return trainer


def _read(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """The tensors and the values of a replay file.

    Raises:
        UserError: it is none, or it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            values = parse_json_object((file.metadata() or {})[KEY], KEY)
            return {name: file.get_tensor(name) for name in file.keys()}, values  # noqa: SIM118  # it is no mapping
    except (UserError, OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(
            f"{path} is not the file of a step that went wrong, or it is damaged ({error!r}); the run that stopped at "
            f"such a step has named its file"
        ) from error


def _below(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _batch(tensors: Tensors, device: torch.device) -> UnpairedBatch:
    """As the trainer takes it: see `step_reader.to_device`.

    Raises:
        ValueError: it holds something else than images and their indices.
    """
    index = tensors["index"]
    for name in ("clean", "degraded"):
        if tensors[name].shape[:2] != (len(index), 3) or tensors[name].ndim != 4 or tensors[name].dtype != torch.uint8:
            raise ValueError(f"{name} is {tensors[name].dtype} {tuple(tensors[name].shape)}")
    clean, degraded = (
        tensors[name].to(device, memory_format=torch.channels_last).div(255) for name in ("clean", "degraded")
    )
    return UnpairedBatch(clean, degraded, index)


@contextmanager
def _first_bad_layer(trainer: JointTrainer) -> Iterator[list[str]]:
    """The layers whose outputs are not finite, in the order in which they are computed meanwhile."""
    found: list[str] = []

    def watch(name: str, layer: nn.Module) -> Any:
        def look(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
                found.append(f"{name} ({type(layer).__name__})")

        return layer.register_forward_hook(look)

    hooks = [
        watch(f"{network}.{name}", layer)
        for network, module in trainer.networks.items()
        for name, layer in module.named_modules()
        if name and not any(True for _ in layer.children())
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
