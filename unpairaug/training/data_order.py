"""Which order a run reads its images in: what `data.order: auto` stands for, and what a resumed run had chosen."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from unpairaug.data.sequential import check_stream, choose_order
from unpairaug.data.shard_copies import count_copied_bytes
from unpairaug.data.streams import UnpairedCrops
from unpairaug.errors import UserError
from unpairaug.files import read_json
from unpairaug.recipe import Recipe
from unpairaug.training.checkpoint import MAX_STATE_BYTES, list_checkpoints
from unpairaug.training.training_data import TrainingData, samples_per_step


def resolve_order(recipe: Recipe, data: TrainingData, processes: int) -> tuple[Recipe, str]:
    """The recipe with `data.order` exact or stream, and a line for the log that says which and why.

    A run that is resumed keeps the order that its checkpoint has recorded.

    Raises:
        UserError: `stream` is given, and impossible.
    """
    readers = count_readers(recipe, processes)
    order, reason = recipe.data.order, "as given"
    if data.pairs is not None:
        if order == "stream":
            raise UserError("data.order: stream is impossible with data.pairs_clean: pairs are read by their names")
        order, reason = "exact", "pairs are read by their names"
    if order == "auto":
        order, reason = choose_order(data.crops, readers)
        if recorded := _read_recorded_order(recipe):
            order, reason = recorded, "as in the checkpoint"
    if order == "stream":
        check_stream(data.crops, readers)
    resolved = recipe.model_copy(update={"data": recipe.data.model_copy(update={"order": order})})
    if order == "exact" and (size := count_copies(resolved, data.crops, processes)):
        reason += f"; whole shards are copied to the disk, at most {-(-size // 2**20)} MiB at a time"
    return resolved, f"data.order {order}: {reason}"


def count_copies(recipe: Recipe, crops: UnpairedCrops, processes: int) -> int:
    """The bytes that copies of shards of URLs take on the disk in exact order; 0 where images are read one by one.

    Args:
        recipe: with lengths in steps.
        crops: both image sets.
        processes: of the run.
    """
    assert isinstance(recipe.train.steps, int), "resolve the recipe's epochs first"
    lanes = samples_per_step(recipe, processes)
    return count_copied_bytes(crops, lanes, lanes * recipe.train.steps, int(recipe.data.cache_gib * 2**30))


def count_readers(recipe: Recipe, processes: int) -> int:
    """Loader workers of all processes, which divide the shards among them in a stream."""
    return processes * max(1, recipe.data.num_workers)


def describe_other_readers(old: dict[str, int | str], before: int, recipe: Recipe, processes: int) -> list[str]:
    """A warning where a resumed stream has another number of readers than before.

    Args:
        old: the section `data` of the checkpoint's recipe.
        before: number of processes of the checkpoint.
        recipe: that of the resumed run.
        processes: its number of processes.
    """
    earlier, now = before * max(1, int(old["num_workers"])), count_readers(recipe, processes)
    if recipe.data.order != "stream" or earlier == now:
        return []
    return [
        f"warning: data.order is stream, and there are {now} readers instead of {earlier}: in this epoch some images "
        "are read twice or not at all"
    ]


def _read_recorded_order(recipe: Recipe) -> str | None:
    """The order in the checkpoint that the run is resumed from; None without one."""
    wanted = recipe.train.resume
    found = list_checkpoints(Path(recipe.output_dir) / "checkpoints") if wanted == "auto" else [Path(wanted)]
    for path in reversed(found if wanted != "never" else []):
        with suppress(UserError, OSError, KeyError, TypeError):  # damaged: `resume` names it
            order = read_json(path / "state.json", MAX_STATE_BYTES)["recipe"]["data"]["order"]
            return order if order in ("exact", "stream") else None
    return None
