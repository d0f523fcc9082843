"""The likeliest reasons for a result that is not above its baseline, as sentences about facts of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from unpairaug.recipe import Recipe
from unpairaug.training.metrics_file import MetricsFile

MOST = 4
"""Reasons in a summary."""
FEW_STEPS, FEW_IMAGES = 300, 20
TOO_FEW_IMAGES = 10
"""Images on a side below which `check` warns: with five, six of twelve cameras were below their baseline."""
NO_GAIN, NO_NOISE = 0.05, 0.5
"""Deviation of a gain from 1, and 8-bit steps of noise, below which a measured camera degrades nothing visible."""


def list_reasons(found: MetricsFile, log_file: Path, recipe: Recipe, images: Mapping[str, int]) -> list[str]:
    """At most `MOST` sentences, the likeliest first.

    Args:
        found: what the run has measured.
        log_file: of the run, with the warnings of its guards.
        recipe: its lengths in steps.
        images: number of training images of each side.
    """
    reasons = [*_from_schedule(recipe), *_from_guards(log_file), *_from_measurements(found), *find_few_images(images)]
    return reasons[:MOST]


def _from_schedule(recipe: Recipe) -> Iterator[str]:
    steps, schedule, head = recipe.train.steps, recipe.schedule, recipe.optimizer.head
    assert isinstance(steps, int) and isinstance(schedule.translator_warmup, int), "resolve the recipe's epochs first"
    if steps < FEW_STEPS:
        yield f"The run has {steps} steps; the bundled recipes take {FEW_STEPS} or more (train.steps)."
    trained = steps - schedule.translator_warmup
    if trained < steps / 2:
        yield f"The head was trained in only {trained} of {steps} steps (schedule.translator_warmup)."
    warmup = head.lr_schedule.warmup if head.lr_schedule else 0
    if isinstance(warmup, int) and warmup > trained / 2:
        yield (
            f"The head's learning rate was still rising in {warmup} of the {trained} steps that trained it "
            f"(optimizer.head.lr_schedule.warmup)."
        )


def _from_guards(log_file: Path) -> Iterator[str]:
    text = log_file.read_text(encoding="utf-8", errors="replace") if log_file.exists() else ""
    for name in ("no gradient", "colour drift", "collapse", "discriminator saturation", "leak"):
        if f"warning: {name}: " in text:
            yield f"The guard “{name}” warned (unpairaug docs {name.replace(' ', '-')})."


def _from_measurements(found: MetricsFile) -> Iterator[str]:
    camera = found.line("camera", 0)
    if camera:
        gains = [value for name, value in camera.items() if name.startswith("gain_")]
        if gains and max(abs(gain - 1) for gain in gains) < NO_GAIN and camera.get("noise", 0.0) < NO_NOISE:
            yield "The camera measurement found next to no degradation: there may be little to restore."
    last = max(found.steps("unpaired"), default=None)
    line = None if last is None else found.line("unpaired", last)
    if line and line["translator_gain"] <= 2 * line["translator_gain_error"]:
        gain, error = line["translator_gain"], 2 * line["translator_gain_error"]
        known = "the translator has not learnt the camera" if gain <= 0 else "more images would tell"
        yield (
            f"Translated images are not clearly closer to the real ones than plain sources are (by {gain:+.2f} ± "
            f"{error:.2f} dB): {known}."
        )
    has_learnt = bool(line) and line["head_gain"] > max(0.01, 2 * line["head_gain_error"])
    if line and has_learnt and found.steps("val"):  # without pairs nothing tells of the real images
        yield (
            f"The head improves translated images by {line['head_gain']:.2f} dB, but not the real ones: the "
            f"translation differs from the real camera (bridge.strength=[0.5,1], bridge.perturbation=[0,8], a lower "
            f"schedule.feedback)."
        )
    elif line and not has_learnt:
        yield (
            f"The head does not clearly improve even translated images ({line['head_gain']:+.2f} dB): it needs more "
            f"steps or another learning rate (optimizer.head.lr)."
        )
    yield from _from_validation(found)


def _from_validation(found: MetricsFile) -> Iterator[str]:
    psnr = {step: found.value("val", step, "psnr_rgb") or 0.0 for step in found.steps("val") if step}
    if not psnr:
        return
    best, last = max(psnr, key=lambda step: psnr[step]), max(psnr)
    if psnr[best] > psnr[last] + 0.05:
        yield f"Validation was best at step {best} ({psnr[best]:.2f} dB) and fell to {psnr[last]:.2f} dB."
    gain = (found.value("val", last, "psnr_rgb_shift10") or 0.0) - psnr[last]
    if gain > 0.5:
        yield f"Shifted by a few pixels the result is {gain:.2f} dB better: the images are not on one pixel grid."


def find_few_images(images: Mapping[str, int]) -> Iterator[str]:
    """A sentence for each side that has few images; `images` is their number by side."""
    for side, count in images.items():
        if count < FEW_IMAGES:
            yield f"data.{side} has only {count} images; 30 or more on each side measure a camera well."


def format_few_images(images: Mapping[str, int]) -> Iterator[str]:
    """The sentences of `find_few_images` as a warning, or from `TOO_FEW_IMAGES` on as a note."""
    for side, count in images.items():
        level = "warning" if count < TOO_FEW_IMAGES else "note"
        yield from (f"{level}: {sentence}" for sentence in find_few_images({side: count}))
