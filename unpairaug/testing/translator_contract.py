"""The rules for every translator; the trainer, checkpoints and the command `degrade` rely on them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from unpairaug.camera import MeasuredCamera
from unpairaug.losses import Losses
from unpairaug.rng import sample_rng
from unpairaug.testing.contract import SIDE, SIZES, difference, find_not_finite, flat_gradient, images, rebuild
from unpairaug.translator import KeepsImages, Translator, build_translator, own_scale

ROUNDED = 1e-3
"""Share of an 8-bit image's values that rounding may move by one level."""


def is_a_translator(translator: Translator) -> str | None:
    """It is an `unpairaug.Translator`; `camera` is None or a `MeasuredCamera`, `scale` (if any) a whole number."""
    if not isinstance(translator, Translator):
        return f"a {type(translator).__name__}"
    if not isinstance(translator.camera, MeasuredCamera | None):
        return f"a {type(translator.camera).__name__} as `camera`"
    scale = own_scale(translator)
    return None if isinstance(scale, int) and scale >= 1 else f"scale {scale!r}"


def weights_are_in_their_lists(translator: Translator) -> str | None:
    """Every weight belongs to one of `generators` or `discriminators`: the trainer knows no other."""
    known = {id(p) for side in (translator.generators, translator.discriminators) for p in side.parameters()}
    lost = [name for name, p in translator.named_parameters() if id(p) not in known]
    return f"weights in neither: {', '.join(lost)}" if lost else None


def keeps_any_size(translator: Translator) -> str | None:
    """`degrade` keeps the size of any image, returns finite values, and leaves its input unchanged."""
    for height, width in SIZES:
        source = images(height, width)
        fake = _degraded(translator, source)
        if fake.shape != source.shape:
            return f"{tuple(source.shape)} became {tuple(fake.shape)}"
        if seen := find_not_finite(fake=fake) or difference(source, images(height, width), 0):
            return seen
    return None


def seed_decides(translator: Translator) -> str | None:
    """`degrade` draws from the random generators in `rng` alone: the same seed gives the same image."""
    torch.manual_seed(1)
    first = _degraded(translator, images(SIDE, SIDE))
    torch.manual_seed(2)
    return difference(first, _degraded(translator, images(SIDE, SIDE)), 0)


def own_generator_is_used(translator: Translator) -> str | None:
    """Called without `rng`, it draws from `translator.rng`, which the trainer sets."""
    expected = _degraded(translator, images(SIDE, SIDE))
    translator.rng = sample_rng(0, [0, 1])
    with torch.no_grad():
        return difference(expected, translator.eval()(images(SIDE, SIDE)), 1e-6)


def batch_is_singles(translator: Translator) -> str | None:
    """In evaluation mode an image is degraded in a batch as it is alone, with its own sample's random generator."""
    source = images(SIDE, SIDE)
    together = _degraded(translator, source)
    alone = torch.cat([_degraded(translator, source[i : i + 1], samples=(i,)) for i in (0, 1)])
    return difference(together, alone) and difference(_ignore_rounding(together, alone), alone)


def listed_generators_degrade(translator: Translator) -> str | None:
    """`degrade` uses the networks in `generators`: there the trainer puts the averaged weights."""
    if not any(True for _ in translator.generators.parameters()):
        return None
    twin = copy.deepcopy(translator)
    twin.generators, twin.discriminators = copy.deepcopy(translator.generators), nn.ModuleDict()
    same = difference(_degraded(translator, images(SIDE, SIDE)), _degraded(twin, images(SIDE, SIDE)), 0)
    for p in twin.generators.parameters():
        nn.init.constant_(p, torch.nan)
    follows = _degraded(twin, images(SIDE, SIDE)).isnan().any()
    return same or (None if follows else "an image made by other generators than those in `generators`")


def task_teaches_degrade(translator: Translator) -> str | None:
    """A loss on the fake reaches the weights that degrade: so the head's loss is fed back."""
    if not any(True for _ in translator.generators.parameters()):
        return None
    translator.zero_grad()
    translator.rng = sample_rng(0, [0, 1])
    (translator.train()(images(SIDE, SIDE)) - 0.5).square().mean().backward()
    found = flat_gradient(translator.generators)
    return "no gradient in any generator" if found is None or not found.any() else find_not_finite(gradients=found)


def terms_are_named_scalars(translator: Translator) -> str | None:
    """`losses_g` and `losses_d` give finite scalars, each under a name of its own."""
    sides = list(_step(translator))
    if twice := sides[0].keys() & sides[1].keys():
        return f"{', '.join(twice)} on both sides"
    return _wrong_terms({**sides[0], **sides[1]})


def smallest_side_is_enough(translator: Translator) -> str | None:
    """The losses can be computed on images of `smallest_side` pixels."""
    other = copy.deepcopy(translator)  # images in its pool may be of one size
    list(_step(other, side=other.smallest_side))
    return None


