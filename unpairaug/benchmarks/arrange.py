"""A downloaded data set into the folders of its recipe: links to files that stay as they are, PNGs of the rest."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from unpairaug.benchmarks.dped import DPED
from unpairaug.benchmarks.layout import Benchmark, Origin, Pair, Split
from unpairaug.benchmarks.ntire import NTIRE_2017, NTIRE_2018
from unpairaug.benchmarks.realsr import REALSR
from unpairaug.benchmarks.sidd import SIDD
from unpairaug.data.images import read_image, write_image
from unpairaug.data.pairs import scale_mismatch
from unpairaug.errors import UserError, escape
from unpairaug.registry.suggestions import suggest

BENCHMARKS: dict[str, Benchmark] = {
    "ntire2017_track2": NTIRE_2017,
    "ntire2018_track2": NTIRE_2018,
    "realsr": REALSR,
    "dped": DPED,
    "sidd": SIDD,
}
"""Each has the name of its recipe."""

FOLDERS = ("clean", "degraded", "val_clean", "val_degraded", "ceiling_clean")
"""Keys of a recipe's section `data`, and folders of OUT."""

TRAINING = ("clean", "degraded", "ceiling_clean")
"""Those that a run takes crops from."""


def arrange(name: str, source: Path, target: Path, scale: int | None = None) -> str:
    """Arrange a data set, and say what came out and how to train on it.

    Given again it finds everything there; what was stopped goes on.

    Raises:
        UserError: there is no such benchmark or scale, SOURCE is not laid out as its authors do, a pair's sizes
            contradict the scale, or OUT holds anything else.
    """
    benchmark = _find_benchmark(name)
    scale = _choose_scale(name, benchmark, scale)
    files = _plan_files(_split_data_set(benchmark, source, scale), scale)
    missing = _find_missing(target, files)
    for file in missing:
        _write_origin(target / file, files[file])
    done = "" if missing else "nothing to do: all was there already\n"
    return (
        f"{_format_counts(files)}\nthe whole data set: {benchmark.whole}\n{done}{_format_commands(name, target, scale)}"
    )


def _find_benchmark(name: str) -> Benchmark:
    if name not in BENCHMARKS:
        raise UserError(f"{name!r}: no such benchmark; {suggest(name, BENCHMARKS)}")
    return BENCHMARKS[name]


def _choose_scale(name: str, benchmark: Benchmark, scale: int | None) -> int:
    if scale is not None and scale not in benchmark.scales:
        known = " or ".join(map(str, sorted(benchmark.scales)))
        raise UserError(f"--scale {scale}: {name} has pairs of scale {known}")
    return scale or benchmark.scales[0]


def _split_data_set(benchmark: Benchmark, source: Path, scale: int) -> Split:
    try:
        return benchmark.split(source, scale)
    except UserError as error:
        expected = "".join(f"\n  {line}" for line in benchmark.layout.format(scale=scale).splitlines())
        raise UserError(f"{error}\nexpected in {escape(source)}, as the data set is distributed:{expected}") from error


def _plan_files(split: Split, scale: int) -> dict[str, Origin]:
    """Where each file of OUT comes from, by its path in OUT."""
    for pair in (*split.degraded, *split.validation):
        _check_sizes(pair, scale)
    sides = {
        "clean": [(pair.name, pair.clean) for pair in split.clean],
        "degraded": [(pair.name, pair.degraded) for pair in split.degraded],
        "val_clean": [(pair.name, pair.clean) for pair in split.validation],
        "val_degraded": [(pair.name, pair.degraded) for pair in split.validation],
        "ceiling_clean": [(pair.name, pair.clean) for pair in split.degraded],
    }
    return {f"{folder}/{name}{_extension(origin)}": origin for folder in FOLDERS for name, origin in sides[folder]}


def _check_sizes(pair: Pair, scale: int) -> None:
    clean, degraded = _image_size(pair.clean), _image_size(pair.degraded)
    if problem := scale_mismatch(clean, degraded, _describe_origin(pair.clean), _describe_origin(pair.degraded), scale):
        raise UserError(problem)


def _image_size(origin: Origin) -> tuple[int, int]:
    """(width, height), which the head of a file tells."""
    if not isinstance(origin, Path):
        return origin.shape[1], origin.shape[0]
    try:
        with Image.open(origin) as image:
            return image.size
    except OSError as error:
        raise UserError(f"{escape(origin)}: cannot be read as an image; download it again: {error}") from error


def _describe_origin(origin: Origin) -> str:
    return escape(origin) if isinstance(origin, Path) else "a validation block"


def _extension(origin: Origin) -> str:
    return origin.suffix.lower() if isinstance(origin, Path) else ".png"


def _find_missing(target: Path, files: dict[str, Origin]) -> list[str]:
    """The files that are still to be made.

    Raises:
        UserError: OUT holds a file that is not to come out, or another one of the name.
    """
    if target.exists() and not target.is_dir():
        raise UserError(f"{escape(target)}: this is a file; give a folder for what comes out")
    paths = [path for path in target.rglob("*") if not _is_folder(path) and not path.name.startswith(".")]
    there = {path.relative_to(target).as_posix(): path for path in paths}
    for name, path in there.items():
        if name not in files or not _is_same(path, files[name]):
            raise UserError(f"{escape(path)} is not what would come out under this name; give an empty or a new folder")
    return [name for name in files if name not in there]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_same(path: Path, origin: Origin) -> bool:
    """Whether a file of OUT is what would be put there."""
    if isinstance(origin, Path):
        return path.is_symlink() and path.readlink() == origin.resolve()
    return path.is_file() and np.array_equal(read_image(path), origin)


def _write_origin(path: Path, origin: Origin) -> None:
    if not isinstance(origin, Path):
        write_image(path, origin)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(origin.resolve())
    except OSError as error:
        raise UserError(f"{escape(path)}: no link can be made here ({error}); give an OUT where one can") from error


def _format_counts(files: dict[str, Origin]) -> str:
    counts = Counter(file.partition("/")[0] for file in files)
    links = sum(isinstance(origin, Path) for origin in files.values())
    lines = [f"{folder:<14} {counts[folder]:>6} images" for folder in FOLDERS]
    return "\n".join([*lines, f"{links} links to files that stay where they are, {len(files) - links} PNG files"])


def _format_commands(name: str, target: Path, scale: int) -> str:
    """How to go on: cut what is large, then train."""
    benchmark = BENCHMARKS[name]
    pieces = target.with_name(f"{target.name}_cut") if benchmark.cut else target
    lines = []
    if benchmark.cut:
        lines += ["to cut the photographs, so that a crop is read without the whole of one:"]
        lines += [
            _format_prepare_command(target / folder, pieces / folder, benchmark.cut, scale) for folder in TRAINING
        ]
    where = {folder: (pieces if folder in TRAINING else target) / folder for folder in FOLDERS}
    overrides = [f"data.{folder}={path}" for folder, path in where.items()]
    overrides += [f"task.scale={scale}"] if scale != benchmark.scales[0] else []
    training = ["accelerate launch -m unpairaug.run", name, *map(shlex.quote, overrides)]
    return "\n".join([*lines, "to train:", " ".join(training)])


def _format_prepare_command(source: Path, target: Path, size: int, scale: int) -> str:
    words = ["unpairaug", "prepare", str(source), str(target), "--size", str(size), "--stride", str(size)]
    return shlex.join(words + (["--scale", str(scale)] if source.name == "degraded" and scale > 1 else []))
