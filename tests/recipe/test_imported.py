"""Other programs' configurations become recipes: every key is used, dead there, or named as lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from unpairaug import Run, UserError, load_recipe, train
from unpairaug.recipe.imported import import_file

VEGA = """\
general: {backend: pytorch}
fully_train:
    dataset:
        type: Div2kUnpair
        common: {upscale: 4}
        train: {HR_dir: "HR_sub480", LR_dir: "LR_sub120", batch_size: 32, crop_size: 120, imgs_per_gpu: 4}
        test: {HR_dir: "valid_HR", LR_dir: "valid_LR", batch_size: 1}
    trainer:
        n_epoch: 100
        n_epoch_decay: 60
        eval_epoch: 5
        print_freq: 10
        continue_train: !!null
        lr_policy: linear
        model_desc:
            custom:
                SR_lam: 1000
                cycleSR_lam: 500
                grad_clip: 50
                cyc_lr: !!float 2e-4
                SR_lr: !!float 1e-4
                cyclegan: {ngf: 32, ndf: 64, lambda_cycle: 10.0, buffer_size: 50, n_layers_D: 3, norm: instance}
                VDSR: {name: VDSR, SR_nb: 20, SR_nf: 32, SR_norm_type: batch, upscale: 4}
"""
BASICSR = """\
name: 104_EDSR_Lx2
model_type: SRModel
scale: 2
num_gpu: 8
manual_seed: 10
datasets:
  train:
    type: PairedImageDataset
    dataroot_gt: DIV2K_HR_sub
    dataroot_lq: phone
    gt_size: 96
    use_hflip: true
    use_rot: false
    batch_size_per_gpu: 16
    dataset_enlarge_ratio: 100
  val: {name: Set5, dataroot_gt: Set5/GT, dataroot_lq: Set5/LR}
network_g: {type: EDSR, num_in_ch: 3, num_feat: 64, num_block: 16, upscale: 2, res_scale: 1}
path: {pretrain_network_g: ~, strict_load_g: false}
train:
  ema_decay: 0.999
  optim_g: {type: Adam, lr: !!float 1e-4, weight_decay: 0, betas: [0.9, 0.99]}
  scheduler: {type: MultiStepLR, milestones: [200000], gamma: 0.5}
  total_iter: 300000
  warmup_iter: -1
  pixel_opt: {type: MSELoss, loss_weight: 2.0, reduction: mean}
val: {val_freq: !!float 5e3}
logger: {print_freq: 100}
"""


def convert(text: str, folder: Path) -> tuple[Path, str]:
    file, recipe = folder / "theirs.yml", folder / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    found = import_file(str(file))
    recipe.write_text(found.to_yaml(), encoding="utf-8")
    return recipe, found.report()


def test_the_seed_systems_configuration_becomes_a_recipe_that_trains(tmp_path: Path):
    path, report = convert(VEGA, tmp_path)
    recipe = load_recipe(path)
    assert (recipe.data.clean, recipe.data.degraded, recipe.data.val_clean) == ("HR_sub480", "LR_sub120", "valid_HR")
    assert recipe.task["head"].items() >= {"type": "vdsr_cyclesr", "n_blocks": 20, "width": 32, "norm": "batch"}.items()
    assert recipe.translator["ngf"] == 32 and recipe.optimizer.generator.lr == 2e-4 and recipe.train.clip == 50
    assert (recipe.train.steps, recipe.schedule.lr_decay, recipe.schedule.feedback) == ("160 epochs", "60 epochs", 0.5)
    used, dead, lost = report.split("\nd")[0], report.split("did nothing there:")[1], report.split("no counterpart")[1]
    assert "SR_lam: 1000 → train.lambda_task=1000" in used
    assert "crop_size: 120 (the crop is built and never called" in dead and "lr_policy: linear" in dead
    assert "eval_epoch: 5 (an interval in epochs; give train.validate_every in steps)" in lost
    small = {"data": {"clean": "sample", "degraded": "sample", "crop": 96, "batch_size": 1, "num_workers": 0}}
    small |= {"train": {"steps": 1}, "schedule": None, "task": {"head": {"n_blocks": 1, "width": 4}}}
    small |= {"data.val_clean": None, "data.val_degraded": None, "translator.ngf": 4, "translator.n_blocks": 1}
    run = train(path, small, output_dir=tmp_path / "run")
    assert isinstance(run, Run) and (run.folder / "head").is_dir()


def test_a_basicsr_option_file_becomes_a_recipe(tmp_path: Path):
    path, report = convert(BASICSR, tmp_path)
    recipe = load_recipe(path)
    assert recipe.task["head"].items() >= {"type": "edsr", "n_blocks": 16, "width": 64, "res_scale": 1.0}.items()
    assert recipe.task["loss"] == {"mse": {"type": "mse", "weight": 1.0}} and recipe.train.lambda_task == 2.0
    assert (recipe.data.crop, recipe.data.rotate, recipe.train.steps, recipe.train.seed) == (96, False, 300000, 10)
    schedule = recipe.optimizer.head.lr_schedule
    assert schedule is not None and schedule.model_dump()["milestones"] == (200000,)
    assert recipe.train.validate_every == 5000 and recipe.output_dir == "runs/mine"
    assert "num_gpu: 8 (accelerate's launcher decides)" in report and "warmup_iter: -1" in report
    for line in ("name: 104_EDSR_Lx2 (give output_dir)", "dataset_enlarge_ratio: 100 (only makes its epochs longer)"):
        assert line in report


def test_a_pretrained_network_is_named_as_the_checkpoint(tmp_path: Path):
    text = BASICSR.replace("pretrain_network_g: ~", "pretrain_network_g: EDSR_Lx2.pth")
    file = tmp_path / "theirs.yml"
    file.write_text(text, encoding="utf-8")
    values = import_file(str(file)).values
    assert values["task.head.checkpoint"] == "EDSR_Lx2.pth" and "task.head.n_blocks" not in values


@pytest.mark.parametrize("text", [VEGA, BASICSR])
def test_such_a_file_given_as_a_recipe_is_recognised(text: str, tmp_path: Path):
    file = tmp_path / "theirs.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"is a configuration of .*, no recipe: unpairaug import .*theirs\.yml$"):
        load_recipe(file)


def test_another_file_and_one_that_is_not_there_are_refused(tmp_path: Path):
    (other := tmp_path / "other.yml").write_text("steps: 3\n", encoding="utf-8")
    with pytest.raises(UserError, match="is no configuration that is known here"):
        import_file(str(other))
    with pytest.raises(UserError, match="smoke: there is no such file"):
        import_file("smoke")
