"""Recipes: what is read, what is refused and where, and what overrides do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError
from torch import nn

from unpairaug.errors import UserError
from unpairaug.recipe import Recipe, bundled_recipes, differences, load_recipe, to_yaml
from unpairaug.recipe.yaml_file import dump, parse
from unpairaug.registry import (
    HeadSpec,
    LossSpec,
    register_head,
    register_task,
    register_translator,
    tasks,
)
from unpairaug.task import Task
from unpairaug.translator import Translator


@register_head("toy_net")
class ToyNet(nn.Module):
    def __init__(self, scale: Literal[1, 2, 3, 4], depth: int = 20, norm: Literal["batch", "none"] = "batch") -> None:
        super().__init__()


@register_head("toy_wide_net")
class ToyWideNet(nn.Module):
    def __init__(self, width: int = 64) -> None: ...


@register_task("toy_sr")
class ToySR(Task):
    def __init__(self, scale: int = 4, head: HeadSpec = "toy_net", loss: Literal["l1", "mse"] = "l1") -> None:
        super().__init__(scale, head)


@register_task("toy_clean")
class ToyClean(Task):
    def __init__(self, head: HeadSpec = "toy_wide_net", loss: Literal["l1", "mse"] = "l1") -> None: ...


@register_translator("toy_gan")
class ToyGAN(Translator):
    def __init__(self, ngf: int = 64, lambda_cycle: float = 10.0, title: str = "") -> None: ...


@register_translator("toy_fixed")
class ToyFixed(Translator):
    def __init__(self) -> None: ...


RECIPE = """\
task:
  type: toy_sr
  scale: 2
  head: {type: toy_net, depth: 8}
translator:
  type: toy_gan
  ngf: 16
data:
  clean: photos/clean
  degraded: photos/real
  crop: 48
train:
  steps: 100
"""
Load = Callable[..., Recipe]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Writes the text to r.yaml in the current folder and loads it, with overrides."""
    monkeypatch.chdir(tmp_path)

    def load(text: str = RECIPE, *overrides: str) -> Recipe:
        Path("r.yaml").write_text(text, encoding="utf-8")
        return load_recipe("r.yaml", overrides)

    return load


@pytest.fixture
def refused(load: Load) -> Callable[..., str]:
    """The message with which a recipe is refused."""

    def refused(text: str = RECIPE, *overrides: str) -> str:
        with pytest.raises(UserError) as refusal:
            load(text, *overrides)
        return str(refusal.value)

    return refused


def test_a_recipe_becomes_typed_sections_with_every_default_filled_in(load: Load):
    recipe = load()
    assert recipe.task == {
        "type": "toy_sr",
        "scale": 2,
        "head": {"type": "toy_net", "depth": 8, "norm": "batch"},
        "loss": "l1",
    }
    assert recipe.translator == {"type": "toy_gan", "ngf": 16, "lambda_cycle": 10.0, "title": "", "measure": "none"}
    assert (recipe.train.steps, recipe.bridge.feed, recipe.output_dir) == (100, "fake", "runs/r")


def test_a_component_may_be_given_by_its_name_alone(load: Load):
    recipe = load("task: toy_clean\ntranslator: toy_fixed\ndata: {clean: a, degraded: b}\ntrain: {steps: 1}\n")
    assert recipe.translator == {"type": "toy_fixed", "measure": "none"}
    assert recipe.task["head"] == {"type": "toy_wide_net", "width": 64}


def test_an_empty_section_has_its_defaults(load: Load):
    assert load(RECIPE + "bridge:\n").bridge == load().bridge


def test_what_the_recipe_holds_can_be_built(load: Load):
    task = tasks.build(load().task)
    assert task.head.config == {"type": "toy_net", "scale": 2, "depth": 8, "norm": "batch"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E+2", 100.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-3", -3),
        ("010", 10),
        ("1_000", 1000),
        ("true", True),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("~", None),
        ("", None),
        ("1e", "1e"),
        (".inf", float("inf")),
        ("e5", "e5"),
    ],
)
def test_bare_words_are_read_as_yaml_1_2_reads_them(text: str, value: Any):
    read = parse(f"key: {text}", "r.yaml").values["key"]
    assert read == value and type(read) is type(value)