def half_precision(translator: Translator) -> str | None:
    """Under bf16 autocast, all terms and their gradients stay finite."""
    translator.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        sides = [*_step(translator)]
    return _wrong_terms({name: term for side in sides for name, term in side.items()}) or find_not_finite(
        gradients=flat_gradient(translator)
    )


def each_side_teaches_its_own(translator: Translator) -> str | None:
    """`losses_g` reaches every generator, and `losses_d` every discriminator and no generator."""
    translator.zero_grad()
    game = _step(translator)
    next(game)
    before = {name: flat_gradient(network) for name, network in translator.generators.items()}
    next(game)
    for name, network in translator.generators.items():
        found = before[name]
        if found is None or not found.any():
            return f"no gradient of losses_g in generator {name!r}"
        if not torch.equal(found, flat_gradient(network)):  # type: ignore[arg-type]  # it had gradients before
            return f"a gradient of losses_d in generator {name!r}"
    for name, network in translator.discriminators.items():
        if (found := flat_gradient(network)) is None or not found.any():
            return f"no gradient of losses_d in discriminator {name!r}"
    return None


def resumes_from_its_state(translator: Translator) -> str | None:
    """Another one with its state, and its `image_pool` where it keeps images, continues with the same losses."""
    if not hasattr(translator, "config"):
        return None  # an instance that no registry built
    for seed in range(3):
        _terms(translator, seed)
    twin = rebuild(build_translator, translator)
    if isinstance(translator, KeepsImages):
        pool = translator.image_pool()
        for name, rows in pool.items():
            if len(rows) != 2:
                return f"{len(rows)} rows of {name!r} for a batch of 2, where one for each position is expected"
        twin.load_image_pool({name: rows.clone() for name, rows in pool.items()})
    mine, others = _terms(translator, 3), _terms(twin, 3)
    differing = [name for name in mine if not torch.allclose(mine[name], others[name], rtol=1e-4, atol=1e-6)]
    return f"other values of {', '.join(differing)}" if differing else None


def saved_equals_loaded(translator: Translator) -> str | None:
    """What `save_pretrained` writes, `Translator.from_pretrained` loads: it degrades alike."""
    if not hasattr(translator, "config"):
        return None
    with TemporaryDirectory() as folder:
        translator.save_pretrained(folder)
        loaded = Translator.from_pretrained(folder, trust_code=True)
    return difference(_degraded(loaded, images(SIDE, SIDE)), _degraded(translator, images(SIDE, SIDE)), 1e-6)


def draws_noise(translator: Translator) -> str | None:
    """It is stochastic: two seeds make two images."""
    fakes = [_degraded(translator, images(SIDE, SIDE), seed) for seed in (0, 1)]
    return "one image for two seeds" if torch.equal(*fakes) else None


def draws_nothing(translator: Translator) -> str | None:
    """It is deterministic: two seeds make one image."""
    first, second = (_degraded(translator, images(SIDE, SIDE), seed) for seed in (0, 1))
    return difference(first, second, 0)


def _ignore_rounding(fake: Tensor, other: Tensor) -> Tensor:
    """The fake; values of an 8-bit image that rounding moved by one level are replaced by the other's."""
    levels, moved = fake * 255, ((fake - other).abs() * 255).round() == 1
    is_8_bit = (levels - levels.round()).abs().max() < 1e-3
    return torch.where(moved, other, fake) if is_8_bit and moved.float().mean() < ROUNDED else fake


def _degraded(translator: Translator, source: Tensor, seed: int = 0, samples: tuple[int, ...] = (0, 1)) -> Tensor:
    with torch.no_grad():
        return translator.eval()(source, sample_rng(seed, samples))


def _step(translator: Translator, seed: int = 0, side: int | None = None) -> Iterator[Losses]:
    """The generators' terms, then the discriminators', each after its backward pass, asked as the trainer asks."""
    side = max(SIDE, translator.smallest_side) if side is None else side
    source, real = images(side, side, seed), images(side, side, seed + 100)
    translator.train().rng = sample_rng(seed, [0, 1])
    translator.discriminators.requires_grad_(False)
    fake = translator(source)
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
    return ", ".join(shapes) or find_not_finite(**terms)


TRANSLATOR_CONTRACT = [
    is_a_translator,
    weights_are_in_their_lists,
    keeps_any_size,
    seed_decides,
    own_generator_is_used,
    batch_is_singles,
    listed_generators_degrade,
    smallest_side_is_enough,  # copied, as the one before, while no tensor holds a graph
    task_teaches_degrade,
    terms_are_named_scalars,
    each_side_teaches_its_own,
    half_precision,
    resumes_from_its_state,
    saved_equals_loaded,
]
