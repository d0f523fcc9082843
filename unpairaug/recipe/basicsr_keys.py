"""The keys of BasicSR's option files, and what they are in a recipe on top of `cyclesr_sr`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_TRAIN, _VAL = "datasets.train", "datasets.val"
START = {"data.val_clean": None, "data.val_degraded": None, "data.ceiling_clean": None}
"""What a recipe starts from: none of the base's own images."""
SAME = {
    "scale": "task.scale",
    "manual_seed": "train.seed",
    f"{_TRAIN}.dataroot_gt": "data.clean",
    f"{_TRAIN}.dataroot_lq": "data.degraded",
    f"{_TRAIN}.gt_size": "data.crop",
    f"{_TRAIN}.batch_size_per_gpu": "data.batch_size",
    f"{_TRAIN}.num_worker_per_gpu": "data.num_workers",
    f"{_TRAIN}.use_hflip": "data.flip",
    f"{_TRAIN}.use_rot": "data.rotate",
    f"{_VAL}.dataroot_gt": "data.val_clean",
    f"{_VAL}.dataroot_lq": "data.val_degraded",
    "train.ema_decay": "train.ema",
    "train.total_iter": "train.steps",
    "train.optim_g.lr": "optimizer.head.lr",
    "train.optim_g.betas": "optimizer.head.betas",
    "train.optim_g.weight_decay": "optimizer.head.weight_decay",
    "val.val_freq": "train.validate_every",
    "logger.print_freq": "train.log_every",
    "logger.save_checkpoint_freq": "train.checkpoint_every",
}
"""Keys whose value is taken as it is; a whole number may be written as 5e3."""
DEAD = {
    "*.meta_info": "a list of files; a folder is read here",
    f"{_TRAIN}.dataset_enlarge_ratio": "only makes its epochs longer",
}
"""Keys that change nothing in training."""
_DEGRADATION = "a degradation that is written down; here the camera is learnt. `unpairaug measure` writes its ranges"
LOST = {
    "name": "give output_dir",
    "model_type": "a recipe trains a translator and a head",
    "num_gpu": "accelerate's launcher decides",
    "dist_params": "accelerate's launcher decides",
    "datasets": "decided by the loader, or by the folder",
    f"{_TRAIN}.type": "training images are unpaired here; give data.pairs_clean and data.pairs_degraded for pairs",
    "network_d": "give task.loss.gan.discriminator",
    "path": "a run resumes by itself",
    "train.optim_d": "give optimizer.discriminator",
    "train.perceptual_opt": "give task.loss.perceptual, whose features and weights differ",
    "train.gan_opt": "give task.loss.gan, whose discriminator differs",
    "train.scheduler": "give optimizer.head.lr_schedule",
    "val": "PSNR and SSIM on RGB and Y are always measured; `unpairaug evaluate` has more",
    "logger.use_tb_logger": "give train.trackers",
    "logger.wandb": "give train.trackers=[tensorboard, wandb]",
    f"{_VAL}.name": "no names for data sets",
    f"{_TRAIN}.name": "no names for data sets",
    f"{_TRAIN}.filename_tmpl": "training images are unpaired; validation pairs have equal names",
    **{
        f"{key}{stage}": _DEGRADATION
        for stage in ("", "2")
        for key in ("resize_prob", "resize_range", "gaussian_noise_prob", "noise_range", "poisson_scale_range")
    },
    **{f"{key}{stage}": _DEGRADATION for stage in ("", "2") for key in ("gray_noise_prob", "jpeg_range")},
    "second_blur_prob": _DEGRADATION,
    **{
        f"{_TRAIN}.{key}{stage}": _DEGRADATION
        for stage in ("", "2")
        for key in ("blur_kernel_size", "kernel_list", "kernel_prob", "sinc_prob", "blur_sigma")
    },
    **{f"{_TRAIN}.{key}{stage}": _DEGRADATION for stage in ("", "2") for key in ("betag_range", "betap_range")},
    f"{_TRAIN}.final_sinc_prob": _DEGRADATION,
}
"""Keys without counterpart, with what to do; a key of no table has none either."""
LOSSES = {"L1Loss": "l1", "MSELoss": "mse", "CharbonnierLoss": "charbonnier"}
HEADS: dict[str, tuple[str, dict[str, str]]] = {
    "EDSR": ("edsr", {"num_block": "n_blocks", "num_feat": "width", "res_scale": "res_scale"}),
    "MSRResNet": ("srresnet", {"num_block": "n_blocks", "num_feat": "width"}),
    "RRDBNet": ("RRDBNet", {"num_block": "num_blocks", "num_feat": "num_filters"}),
    "SRVGGNetCompact": ("Compact", {"num_feat": "num_feat", "num_conv": "num_conv", "act_type": "act_type"}),
}
"""The head of each network, and the names of its options there and here; others go to spandrel as they are."""
OWN_HEADS = ("edsr", "srresnet")
CHANNELS = ("num_in_ch", "num_out_ch", "upscale", "scale")
"""Options of networks that the task decides."""