def test_an_exponent_is_a_number_in_a_recipe(load: Load):
    recipe = load(RECIPE + "  clip: 1e-4\n", "optimizer.head.lr=2e-4", "train.steps=1e3")
    assert (recipe.train.clip, recipe.optimizer.head.lr, recipe.train.steps) == (1e-4, 2e-4, 1000)


def test_an_unknown_key_is_named_with_its_place_and_the_nearest(refused: Callable[..., str]):
    assert refused(RECIPE + "  precison: bf16\n  mixed_precison: bf16\n") == (
        "r.yaml:14:3: train.precison: unknown key; did you mean 'mixed_precision'?\n"
        "r.yaml:15:3: train.mixed_precison: unknown key; did you mean 'mixed_precision'?"
    )


def test_a_key_in_the_wrong_section_is_sent_home(refused: Callable[..., str]):
    assert refused(RECIPE + "crop: 3\n") == "r.yaml:14:1: crop: unknown key; did you mean 'data.crop'?"


def test_every_mistake_of_a_file_is_told_at_once_each_with_its_place(refused: Callable[..., str]):
    message = refused(RECIPE.replace("depth: 8", "dept: 8").replace("ngf: 16", "ngf: many"), "train.steps=-1")
    assert message.splitlines() == [
        "r.yaml:4:25: task.head.dept: unknown key; did you mean 'depth'?",
        "r.yaml:7:3: translator.ngf: given 'many', should be a whole number",
        "override train.steps=-1: train.steps: given -1, should be a whole number of steps, 0 or more",
    ]


def test_a_missing_key_is_told_at_its_section(refused: Callable[..., str]):
    assert refused(RECIPE.replace("  steps: 100", "  seed: 1")) == "r.yaml:12:1: train.steps: required, and not given"
    assert refused("task: toy_sr\n").splitlines() == [
        f"r.yaml: {key}: required, and not given" for key in ("translator", "data", "train")
    ]


def test_an_unknown_component_is_told_at_its_place(refused: Callable[..., str]):
    message = refused(RECIPE.replace("toy_net", "toy_nut"))
    assert message.startswith("r.yaml:4:10: task.head.type: no head is called 'toy_nut'; did you mean 'toy_net'?")
    assert refused(RECIPE, "translator=toy_gas").startswith(
        "override translator=toy_gas: translator.type: no translator"
    )


def test_a_scale_that_the_head_cannot_do_is_refused(refused: Callable[..., str]):
    assert "given 6, should be 1, 2, 3 or 4" in refused(RECIPE, "task.scale=6")


@pytest.mark.parametrize(
    ("key", "home"),
    [
        ("translator_lr", "optimizer.generator.lr"),
        ("discriminator_lr", "optimizer.discriminator.lr"),
        ("head_lr", "optimizer.head.lr"),
        ("betas", "optimizer.generator.betas"),
        ("head_betas", "optimizer.head.betas"),
    ],
)
def test_what_optimisers_take_is_sent_to_their_section(refused: Callable[..., str], key: str, home: str):
    assert refused(RECIPE + f"  {key}: 1\n") == f"r.yaml:14:3: train.{key}: unknown key; did you mean {home!r}?"


