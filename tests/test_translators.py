"""Laws that every translator keeps."""

import pytest
import torch

from unpairaug.registry import translators
from unpairaug.rng import sample_rng
from unpairaug.translator import Translator

SMALL = {
    "bicubic": {},
    "cyclegan": {"ngf": 4, "n_blocks": 1, "ndf": 4, "n_layers_D": 1},
    "stochastic_cyclegan": {"width": 4, "depth": 3, "ndf": 4},
}


def make(name: str, **options) -> Translator:
    torch.manual_seed(0)
    translator = translators.build({"type": name, **SMALL[name], **options})
    for p in translator.generators.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return translator


def images(height: int = 16, width: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, height, width, generator=rng), torch.rand(2, 3, height, width, generator=rng)


def test_every_built_in_translator_is_tested_here():
    built_in = [name for name in translators.names() if translators.get(name).__module__.startswith("unpairaug.")]
    assert set(SMALL) == set(built_in)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(16, 16), (21, 30)])
def test_degrade_keeps_the_size_and_repeats_for_a_seed(name, size):
    source, _ = images(*size)
    first, again = (make(name).degrade(source, sample_rng(5, [0, 1])) for _ in range(2))
    assert first.shape == source.shape
    assert torch.equal(first, again)


@pytest.mark.parametrize("name", SMALL)
def test_a_batch_is_degraded_as_its_images_are_alone(name):
    source, _ = images()
    translator = make(name)
    together = translator.degrade(source, sample_rng(5, [0, 1]))
    alone = torch.cat([translator.degrade(source[i : i + 1], sample_rng(5, [i])) for i in (0, 1)])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_loss_terms_are_finite_scalars_of_distinct_names(name):
    source, real = images()
    translator = make(name)
    fake = translator.degrade(source)
    losses_g = translator.losses_g(source, real, fake)
    losses_d = translator.losses_d(source, real, fake.detach())
    assert not losses_g.keys() & losses_d.keys()
    for name, loss in {**losses_g, **losses_d}.items():
        assert loss.shape == (), name
        assert loss.isfinite(), name


@pytest.mark.parametrize("name", SMALL)
def test_saved_equals_loaded(name, tmp_path):
    translator, (source, _) = make(name).eval(), images()
    translator.save_pretrained(tmp_path / "translator")
    for place in (tmp_path, tmp_path / "translator"):
        loaded = Translator.from_pretrained(place)
        assert loaded.config == translator.config
        rngs = [sample_rng(1, [0, 1]) for _ in range(2)]
        assert torch.equal(loaded.degrade(source, rngs[0]), translator.degrade(source, rngs[1]))


@pytest.mark.parametrize("norm", ["instance", "none", "batch"])
def test_computing_passes_together_changes_nothing(norm):
    source, real = images()
    together, apart = make("cyclegan", norm=norm), make("cyclegan", norm=norm)
    apart.one_pass = False
    assert together.one_pass == (norm != "batch")
    terms = [t.losses_g(source, real, t.degrade(source)) for t in (together, apart)]
    for name in terms[0]:
        assert torch.allclose(terms[0][name], terms[1][name], rtol=1e-4), name


def test_identity_terms_are_there_only_with_a_weight():
    source, real = images()
    translator = make("cyclegan", lambda_identity=0.0)
    assert set(translator.losses_g(source, real, translator.degrade(source))) == {
        "gan_degrade",
        "gan_restore",
        "cycle_clean",
        "cycle_degraded",
    }