def convert(key: str, value: Any, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Recipe values by dotted key for one key of the file; None if it has none."""
    if key in SAME and value is not None:
        is_whole = isinstance(value, float) and value.is_integer() and key.rpartition(".")[2] != "lr"
        return {SAME[key]: int(value) if is_whole else value}
    section, _, last = key.rpartition(".")
    inner = _SECTIONS.get(section)
    return inner(last, value, values) if inner and value is not None else None


def _network(key: str, value: Any, values: Mapping[str, Any]) -> dict[str, Any] | None:
    if _checkpoint(values):
        return None  # the file with the weights says it all
    name, options = HEADS.get(values["network_g"].get("type"), (values["network_g"].get("type"), None))
    if key == "type":
        is_own = name in OWN_HEADS
        return {"task.head.type": name} if is_own else {"task.head.type": "spandrel", "task.head.arch": name}
    if options is None:
        return None if key in CHANNELS else {f"task.head.{key}": value}
    return {f"task.head.{options[key]}": value} if key in options else None


def _path(key: str, value: Any, values: Mapping[str, Any]) -> dict[str, Any] | None:
    if key != "pretrain_network_g":
        return None
    return {"task.head.type": "spandrel", "task.head.checkpoint": value}


def _optimizer(key: str, value: Any, values: Mapping[str, Any]) -> dict[str, Any] | None:
    return {"optimizer.head.type": str(value).lower()} if key == "type" else None


def _scheduler(key: str, value: Any, values: Mapping[str, Any]) -> dict[str, Any] | None:
    place = "optimizer.head.lr_schedule"
    kind = values["train"]["scheduler"].get("type")
    if kind == "MultiStepLR":
        names = {"milestones": "milestones", "gamma": "decay_rate"}
        return {f"{place}.type": "multistep"} if key == "type" else _renamed(place, names, key, value)
    if kind == "CosineAnnealingRestartLR" and len(values["train"]["scheduler"].get("periods", [])) == 1:
        return {f"{place}.type": "cosine"} if key == "type" else _renamed(place, {"eta_min": "min_lr"}, key, value)
    return None


def _renamed(place: str, names: Mapping[str, str], key: str, value: Any) -> dict[str, Any] | None:
    return {f"{place}.{names[key]}": value} if key in names else None


def _pixel_loss(key: str, value: Any, values: Mapping[str, Any]) -> dict[str, Any] | None:
    options = values["train"]["pixel_opt"]
    loss = LOSSES.get(options.get("type"))
    if key == "type" and loss:
        return {"task.loss": loss}
    return {"train.lambda_task": float(value)} if key == "loss_weight" and loss else None


def _checkpoint(values: Mapping[str, Any]) -> Any:
    path = values.get("path")
    return path.get("pretrain_network_g") if isinstance(path, Mapping) else None


_SECTIONS: dict[str, Callable[[str, Any, Mapping[str, Any]], dict[str, Any] | None]] = {
    "network_g": _network,
    "path": _path,
    "train.optim_g": _optimizer,
    "train.scheduler": _scheduler,
    "train.pixel_opt": _pixel_loss,
}