def test_a_repeated_key_is_refused_with_both_places(refused: Callable[..., str]):
    message = refused(RECIPE + "  steps: 5\ntrain: {}\n")
    assert message == (
        "r.yaml:14:3: train.steps: already given in line 13; keep one\n"
        "r.yaml:15:1: train: already given in line 12; keep one"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "r.yaml: the file is empty"),
        ("# nothing\n", "r.yaml: the file is empty"),
        ("- task\n", "r.yaml: the file does not hold `key: value` lines"),
        ("task:\n\ttype: sr\n", r"r.yaml:2:1: .*indent with spaces"),
        ("task: a: b\n", r"r.yaml:1:8: mapping values are not allowed here; quote"),
        ("task: [1, 2\n", r"r.yaml:2:1: expected ',' or '\]'"),
        ("task: !!python/object:os.system x\n", r"r.yaml:1:7: could not determine a constructor"),
        ("task: &a [*a]\n", r"r.yaml:1:7: more than 32 sections within each other"),
        ("task: !!int x\n", "r.yaml: "),
        ("\x00", "r.yaml: "),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_place(refused: Callable[..., str], text: str, message: str):
    assert re.match(message, refused(text))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train.steps=0", "given 0, should be 1 step or more"),
        ("train.steps=1.5", "whole number of steps"),
        ("train.steps=5 epoch s", "'200 epochs'"),
        ("train.steps=true", "given true"),
        ("train.steps=.inf", "at most 1000000000"),
        ("optimizer.head.lr=0", "greater than 0"),
        ("optimizer.head.lr=true", "given true, should be a number"),
        ("optimizer.head.lr='1e-4'", "given '1e-4', should be a number"),
        ("train.ema=1", "less than 1"),
        ("optimizer.head.betas=[0.5]", "optimizer.head.betas"),
        ("optimizer.head.betas=[0.5, 1.0]", "less than 1"),
        ("train.clip=0", "greater than 0"),
        ("train.log_every=0", "greater than or equal to 1"),
        ("train.seed=1.5", "whole number"),
        ("train.mixed_precision=fp8", "should be 'no', 'bf16' or 'fp16'"),
        ("train=5", "section of `key: value` lines"),
        ("data.crop='48'", "given '48', should be a whole number"),
        ("data.batch_size=0", "greater than or equal to 1"),
        ("data.num_workers=-1", "greater than or equal to 0"),
        ("data.flip=1", "should be true or false"),
        ("data.clean=7", "should be text; put it in quotes"),
        ("data.clean=", "given nothing, should be text"),
        ("bridge.strength=1.5", "should be within [0, 1]"),
        ("bridge.strength=[1, 0.5]", "the lower end first"),
        ("bridge.strength=[0, 0.5, 1]", "or two as in"),
        ("bridge.strength=true", "given true"),
        ("bridge.strength=half", "given 'half'"),
        ("bridge.feed=fakes", "did you mean 'fake'"),
        ("schedule.feedback=-1", "greater than or equal to 0"),
        ("task.loss=l3", "given 'l3', should be 'l1' or 'mse'"),
        ("task.head.scale=3", "given 3, but what holds this head has 2"),
        ("train.sed=1", "did you mean 'seed'"),
    ],
)
def test_a_wrong_override_is_quoted(refused: Callable[..., str], override: str, sentence: str):
    message = refused(RECIPE, override)
    assert message.startswith(f"override {override}: {override.partition('=')[0]}") and sentence in message
    assert "\n" not in message


def test_an_override_in_a_misspelt_section_is_quoted(refused: Callable[..., str]):
    message = refused(RECIPE, "trian.seed=1")
    assert message == "override trian.seed=1: trian: unknown key; did you mean 'train'?"


@pytest.mark.parametrize(
    "override", ["train.steps", "=5", "train..steps=5", "data.clean.x=1", "data.clean=*.png", "a=[1"]
)
def test_an_override_of_another_form_is_refused(refused: Callable[..., str], override: str):
    assert refused(RECIPE, override).startswith(f"override {override}: ")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["data.crop=47"], "data.crop: 47 is not divisible by task.scale 2; try 46 or 48"),
        (["data.crop=1"], "data.crop: 1 is not divisible by task.scale 2; try 2"),
        (["bridge.feed=real"], "data.ceiling_clean: required by bridge.feed 'real'"),
        (
            ["bridge.feed=real", "data.ceiling_clean=a", "data.on_bad=skip"],
            "data.on_bad: 'skip' would break up the",
        ),
        (["data.val_clean=a"], "data.val_degraded: required beside data.val_clean"),
        (["data.val_degraded=a"], "data.val_clean: required beside data.val_degraded"),
        (["data.pairs_degraded=a"], "data.pairs_clean: required beside data.pairs_degraded"),
        (
            ["data.pairs_clean=a", "data.pairs_degraded=a", "bridge.feed=restore(fake)"],
            "data.pairs_clean: bridge.feed 'restore(fake)' does not feed the real image of a pair",
        ),
        (["schedule.translator_warmup=60", "schedule.head_warmup=41"], "longer than train.steps 100"),
        (["train.steps=9 epochs", "schedule.lr_decay=10 epochs"], "10 epochs is longer than train.steps 9 epochs"),
        (["schedule.head_warmup=60%", "schedule.head_finish=41%"], "longer than train.steps 100"),
        (["train.steps=50%"], "given '50%', should be 1 step or more, or epochs"),
    ],
)
def test_an_impossible_combination_is_refused(refused: Callable[..., str], overrides: list[str], sentence: str):
    assert sentence in refused(RECIPE, *overrides)


