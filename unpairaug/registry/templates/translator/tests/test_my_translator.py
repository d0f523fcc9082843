"""my_translator keeps unpairaug's contract, and its recipe trains."""

from pathlib import Path

import torch
from unpairaug import Translator
from unpairaug.run import train
from unpairaug.testing import check_translator

RECIPE = Path(__file__).resolve().parent.parent / "my_translator" / "my_translator.yaml"
SHORT = ["train.steps=2", "data.val_clean=null", "data.val_degraded=null"]


def test_the_translator_keeps_the_contract() -> None:
    check_translator("my_translator.translator:MyTranslator", stochastic=True)


def test_two_steps_of_the_recipe_leave_what_can_be_loaded(tmp_path: Path) -> None:
    train(str(RECIPE), [*SHORT, f"output_dir={tmp_path / 'run'}"])
    translator = Translator.from_pretrained(tmp_path / "run", trust_code=True)
    fake = translator(torch.rand(1, 3, 20, 30))
    assert fake.shape == (1, 3, 20, 30)
