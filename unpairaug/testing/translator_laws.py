"""What every translator keeps: the trainer, checkpoints and `degrade` rely on it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from unpairaug.losses import Losses
from unpairaug.registry import translators
from unpairaug.rng import sample_rng
from unpairaug.testing.laws import SIDE, SIZES, apart, gradient, images, not_finite, twin_of
from unpairaug.translator import Translator

TIPPED = 1e-3
"""Share of a file's values below which such a difference of one level is rounding."""


def is_a_translator(translator: Translator) -> str | None:
    """It is an `unpairaug.Translator`."""
    return None if isinstance(translator, Translator) else f"a {type(translator).__name__}"


def networks_are_filed(translator: Translator) -> str | None:
    """Every weight belongs to one of `generators` or `discriminators`: the trainer knows no other."""
    filed = {id(p) for side in (translator.generators, translator.discriminators) for p in side.parameters()}
    lost = [name for name, p in translator.named_parameters() if id(p) not in filed]
    return f"weights of neither: {', '.join(lost)}" if lost else None


def keeps_any_size(translator: Translator) -> str | None:
    """`degrade` gives an image of any size back in that size, finite, and leaves what goes in as it was."""
    for height, width in SIZES:
        source = images(height, width)
        fake = _degraded(translator, source)
        if fake.shape != source.shape:
            return f"{tuple(source.shape)} became {tuple(fake.shape)}"
        if seen := not_finite(fake=fake) or apart(source, images(height, width), 0):
            return seen
    return None


def seed_decides(translator: Translator) -> str | None:
    """`degrade` draws from the generators it is given and from no other: the same seed, the same image."""
    torch.manual_seed(1)
    first = _degraded(translator, images(SIDE, SIDE))
    torch.manual_seed(2)
    return apart(first, _degraded(translator, images(SIDE, SIDE)), 0)


def own_generator_is_used(translator: Translator) -> str | None:
    """Without generators of its own, a call of `degrade` draws from `translator.rng`, which the trainer sets."""
    expected = _degraded(translator, images(SIDE, SIDE))
    translator.rng = sample_rng(0, [0, 1])
    with torch.no_grad():
        return apart(expected, translator.eval().degrade(images(SIDE, SIDE)), 1e-6)


def batch_is_singles(translator: Translator) -> str | None:
    """In evaluation mode an image is degraded in a batch as it is alone, from its own sample's generator."""
    source = images(SIDE, SIDE)
    together = _degraded(translator, source)
    alone = torch.cat([_degraded(translator, source[i : i + 1], samples=(i,)) for i in (0, 1)])
    return apart(together, alone) and apart(_on_one_side(together, alone), alone)


def filed_generators_degrade(translator: Translator) -> str | None:
    """`degrade` works through what is in `generators` now: there the trainer puts the averaged weights."""
    if not any(True for _ in translator.generators.parameters()):
        return None
    twin = copy.deepcopy(translator)
    twin.generators, twin.discriminators = copy.deepcopy(translator.generators), nn.ModuleDict()
    same = apart(_degraded(translator, images(SIDE, SIDE)), _degraded(twin, images(SIDE, SIDE)), 0)
    for p in twin.generators.parameters():
        nn.init.constant_(p, torch.nan)
    follows = _degraded(twin, images(SIDE, SIDE)).isnan().any()
    return same or (None if follows else "an image made by other generators than those in `generators`")


def task_teaches_degrade(translator: Translator) -> str | None:
    """A loss on the fake reaches the weights that degrade: that is how the head's loss comes back."""
    if not any(True for _ in translator.generators.parameters()):
        return None
    translator.zero_grad()
    translator.rng = sample_rng(0, [0, 1])
    (translator.train().degrade(images(SIDE, SIDE)) - 0.5).square().mean().backward()
    found = gradient(translator.generators)
    return "no gradient in any generator" if found is None or not found.any() else not_finite(gradients=found)


def terms_are_named_scalars(translator: Translator) -> str | None:
    """`losses_g` and `losses_d` give finite scalars, each under a name of its own."""
    sides = list(_step(translator))
    if twice := sides[0].keys() & sides[1].keys():
        return f"{', '.join(twice)} on both sides"
    return _wrong_terms({**sides[0], **sides[1]})


def smallest_side_is_enough(translator: Translator) -> str | None:
    """The losses can be computed on images of `smallest_side` pixels."""
    other = copy.deepcopy(translator)  # what it remembers may be of one size
    list(_step(other, side=other.smallest_side))
    return None


def half_precision(translator: Translator) -> str | None:
    """Under bf16 autocast, all terms and their gradients stay finite."""
    translator.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        sides = [*_step(translator)]
    return _wrong_terms({name: term for side in sides for name, term in side.items()}) or not_finite(
        gradients=gradient(translator)
    )


