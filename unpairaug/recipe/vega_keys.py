"""The keys of the CycleSR example of Huawei's Vega, and what they are in a recipe on top of `cyclesr_sr_paper`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DATA, _TRAINER = "fully_train.dataset", "fully_train.trainer"
_MODEL = f"{_TRAINER}.model_desc.custom"
SAME: dict[str, tuple[str, ...]] = {
    f"{_DATA}.common.upscale": ("task.scale",),
    f"{_DATA}.train.HR_dir": ("data.clean",),
    f"{_DATA}.train.LR_dir": ("data.degraded",),
    f"{_DATA}.train.batch_size": ("data.batch_size",),
    f"{_DATA}.train.num_workers": ("data.num_workers",),
    f"{_DATA}.test.HR_dir": ("data.val_clean",),
    f"{_DATA}.test.LR_dir": ("data.val_degraded",),
    f"{_TRAINER}.print_freq": ("train.log_every",),
    f"{_MODEL}.SR_lam": ("train.lambda_task",),
    f"{_MODEL}.grad_clip": ("train.clip",),
    f"{_MODEL}.cyc_lr": ("optimizer.generator.lr", "optimizer.discriminator.lr"),
    f"{_MODEL}.SR_lr": ("optimizer.head.lr",),
    f"{_MODEL}.cyclegan.ngf": ("translator.ngf",),
    f"{_MODEL}.cyclegan.ndf": ("translator.discriminator.ndf",),
    f"{_MODEL}.cyclegan.lambda_cycle": ("translator.lambda_cycle",),
    f"{_MODEL}.cyclegan.lambda_identity": ("translator.lambda_identity",),
    f"{_MODEL}.cyclegan.buffer_size": ("translator.pool_size",),
    f"{_MODEL}.cyclegan.up_mode": ("translator.up_mode",),
    f"{_MODEL}.cyclegan.norm": ("translator.norm",),
    f"{_MODEL}.VDSR.SR_nb": ("task.head.n_blocks",),
    f"{_MODEL}.VDSR.SR_nf": ("task.head.width",),
    f"{_MODEL}.VDSR.SR_norm_type": ("task.head.norm",),
    f"{_MODEL}.VDSR.upscale": ("task.scale",),
}
"""Keys whose value is taken as it is."""
_UNREAD = "is never read"
DEAD = {
    f"{_DATA}.train.load_size": "the crop is built and never called",
    f"{_DATA}.train.crop_size": "the crop is built and never called; images are cut to 480 px beforehand, as data.crop",
    f"{_DATA}.train.save_in_memory": _UNREAD,
    f"{_DATA}.test.val_ps_offset": "that of the trainer is read",
    f"{_TRAINER}.continue_train": _UNREAD,
    f"{_TRAINER}.lr_policy": "is never read; the decay is always linear",
    f"{_MODEL}.use_cuda": "is overwritten with True",
    f"{_MODEL}.cyclegan.n_layers_D": "is never read; it is always 3",
    f"{_MODEL}.cyclegan.output_nc": "three channels are the only ones that work",
    f"{_MODEL}.VDSR.output_nc": _UNREAD,
    "*.imgs_per_gpu": _UNREAD,
}
"""Keys that do nothing in Vega, with the reason."""
LOST = {
    "general": "about Vega",
    "pipeline": "about Vega",
    "fully_train.pipe_step": "about Vega",
    f"{_TRAINER}.eval_epoch": "an interval in epochs; give train.validate_every in steps",
    f"{_TRAINER}.val_ps_offset": "psnr_rgb_shift10, with an offset of 10, is always measured",
    f"{_TRAINER}.epoch_count": "a run resumes by itself",
    f"{_MODEL}.use_distributed": "accelerate's launcher decides",
    "*.input_nc": "images have three channels",
    "*.pin_memory": "decided by the loader",
    "*.shuffle": "training always shuffles, validation never",
    "*.drop_last": "every step has a whole batch",
    "*.type": "about Vega",
    "*.name": "about Vega",
}
"""Keys without counterpart, with what to do; a key of no table has none either."""


def convert(key: str, value: Any, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Recipe values by dotted key for one key of the file; None if it has none."""
    if key in SAME and value is not None:
        return dict.fromkeys(SAME[key], value)
    if key == f"{_DATA}.train.upscale":
        return {"task.scale": value}
    trainer = values["fully_train"]["trainer"]
    first, last = trainer.get("n_epoch"), trainer.get("n_epoch_decay")
    if key == f"{_TRAINER}.n_epoch" and first is not None:
        return {"train.steps": f"{first + (last or 0)} epochs"}
    if key == f"{_TRAINER}.n_epoch_decay":
        return {"schedule.lr_decay": f"{value} epochs"}
    if key == f"{_MODEL}.cycleSR_lam":
        own = trainer["model_desc"]["custom"].get("SR_lam")
        return {"schedule.feedback": value / own} if own else None
    return None
