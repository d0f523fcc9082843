"""Arrange a downloaded data set into the folders of its recipe: links to unchanged files, PNGs of the others."""

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
from unpairaug.data.decode import FORMATS
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
"""The benchmarks by the name of their recipe."""

FOLDERS = ("clean", "degraded", "val_clean", "val_degraded", "ceiling_clean")
"""Keys of the recipe section `data`, and folders of OUT."""

TRAINING = ("clean", "degraded", "ceiling_clean")
"""The folders that training reads crops from."""


def arrange(name: str, source: Path, target: Path, scale: int | None = None) -> str:
    """Arrange a data set; returns a report with the commands that train on it.

    A second call finds everything done, and resumes interrupted work.

    Raises:
        UserError: the benchmark or scale is unknown, SOURCE does not have the layout of the distribution, the sizes of
            a pair contradict the scale, or OUT holds other files.
    """
    benchmark = _find_benchmark(name)
    scale = _choose_scale(name, benchmark, scale)
    files = _plan_files(_split_data_set(benchmark, source, scale), scale)
    missing = _find_missing(target, files)
    for file in missing:
        _write_origin(target / file, files[file])
    done = "" if missing else "nothing to do: all files exist already\n"
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
    """The origin of each file of OUT, by its path in OUT."""
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
    """(width, height) in pixels, from the header of a file."""
    if not isinstance(origin, Path):
        return origin.shape[1], origin.shape[0]
    try:
        with Image.open(origin, formats=FORMATS) as image:
            return image.size
    except (OSError, Image.DecompressionBombError) as error:
        raise UserError(f"{escape(origin)}: cannot be read as an image; download it again: {error}") from error


def _describe_origin(origin: Origin) -> str:
    return escape(origin) if isinstance(origin, Path) else "a validation block"


def _extension(origin: Origin) -> str:
    return origin.suffix.lower() if isinstance(origin, Path) else ".png"


def _find_missing(target: Path, files: dict[str, Origin]) -> list[str]:
    """The files that OUT lacks.

    Raises:
        UserError: OUT holds a file that is not planned, or a different one of the same name.
    """
    if target.exists() and not target.is_dir():
        raise UserError(f"{escape(target)}: this is a file; give a folder for the output")
    paths = [path for path in target.rglob("*") if not _is_folder(path) and not path.name.startswith(".")]
    there = {path.relative_to(target).as_posix(): path for path in paths}
    for name, path in there.items():
        if name not in files or not _is_same(path, files[name]):
            raise UserError(f"{escape(path)} is not the planned file of this name; give an empty or a new folder")
    return [name for name in files if name not in there]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_same(path: Path, origin: Origin) -> bool:
    """Whether a file of OUT equals its origin."""
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
        raise UserError(
            f"{escape(path)}: a link cannot be created ({error}); give an OUT on a file system that supports links"
        ) from error


def _format_counts(files: dict[str, Origin]) -> str:
    counts = Counter(file.partition("/")[0] for file in files)
    links = sum(isinstance(origin, Path) for origin in files.values())
    lines = [f"{folder:<14} {counts[folder]:>6} images" for folder in FOLDERS]
    return "\n".join([*lines, f"{links} links to the original files, {len(files) - links} PNG files"])


def _format_commands(name: str, target: Path, scale: int) -> str:
    """The next commands: cut large photographs, then train."""
    benchmark = BENCHMARKS[name]
    pieces = target.with_name(f"{target.name}_cut") if benchmark.cut else target
    lines = []
    if benchmark.cut:
        lines += ["to cut the photographs into pieces, so that a crop is read without decoding a whole photograph:"]
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