def each_side_teaches_its_own(translator: Translator) -> str | None:
    """`losses_g` reaches every generator, and `losses_d` every discriminator and no generator."""
    translator.zero_grad()
    game = _step(translator)
    next(game)
    before = {name: gradient(network) for name, network in translator.generators.items()}
    next(game)
    for name, network in translator.generators.items():
        found = before[name]
        if found is None or not found.any():
            return f"no gradient of losses_g in generator {name!r}"
        if not torch.equal(found, gradient(network)):  # type: ignore[arg-type]  # it had gradients before
            return f"a gradient of losses_d in generator {name!r}"
    for name, network in translator.discriminators.items():
        if (found := gradient(network)) is None or not found.any():
            return f"no gradient of losses_d in discriminator {name!r}"
    return None


def memory_round_trip(translator: Translator) -> str | None:
    """With its state and its `memory`, another one goes on as it would have gone on itself."""
    if not hasattr(translator, "config"):
        return None  # an instance that no registry built
    for seed in range(3):
        _terms(translator, seed)
    twin, memory = twin_of(translators, translator), translator.memory()
    for name, rows in memory.items():
        if len(rows) != 2:
            return f"{len(rows)} rows of {name!r} for a batch of 2, where one for each position is wanted"
    twin.load_memory({name: rows.clone() for name, rows in memory.items()})
    mine, others = _terms(translator, 3), _terms(twin, 3)
    differing = [name for name in mine if not torch.allclose(mine[name], others[name], rtol=1e-4, atol=1e-6)]
    return f"other values of {', '.join(differing)}" if differing else None


def saved_equals_loaded(translator: Translator) -> str | None:
    """What `save_pretrained` writes, `Translator.from_pretrained` loads: it degrades alike."""
    if not hasattr(translator, "config"):
        return None
    with TemporaryDirectory() as folder:
        translator.save_pretrained(folder)
        loaded = Translator.from_pretrained(folder)
    return apart(_degraded(loaded, images(SIDE, SIDE)), _degraded(translator, images(SIDE, SIDE)), 1e-6)


def draws_noise(translator: Translator) -> str | None:
    """It is stochastic: two seeds make two images."""
    fakes = [_degraded(translator, images(SIDE, SIDE), seed) for seed in (0, 1)]
    return "one image for two seeds" if torch.equal(*fakes) else None


def draws_nothing(translator: Translator) -> str | None:
    """It is deterministic: two seeds make one image."""
    first, second = (_degraded(translator, images(SIDE, SIDE), seed) for seed in (0, 1))
    return apart(first, second, 0)


def _on_one_side(fake: Tensor, other: Tensor) -> Tensor:
    """The fake; in a file, where rounding may tip a value or two to the next level, with the other in their place."""
    levels, tipped = fake * 255, ((fake - other).abs() * 255).round() == 1
    is_file = (levels - levels.round()).abs().max() < 1e-3
    return torch.where(tipped, other, fake) if is_file and tipped.float().mean() < TIPPED else fake


def _degraded(translator: Translator, source: Tensor, seed: int = 0, samples: tuple[int, ...] = (0, 1)) -> Tensor:
    with torch.no_grad():
        return translator.eval().degrade(source, sample_rng(seed, samples))


def _step(translator: Translator, seed: int = 0, side: int | None = None) -> Iterator[Losses]:
    """The generators' terms, then the discriminators', each after its backward pass, asked as the trainer asks."""
    side = max(SIDE, translator.smallest_side) if side is None else side
    source, real = images(side, side, seed), images(side, side, seed + 100)
    translator.train().rng = sample_rng(seed, [0, 1])
    translator.discriminators.requires_grad_(False)
    fake = translator.degrade(source)
    yield _backward(translator.losses_g(source, real, fake))
    translator.discriminators.requires_grad_(True)
    yield _backward(translator.losses_d(source, real, fake.detach()))


def _backward(losses: Losses) -> Losses:
    if losses and (total := torch.stack([*losses.values()]).sum()).requires_grad:
        total.backward()
    return {name: loss.detach() for name, loss in losses.items()}


def _terms(translator: Translator, seed: int) -> Losses:
    return {name: term for terms in _step(translator, seed) for name, term in terms.items()}


def _wrong_terms(terms: Losses) -> str | None:
    shapes = [f"{name} of shape {tuple(term.shape)}" for name, term in terms.items() if term.shape != ()]
    return ", ".join(shapes) or not_finite(**terms)


TRANSLATOR_LAWS = [
    is_a_translator,
    networks_are_filed,
    keeps_any_size,
    seed_decides,
    own_generator_is_used,
    batch_is_singles,
    filed_generators_degrade,
    smallest_side_is_enough,  # and the one before: copied before anything holds on to a graph
    task_teaches_degrade,
    terms_are_named_scalars,
    each_side_teaches_its_own,
    half_precision,
    memory_round_trip,
    saved_equals_loaded,
]
