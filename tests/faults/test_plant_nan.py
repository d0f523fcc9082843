"""The quick part of `plant_nan.py`, and what follows a step that is not finite."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from plant_nan import BEFORE_A_CHECKPOINT, LAST, STEPS, Fault, find_failures, names_of_everything, planted, train
from safetensors.torch import load_file
from typer.testing import CliRunner

from unpairaug.training.checkpoint import list_checkpoints


def contents(checkpoint: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in checkpoint.glob("*.safetensors")}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a fault, with a checkpoint of every step."""
    folder = tmp_path_factory.mktemp("healthy")
    assert train(folder, None, "stop", "train.checkpoint_every=1", f"train.keep_checkpoints={STEPS}") == ""
    return folder


def test_the_run_has_every_kind_of_term_and_network():
    names = names_of_everything()
    assert {"loss task_l1", "loss d_clean", "gradient of head", "gradient of task_discriminator_gan"} <= set(names)
    assert len(names) == 17


@pytest.mark.parametrize(
    ("name", "precision"), [("loss d_degraded", "no"), ("gradient of head", "bf16"), ("gradient of head", "fp16")]
)
def test_nothing_of_a_bad_step_is_saved_and_the_replay_shows_it_again(name, precision, tmp_path):
    assert find_failures(tmp_path / "run", Fault(name, [BEFORE_A_CHECKPOINT], precision)) == []


def test_the_last_step_may_be_bad(tmp_path):
    assert find_failures(tmp_path / "run", Fault("loss task_l1", [LAST])) == []


def test_the_state_before_the_bad_step_is_saved_bit_for_bit_and_the_run_resumes_from_it(healthy, tmp_path):
    message = train(tmp_path, Fault("gradient of generator_degrade", [5]))
    assert message.startswith("step 6 is not finite: gradient of generator_degrade, of samples 10 to 11 (10: ")
    assert contents(tmp_path / "checkpoints/step_5") == contents(healthy / "checkpoints/step_5")
    assert train(tmp_path) == ""
    assert contents(tmp_path / f"checkpoints/step_{STEPS}") == contents(healthy / f"checkpoints/step_{STEPS}")


def test_weights_that_are_not_finite_after_the_last_step_are_not_saved(healthy, tmp_path):
    message = train(tmp_path, Fault("weights of head", [LAST]))
    assert message.startswith("step 8 is not finite: weights of head, of samples 14 to 15")
    assert contents(tmp_path / f"checkpoints/step_{LAST}") == contents(healthy / f"checkpoints/step_{LAST}")
    assert [path.name for path in list_checkpoints(tmp_path / "checkpoints")][-1] == f"step_{LAST}"
    for part in ("head", "translator"):
        assert json.loads((tmp_path / part / "config.json").read_text())["trained"]["steps"] == LAST


def lines_of(folder: Path, split: str = "train") -> list[int]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["step"] for line in lines if line["split"] == split]


@pytest.mark.parametrize(
    ("policy", "step"), [("skip", 1), ("skip", LAST), ("rollback", BEFORE_A_CHECKPOINT), ("rollback", LAST)]
)
def test_a_bad_step_can_be_left_out_or_rolled_back(policy, step, healthy, tmp_path):
    fault = Fault("gradient of head", [step])
    assert train(tmp_path / "one", fault, policy) == ""
    assert policy == "rollback" or lines_of(tmp_path / "one") == [3, 4, 6, 8]
    log = (tmp_path / "one" / "log.txt").read_text()
    assert f"warning: step {step + 1} is not finite: gradient of head" in log and log.count("is not finite") == 1
    last = contents(tmp_path / f"one/checkpoints/step_{STEPS}")
    assert last != contents(healthy / f"checkpoints/step_{STEPS}")
    # Stopped behind the bad step and resumed, it ends with the same bits; started again, it finds the step again.
    assert train(tmp_path / "two", fault, policy, "train.steps=8") == ""
    shutil.rmtree(tmp_path / f"two/checkpoints/step_{STEPS}")
    assert train(tmp_path / "two", fault, policy) == ""
    assert contents(tmp_path / f"two/checkpoints/step_{STEPS}") == last


def test_skipping_is_taking_every_other_step(healthy, tmp_path):
    assert train(tmp_path, Fault("loss task_l1", [0]), "skip") == ""
    state = json.loads((tmp_path / f"checkpoints/step_{STEPS}/state.json").read_text())
    assert state["loop"]["watch"]["bad_steps"] == 1
    steps = [
        load_file(folder / f"checkpoints/step_{STEPS}/average.safetensors")["n_averaged"]
        for folder in (tmp_path, healthy)
    ]
    assert steps[0] == steps[1] - 1


def test_bad_steps_are_bounded(tmp_path):
    message = train(tmp_path, Fault("loss d_clean", range(2, 8)), "skip", "train.max_nonfinite=2")
    assert message.startswith("step 5 is not finite: loss d_clean") and "step_4" in message
    assert list_checkpoints(tmp_path / "checkpoints")[-1].name == "step_4"


def test_a_value_that_is_finite_when_computed_again_changes_nothing(healthy, tmp_path):
    assert train(tmp_path, Fault("gradient of head", [4], times=1)) == ""
    assert contents(tmp_path / f"checkpoints/step_{STEPS}") == contents(healthy / f"checkpoints/step_{STEPS}")
    assert "were not finite, and are when they are taken again" in (tmp_path / "log.txt").read_text()


def test_the_first_step_may_be_bad(tmp_path):
    assert train(tmp_path, Fault("loss task_l1", [0])).count("No step is saved") == 1
    assert list_checkpoints(tmp_path / "checkpoints") == []


def test_a_run_that_diverges_without_nan_stops_and_saves_nothing_of_it(tmp_path):
    message = train(tmp_path, None, "skip", "optimizer.head.lr=1e6")
    assert message.startswith("diverged: ") and "unpairaug docs divergence" in message
    assert not list_checkpoints(tmp_path / "checkpoints") and not (tmp_path / "head").exists()


def test_a_head_that_is_dead_is_named_within_50_steps(tmp_path, monkeypatch):
    from unpairaug.training.trainer import JointTrainer

    update = JointTrainer.update

    def killing(self: JointTrainer, step: int) -> None:
        update(self, step)
        if step == 33:
            torch.nn.init.constant_(self.task.head.body[-3].bias, -100.0)  # type: ignore[arg-type,union-attr,index]

    monkeypatch.setattr(JointTrainer, "update", killing)
    options = ["train.steps=84", "train.checkpoint_every=100", "train.log_every=50", "task.loss=l1"]
    assert train(tmp_path, None, "stop", *options) == ""
    log = (tmp_path / "log.txt").read_text()
    assert "warning: no gradient: 4 of 4 weights of head have had no gradient for 20 steps or more" in log
    assert log.index("warning: no gradient") < log.index(" 84/84 ")
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["dead_head"] for line in lines if line["split"] == "train"] == [0, 1]


def test_the_command_shows_the_step_again(tmp_path, monkeypatch):
    from unpairaug.commands import app
    from unpairaug.commands.debug import debug_app

    fault = Fault("gradient of head", [BEFORE_A_CHECKPOINT])
    train(tmp_path, fault)
    app.add_typer(debug_app, name="debug")
    file = str(tmp_path / "nonfinite" / f"step_{BEFORE_A_CHECKPOINT}.safetensors")
    with planted(fault):
        shown = CliRunner().invoke(app, ["debug", "replay", file])
    assert shown.exit_code == 0 and "gradient of head" in shown.output and "nan" in shown.output