def test_a_share_of_the_run_follows_its_length(load: Load):
    whole = load(RECIPE, "train.steps=100", "schedule.head_finish=29%")
    assert whole.resolve(steps_per_epoch=1).schedule.head_finish == 29, "29 / 100 * 100 is less than 29 in floats"
    for steps, expected in (("1000", 300), ("7", 2), ("4 epochs", 12)):
        recipe = load(RECIPE, f"train.steps={steps}", "schedule.head_finish=30%")
        assert recipe.schedule.head_finish == "30%"
        assert recipe.resolve(steps_per_epoch=10).schedule.head_finish == expected


def test_steps_and_epochs_are_compared_once_an_epoch_has_a_length(load: Load):
    recipe = load(RECIPE, "schedule.head_warmup=3 epochs")
    assert recipe.resolve(steps_per_epoch=33).schedule.head_warmup == 99
    with pytest.raises(UserError, match=r"schedule: .*head_warmup 102 .*are longer"):
        recipe.resolve(steps_per_epoch=34)


def test_a_resolved_recipe_has_every_length_in_steps_and_is_otherwise_the_same(load: Load):
    recipe = load(RECIPE, "train.steps=2 epochs", "schedule.lr_decay=1 epoch", "schedule.feedback_ramp=0.01 epochs")
    resolved = recipe.resolve(steps_per_epoch=10)
    assert differences(recipe, resolved) == {
        "train.steps": ("2 epochs", 20),
        "schedule.lr_decay": ("1 epochs", 10),
        "schedule.feedback_ramp": ("0.01 epochs", 1),
    }
    assert resolved.resolve(steps_per_epoch=7) == resolved


def test_overrides_set_single_keys_in_their_order_and_make_sections(load: Load):
    recipe = load(
        RECIPE, "bridge.strength=[0, 1]", "train.seed=1", "train.seed=2", "task.head.depth=9", "output_dir=out=1"
    )
    assert recipe.bridge.strength == (0.0, 1.0)
    assert (recipe.train.seed, recipe.task["head"]["depth"], recipe.output_dir) == (2, 9, "out=1")


def test_an_option_of_the_default_head_can_be_overridden_where_the_file_names_no_head(load: Load):
    text = RECIPE.replace("  head: {type: toy_net, depth: 8}\n", "")
    assert load(text, "task.head.depth=3").task["head"] == {"type": "toy_net", "depth": 3, "norm": "batch"}


@pytest.mark.parametrize("override", ["translator.type=toy_fixed", "translator=toy_fixed"])
def test_another_type_leaves_the_options_of_the_old_one_behind(load: Load, override: str):
    assert load(RECIPE, override).translator == {"type": "toy_fixed", "measure": "none"}


def test_the_same_type_keeps_its_options(load: Load):
    assert load(RECIPE, "translator.type=toy_gan").translator["ngf"] == 16


def test_another_type_keeps_what_overrides_gave_in_any_order(load: Load):
    for overrides in (
        ["task.head.width=5", "task.head.type=toy_wide_net"],
        ["task.head=toy_wide_net", "task.head.width=5"],
    ):
        assert load(RECIPE, *overrides).task["head"] == {"type": "toy_wide_net", "width": 5}


