"""What `cyclegan` does beyond the contract of `unpairaug.testing`."""

import pytest
import torch

from unpairaug.registry import translators
from unpairaug.translator import Translator


def make(**options) -> Translator:
    torch.manual_seed(0)
    small = {"ngf": 4, "n_blocks": 1, "discriminator": {"type": "patch", "ndf": 4, "n_layers": 1}}
    translator = translators.build({"type": "cyclegan", **small, **options})
    for p in translator.generators.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return translator


def images() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 16, 16, generator=rng), torch.rand(2, 3, 16, 16, generator=rng)


@pytest.mark.parametrize("norm", ["instance", "none", "batch"])
def test_computing_passes_together_changes_nothing(norm):
    source, real = images()
    together, apart = make(norm=norm), make(norm=norm)
    apart.one_pass = False
    assert together.one_pass == (norm != "batch")
    terms = [t.losses_g(source, real, t.degrade(source)) for t in (together, apart)]
    for name in terms[0]:
        assert torch.allclose(terms[0][name], terms[1][name], rtol=1e-4), name


def test_identity_terms_are_there_only_with_a_weight():
    source, real = images()
    translator = make(lambda_identity=0.0)
    assert set(translator.losses_g(source, real, translator.degrade(source))) == {
        "gan_degrade",
        "gan_restore",
        "cycle_clean",
        "cycle_degraded",
    }


def test_cycle_and_identity_terms_of_some_steps_only_weigh_as_much_more():
    source, real = images()
    always, seldom = make(), make(cycle_every=3)
    terms = always.losses_g(source, real, always.degrade(source))
    for step in range(4):
        seldom.training_step = step
        found = seldom.losses_g(source, real, seldom.degrade(source))
        assert found.keys() == terms.keys()
        for name, value in found.items():
            factor = 1 if name.startswith("gan_") else 3 * (step % 3 == 0)
            torch.testing.assert_close(value, factor * terms[name])
