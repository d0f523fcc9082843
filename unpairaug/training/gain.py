"""What a run gains over its baselines: on validation pairs, and without pairs on the samples of the selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from unpairaug.bridge import round_to_8_bits
from unpairaug.data import ValidationPairs
from unpairaug.evaluation.evaluate import measure_pairs
from unpairaug.restoring.restore import Bicubic, Restorer
from unpairaug.scoring.scores import SPECTRUM_WINDOW, radial_powers, spectrum_of_powers
from unpairaug.training.checkpoint_selection import CHUNK, CheckpointSelection, to_8_bit_arrays
from unpairaug.training.run_folder import RunFolder

ROUNDS = 200
"""Bootstrap samples, from which the standard error of the translator's gain is estimated."""


def measure_with_gain(
    restorer: Restorer, pairs: ValidationPairs, run: RunFolder, is_baseline: bool
) -> tuple[dict[str, float], dict[str, float]]:
    """The mean of each metric over the validation pairs, and the gain over the run's baseline. Collective.

    The gain is empty where the restorer is the baseline, whose values the run notes, and on other processes than the
    main one.
    """
    means, images = measure_pairs(restorer, pairs)
    psnr = [values["psnr_rgb"] for values in images.values()]
    if is_baseline:
        run.log_baseline_images(psnr)
    is_comparable = not is_baseline and len(run.baseline_images) == len(psnr)
    return means, paired_gain(psnr, run.baseline_images) if is_comparable else {}


def format_validation(step: int, split: str, means: Mapping[str, float], gain: Mapping[str, float]) -> str:
    """The line of a validation; `psnr_rgb_shift10` is in `metrics.jsonl` only."""
    shown = {name: f"{value:.{2 if 'psnr' in name else 4}f}" for name, value in means.items() if "shift" not in name}
    if gain:
        shown["psnr_rgb"] += f" ({gain['psnr_rgb']:+.2f})"
    return f"step {step}  {split}  " + "  ".join(f"{name} {text}" for name, text in shown.items())


def paired_gain(values: Sequence[float], baseline: Sequence[float]) -> dict[str, float]:
    """Mean gain in PSNR over the baseline, image by image, and its standard error; empty where one is infinite."""
    gains = np.subtract(values, baseline)
    if not np.isfinite(gains).all():
        return {}
    error = {"standard_error": standard_error(gains)} if len(gains) > 1 else {}
    return {"psnr_rgb": float(gains.mean()), **error}


@torch.inference_mode()
def measure_unpaired_gain(selection: CheckpointSelection) -> dict[str, float]:
    """Compare head and translator with doing nothing; each `gain` is better above 0.

    `head`, `head_baseline`: PSNR in dB on translated clean images, whose ground truth is known, of the head and of
    bicubic interpolation (the input itself at scale 1). `translator`, `translator_baseline`: distance in dB of the
    translated and of the plain sources to the real images, see `scores.spectrum_distance`. `…_gain_error` is the
    standard error of the gain over the samples; crops of one photograph resemble each other, so it is a lower bound.
    """
    trainer, batch = selection.trainer, selection.batch
    bicubic = Bicubic(trainer.task.scale)
    scores, plain_scores, fakes, sources = [], [], [], []
    for rows in torch.arange(len(batch.index)).split(CHUNK):
        clean, _, index = (side[rows.to(side.device)] for side in batch)
        fake = round_to_8_bits(selection.degrade(clean, index))
        plain = round_to_8_bits(bicubic(fake).clamp(0, 1))
        scores += _psnr(selection.restore(fake), clean)
        plain_scores += _psnr(plain, clean)
        fakes += to_8_bit_arrays(fake)
        sources += to_8_bit_arrays(trainer.task.source(clean))
    gains = np.subtract(scores, plain_scores)
    return {
        "head": float(np.mean(scores)),
        "head_baseline": float(np.mean(plain_scores)),
        "head_gain": float(gains.mean()),
        "head_gain_error": standard_error(gains),
        **_translator_gain(selection.real, fakes, sources, selection.seed),
    }


def standard_error(values: np.ndarray) -> float:
    """Standard error of the mean of (n,) values; not a number for a single one."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def _psnr(restored: torch.Tensor, clean: torch.Tensor) -> list[float]:
    """PSNR of each image in dB, at most that of an error of a hundredth of an 8-bit step."""
    squares = (restored - clean).square().mean(dim=(1, 2, 3)).clamp(min=(0.01 / 255) ** 2)
    return (-10 * squares.log10()).tolist()


def _translator_gain(
    real: list[np.ndarray], fakes: list[np.ndarray], sources: list[np.ndarray], seed: int
) -> dict[str, float]:
    side = min(SPECTRUM_WINDOW, *(min(image.shape[:2]) for image in (*real, *fakes)))
    powers = [radial_powers(images, side) for images in (real, fakes, sources)]

    def distances(rows: np.ndarray, others: np.ndarray) -> tuple[float, float]:
        truth = spectrum_of_powers(powers[0][rows])
        spectra = (spectrum_of_powers(power[others]) for power in powers[1:])
        fake, source = (float(np.sqrt(np.mean(np.square(truth - spectrum)))) for spectrum in spectra)
        return fake, source

    everything = np.arange(len(fakes))
    fake, source = distances(everything, everything)
    rng = np.random.default_rng(seed)
    drawn = (distances(*rng.integers(len(fakes), size=(2, len(fakes)))) for _ in range(ROUNDS))
    return {
        "translator": fake,
        "translator_baseline": source,
        "translator_gain": source - fake,
        "translator_gain_error": float(np.std([plain - ours for ours, plain in drawn])),
    }