def test_another_task_keeps_the_scale_if_it_has_one(load: Load):
    text = (
        RECIPE.replace("toy_sr", "toy_clean")
        .replace("{type: toy_net, depth: 8}", "toy_wide_net")
        .replace("  scale: 2\n", "")
    )
    assert load(RECIPE, "task.type=toy_clean").task == load(text).task
    register_task("toy_sr_too")(type("ToySRToo", (ToySR,), {}))
    assert load(RECIPE, "task.type=toy_sr_too").task == {
        **load().task,
        "type": "toy_sr_too",
        "head": tasks.complete("toy_sr")["head"],
    }


def test_a_whole_component_can_be_overridden(load: Load):
    assert load(RECIPE, "task.head.depth=7", "task.head={type: toy_wide_net, width: 2}").task["head"]["width"] == 2


def test_differences_are_none_between_equals_and_name_what_changed(load: Load):
    assert differences(load(), load()) == {}
    changed = load(RECIPE, "train.seed=7", "task.head=toy_wide_net")
    assert differences(load(), changed) == {
        "train.seed": (0, 7),
        "task.head.type": ("toy_net", "toy_wide_net"),
        "task.head.depth": (8, None),
        "task.head.norm": ("batch", None),
        "task.head.width": (None, 64),
    }


def test_a_recipe_cannot_be_changed_by_accident(load: Load):
    with pytest.raises(ValidationError):
        load().train.seed = 3


CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")
texts = st.text(CHARACTERS, min_size=1) | st.sampled_from(
    ["1e-4", "no", "true", "null", "010", "1:30", "2024-01-01", "~", "=", "- a", "a: b"]
)
lengths = st.integers(50, 99) | st.integers(1, 99).map(lambda n: f"{n} epochs")
rates = st.floats(1e-12, 1e6)


@settings(max_examples=60)
@given(
    clean=texts,
    title=texts,
    warmup=lengths,
    lr=rates,
    ends=st.tuples(*[st.floats(0, 1)] * 2),
)
def test_a_recipe_written_as_yaml_loads_to_an_equal_one(
    tmp_path_factory: pytest.TempPathFactory, clean: str, title: str, warmup: Any, lr: float, ends: Any
):
    values = {
        "task": {"type": "toy_sr", "scale": 2},
        "translator": {"type": "toy_gan", "title": title},
        "schedule": {"translator_warmup": warmup},
        "bridge": {"strength": sorted(ends)},
        "data": {"clean": clean, "degraded": "sample"},
        "train": {"steps": 200 if isinstance(warmup, int) else "99 epochs"},
        "optimizer": {"head": {"lr": lr, "lr_schedule": {"type": "cosine", "warmup": warmup}}},
        "output_dir": "runs/a",
    }
    recipe = Recipe.model_validate(values)
    path = tmp_path_factory.mktemp("law") / "recipe.yaml"
    path.write_text(to_yaml(recipe), encoding="utf-8")
    assert load_recipe(str(path)) == recipe


@settings(max_examples=200)
@given(st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | st.text(CHARACTERS))
def test_every_plain_value_survives_writing_and_reading(value: Any):
    read = parse(dump({"key": value}), "r.yaml").values["key"]
    assert read == value and type(read) is type(value)


def test_a_bundled_recipe_is_found_by_its_name_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in bundled_recipes():
        assert load_recipe(name) == load_recipe(f"{name}.yaml") == load_recipe(f"recipes/{name}.yaml")


def test_a_file_goes_before_a_bundled_recipe_of_its_name(load: Load, monkeypatch: pytest.MonkeyPatch):
    Path("smoke").write_text(RECIPE, encoding="utf-8")
    assert load_recipe("smoke").translator["type"] == "toy_gan"


def test_a_recipe_that_is_not_there_tells_the_nearest(tmp_path: Path):
    for name in ("smoke_", "recipes/smoke_.yaml"):
        with pytest.raises(UserError, match=r"no such file.*did you mean 'smoke'\? Known: "):
            load_recipe(name)
    with pytest.raises(UserError, match="cannot be read"):
        load_recipe(str(tmp_path))
    (tmp_path / "latin.yaml").write_bytes(b"output_dir: caf\xe9")
    with pytest.raises(UserError, match="UTF-8"):
        load_recipe(str(tmp_path / "latin.yaml"))


