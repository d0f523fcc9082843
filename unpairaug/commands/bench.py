"""`unpairaug bench`: speed and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from unpairaug.commands.train import Overrides, RecipeName

if TYPE_CHECKING:
    from unpairaug.bench.roofline import Roofline


def step(
    recipe: RecipeName,
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=1, help="Timed steps of each kind, in turn.")] = 10,
    against: Annotated[
        str | None, typer.Option(help="Another step: an installed one, or module:function.", metavar="STEP")
    ] = None,
) -> None:
    """Time the joint step of a recipe: memory, operators, and each convolution beside its time alone.

    Where the translator is `cyclegan`, in turn with a plain CycleSR step: same networks and batch, full precision.
    `--against my_steps:make` times another step; `make(trainer, recipe)` returns a function that takes one.

    Example: unpairaug bench step cyclesr_sr_paper data.batch_size=1 data.crop=128
    """
    from unpairaug.bench.step import compare_steps
    from unpairaug.recipe import load_recipe

    result = compare_steps(load_recipe(recipe, overrides or []).resolve(steps_per_epoch=1), steps, against)
    print(f"joint step      {result.ours:.4f} s  peak memory {result.our_memory / 2**20:.0f} MiB")
    if result.reference is not None and result.reference_memory is not None:
        print(f"{against or 'reference'} step  {result.reference:.4f} s  ", end="")
        print(f"peak memory {result.reference_memory / 2**20:.0f} MiB")
        print(f"ratio           {result.ratio:.2f} × as fast (median of {steps} pairs of steps)")
    print("share of the joint step's time by operator:")
    for name, share in result.operators:
        print(f"  {share:5.1%}  {name}")
    _print_roofline(result.roofline)


def _print_roofline(roofline: Roofline, shown: int = 12) -> None:
    """The slowest convolutions, and what all of them take of the step."""
    rate, share = roofline.flops / roofline.alone / 1e9, roofline.alone / roofline.step
    print(
        f"convolutions: {roofline.flops / 1e9:.2f} GFLOP; alone {roofline.alone:.4f} s ({rate:.1f} GFLOP/s), ", end=""
    )
    print(f"{share:.0%} of the step's {roofline.step:.4f} s of work")
    for layer in roofline.layers[:shown]:
        part = f"{layer.flops / layer.seconds / 1e9:7.1f} GFLOP/s  {layer.seconds / roofline.step:5.1%} of the step"
        print(f"  {part}  {layer.count:>3} × {layer.direction:<8}  image {layer.image}  weight {layer.weight}")


def data(
    recipe: RecipeName,
    overrides: Overrides = None,
    batches: Annotated[int, typer.Option(min=1, help="Timed batches of each reader, in turn.")] = 50,
    files: Annotated[int, typer.Option(min=1, help="Largest number of images of each side.")] = 200,
    samples: Annotated[int, typer.Option(min=0, help="Also read this many samples and print the memory.")] = 0,
) -> None:
    """Time the data streams from a folder and from shards against the bare decoder and a plain PyTorch loader.

    All read copies of the recipe's files in a temporary folder, in one process, without a cache of decoded images.
    Times are CPU seconds.
    """
    from unpairaug.bench.data import compare_readers, memory_over
    from unpairaug.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or [])
    for speed in compare_readers(loaded, batches, files):
        print(f"{speed.name:<21} {speed.crops_per_second:8.1f} crops/s  {speed.ratio:6.1%} of the bare decoder")
    for done, memory in memory_over(loaded, samples, files=files) if samples else ():
        print(f"after {done:>9,} samples  {memory / 2**20:8.1f} MiB", flush=True)


def augment(
    model: Annotated[str, typer.Argument(help="Run folder, its translator/ folder, or hub id.", metavar="MODEL")],
    size: Annotated[int, typer.Option(min=16, help="Side in pixels of the images.")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="Timed batches of each way, in turn.")] = 10,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch and OpenCV.")] = 1,
) -> None:
    """Time a translator as an augmentation against a second-order degradation in albumentations.

    On the same random images, in batches of 1 and 32. albumentations processes the images of a batch one by one.
    """
    from unpairaug.bench.augment import compare_augments

    for speed in compare_augments(model, size, rounds, threads):
        rate = f"{speed.megapixels_per_second:8.2f} megapixels/s  {speed.ratio:6.2f} × the classic speed"
        print(f"batch {speed.batch:>2}  {speed.name:<26} {rate}", flush=True)