def test_reading_the_module_does_not_import_torch(checkout: Path):
    code = "import sys, unpairaug.recipe; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


@register_task("toy_judged")
class ToyJudged(Task):
    def __init__(self, scale: int = 4, loss: LossSpec = "l1") -> None: ...


JUDGED = RECIPE.replace("toy_sr", "toy_judged").replace("  head: {type: toy_net, depth: 8}\n", "  loss: LOSS\n")


def judged(loss: str) -> str:
    """A recipe whose task has that loss; none where it is empty."""
    return JUDGED.replace("LOSS", loss) if loss else JUDGED.replace("  loss: LOSS\n", "")


def weights(recipe: Recipe) -> dict[str, float]:
    return {name: term["weight"] for name, term in recipe.task["loss"].items()}


def test_a_loss_is_a_name_or_weighted_terms_each_with_its_options(load: Load):
    assert load(judged("mse")).task["loss"] == {"mse": {"type": "mse", "weight": 1.0}}
    loss = "{l1: 1, smooth: {type: charbonnier, weight: 0.5}, gan: {game: hinge}}"
    assert load(judged(loss)).task["loss"] == {
        "l1": {"type": "l1", "weight": 1.0},
        "smooth": {"type": "charbonnier", "weight": 0.5, "eps": 1e-3},
        "gan": {
            "type": "gan",
            "weight": 1.0,
            "game": "hinge",
            "discriminator": {"type": "srgan", "ndf": 64, "norm": "batch"},
            "r1": 0.0,
        },
    }


@pytest.mark.parametrize(
    ("loss", "overrides", "expected"),
    [
        ("l1", ["task.loss=mse"], {"mse": 1}),
        ("{l1: 1, ssim: 0.1}", ["task.loss=mse"], {"mse": 1}),
        ("l1", ["task.loss.ssim=0.2"], {"l1": 1, "ssim": 0.2}),
        ("{l1: 1, ssim: 0.1}", ["task.loss.ssim=0.2"], {"l1": 1, "ssim": 0.2}),
        ("{l1: 1, ssim: {weight: 0.1}}", ["task.loss.ssim=0"], {"l1": 1, "ssim": 0}),
        ("", ["task.loss.ssim=0.2"], {"l1": 1, "ssim": 0.2}),
        ("", ["task.loss.l1=0.5"], {"l1": 0.5}),
        ("", ["task.loss=mse", "task.loss.ssim=0.2"], {"mse": 1, "ssim": 0.2}),
        ("", ["task.loss={ssim: 0.2}"], {"ssim": 0.2}),
        ("mse", ["task.type=toy_judged_too", "task.loss.ssim=0.2"], {"charbonnier": 1, "ssim": 0.2}),
        ("mse", ["task.loss.ssim=0.2", "task.type=toy_judged_too"], {"charbonnier": 1, "ssim": 0.2}),
        ("{l1: 1, perceptual: 0.1}", ["task.loss.perceptual.weight=0.2"], {"l1": 1, "perceptual": 0.2}),
        ("{l1: 1, perceptual: 0.1}", ["task.loss.perceptual.model=vgg16"], {"l1": 1, "perceptual": 0.1}),
        ("{own: {type: ssim, weight: 0.3}}", ["task.loss.own.type=tv"], {"own": 0.3}),
    ],
)
def test_overrides_reach_the_terms_of_a_loss(load: Load, loss: str, overrides: list[str], expected: dict[str, float]):
    @register_task("toy_judged_too")
    class ToyJudgedToo(Task):
        def __init__(self, scale: int = 4, loss: LossSpec = "charbonnier") -> None: ...

    assert weights(load(judged(loss), *overrides)) == expected


def test_a_weight_leaves_the_other_options_of_its_term_alone(load: Load):
    options = "{l1: 1, far: {type: perceptual, model: vgg16, layers: [1, 2]}}"
    term = load(judged(options), "task.loss.far=0.2", "task.loss.far.weights=random").task["loss"]["far"]
    assert (term["weight"], term["model"], term["layers"], term["weights"]) == (0.2, "vgg16", (1, 2), "random")


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("mes", "r.yaml:4:3: task.loss: no loss is called 'mes'; did you mean 'mse'?"),
        ("{l1: 1, sim: 0.1}", "r.yaml:4:17: task.loss.sim: no loss is called 'sim'; did you mean 'ssim'?"),
        ("{own: {type: sim}}", "r.yaml:4:16: task.loss.own.type: no loss is called 'sim'; did you mean 'ssim'?"),
        ("{own: {type: 'm:x'}}", "r.yaml:4:16: task.loss.own.type: loss 'm:x': module 'm' cannot be imported"),
        (
            "{l1: {type: mse}}",
            "r.yaml:4:15: task.loss.l1.type: 'l1' is another loss; .*own_l1: {type: 'mse'}",
        ),
        ("{gan: {gme: hinge}}", "r.yaml:4:16: task.loss.gan.gme: unknown key; did you mean 'game'?"),
        ("{gan: {game: hing}}", "r.yaml:4:16: task.loss.gan.game: given 'hing', should be .*did you mean 'hinge'"),
        ("{gan: {weight: -1}}", "r.yaml:4:16: task.loss.gan.weight: given -1, should be the term's weight"),
        ("{l1: yes}", "r.yaml:4:10: task.loss.l1: given 'yes', should be the term's weight"),
        ("{l1: true}", "r.yaml:4:10: task.loss.l1: given true, should be the term's weight"),
        ("{l1: }", "r.yaml:4:10: task.loss.l1: given nothing, should be the term's weight"),
        ("{l1: .inf}", "r.yaml:4:10: task.loss.l1: given inf, should be the term's weight"),
        ("{charbonnier: {eps: 0}}", "r.yaml:4:24: task.loss.charbonnier.eps: given 0, should be greater than 0"),
        ("{perceptual: {layers: [0, -1]}}", "r.yaml:4:35: task.loss.perceptual.layers.1: given -1"),
        ("{'m:Edge': 1}", "r.yaml:4:10: task.loss.m:Edge: a term's name is one word, as in edge: {type: 'm:Edge'"),
        ("{l1: 0, mse: 0}", "r.yaml:4:3: task.loss: given {'l1': 0, 'mse': 0}, should have a term whose weight"),
        ("{}", "r.yaml:4:3: task.loss: given {}, should have a term whose weight is above 0"),
        ("[l1]", "r.yaml:4:3: task.loss: given ['l1'], should be a loss, or a section of losses"),
    ],
)
def test_what_is_wrong_with_a_loss_is_told_at_its_place(refused: Callable[..., str], loss: str, message: str):
    said = refused(judged(loss))
    start, _, rest = message.partition(".*")
    assert said.startswith(start) and rest in said and "\n" not in said


def test_every_mistake_in_a_loss_is_told_at_once(refused: Callable[..., str]):
    assert [line.split(": ")[1] for line in refused(judged("{sim: 1, gan: {gme: 1, r1: -1}}")).splitlines()] == [
        "task.loss.sim",
        "task.loss.gan.r1",
        "task.loss.gan.gme",
    ]


def test_a_recipe_with_terms_written_as_yaml_loads_to_an_equal_one_and_takes_overrides_still(load: Load):
    recipe = load(judged("{l1: 1, near: {type: perceptual, weights: random, layer_weights: [1]}, mse: 0}"))
    again = load(to_yaml(recipe))
    assert again == recipe
    changed = load(to_yaml(recipe), "task.loss.near=0.5", "task.loss.ssim=0.1", "task.loss.mse=2")
    assert weights(changed) == {"l1": 1, "near": 0.5, "mse": 2, "ssim": 0.1}
    assert differences(recipe, load(to_yaml(recipe), "task.loss.near=0.5")) == {"task.loss.near.weight": (1.0, 0.5)}
