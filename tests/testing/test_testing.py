"""The contract tests: every built-in part passes them, and each rule is broken by a part that breaks it alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_parts import built_in, small
from torch import Tensor, nn

from unpairaug.camera.jpeg import as_file
from unpairaug.registry import heads, tasks, translators
from unpairaug.rng import normal
from unpairaug.task import Task
from unpairaug.testing import ContractBroken, check_head, check_task, check_translator
from unpairaug.translator import Translator

STOCHASTIC = {"stochastic_cyclegan", "one_sided", "kernel_noise", "classic"}
"""Built-in translators that draw noise; `measured` does only once its camera is measured."""


@pytest.mark.parametrize(
    ("name", "scale"),
    [(name, scale) for name in built_in(heads) for scale in ([1] if name in ("dct", "dncnn") else [1, 3])],
)
def test_every_built_in_head_keeps_the_contract(name: str, scale: int):
    check_head(small(name), scale)


@pytest.mark.parametrize("name", built_in(tasks))
def test_every_built_in_task_keeps_the_contract(name: str):
    check_task(small(name))


@pytest.mark.parametrize("name", built_in(translators))
def test_every_built_in_translator_keeps_the_contract(name: str):
    check_translator(small(name), stochastic=name in STOCHASTIC)


@pytest.mark.parametrize("option", [{"norm": "batch"}, {"norm": "none"}, {"pool_size": 4}, {"lambda_identity": 0.0}])
def test_cyclegan_keeps_the_contract_with_other_options(option: dict[str, Any]):
    check_translator(small("cyclegan", **option), stochastic=False)


@pytest.mark.parametrize(
    "option",
    [
        {"lambda_identity": 0.0},
        {"norm": "none", "layers": [2], "residual": True},
        {"discriminator": {"type": "timm", "model": "test_resnet", "ndf": 4, "weights": "random"}},
    ],
)
def test_cut_keeps_the_contract_with_other_options(option: dict[str, Any]):
    check_translator(small("cut", **option), stochastic=False)


class Head(nn.Module):
    """A small good head at scale 1; `after` is what happens to its result."""

    def __init__(self, after: Callable[[Tensor, Tensor], Tensor] = lambda restored, image: restored) -> None:
        super().__init__()
        self.body, self.after = nn.Conv2d(3, 3, 3, padding=1), after

    def forward(self, image: Tensor) -> Tensor:
        return self.after(self.body(image), image)


def test_a_good_head_passes_as_an_instance():
    check_head(Head(), scale=1)


BAD_HEADS = {
    "of shape \\(B, 3, scale": lambda restored, image: restored[..., 1:],
    "gives finite values": lambda restored, image: restored / 0,
    "The input image is not changed": lambda restored, image: restored + 0 * image.detach().mul_(0.5),
    "the same image gives the same result": lambda restored, image: restored + torch.rand(()),
    "in a batch as it is alone": lambda restored, image: restored - restored.mean(),
    "so it is fed back to the translator": lambda restored, image: restored.detach().requires_grad_(),
    "Under bf16": lambda restored, image: restored if restored.dtype == torch.float32 else restored * torch.inf,
}


@pytest.mark.parametrize("rule", BAD_HEADS)
def test_the_message_names_the_rule_that_a_head_breaks(rule: str):
    with pytest.raises(ContractBroken, match=f"^head Head: .*{rule}.* Seen: "):
        check_head(Head(BAD_HEADS[rule]), scale=1)


@heads.register("toy_head_of_another_config")
class Forgetful(Head):
    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, image: Tensor) -> Tensor:
        return self.gain * super().forward(image)


def test_a_head_whose_config_builds_another_one_breaks_the_contract():
    head = heads.build("toy_head_of_another_config")
    head.gain = 2.0
    with pytest.raises(ContractBroken, match="Its `config` builds the same network"):
        check_head(head, scale=1)


def test_the_message_quotes_an_exception_of_the_part():
    def fall_over(restored: Tensor, image: Tensor) -> Tensor:
        raise KeyError("scale")

    with pytest.raises(ContractBroken, match="Seen: KeyError: 'scale'"):
        check_head(Head(fall_over), scale=1)


class Toy(Task):
    """A small good task at scale 2."""

    def __init__(self) -> None:
        super().__init__(2, {"type": "vdsr", "depth": 3, "width": 4})

    def source(self, clean: Tensor) -> Tensor:
        return F.avg_pool2d(clean, 2)


def test_a_good_task_passes_as_an_instance():
    check_task(Toy())


def fork_of(base: type, **methods: Any) -> nn.Module:
    """An instance of the class with some of its methods replaced, of the same weights every time."""
    torch.manual_seed(0)
    return type("Bad", (base,), methods)()


BAD_TASKS: dict[str, dict[str, Any]] = {
    r"in \[0, 1\]": {"source": lambda self, clean: 2 * F.avg_pool2d(clean, 2)},
    "H / scale": {"source": lambda self, clean: clean},
    "leaves it as it was": {"source": lambda self, clean: F.avg_pool2d(clean.mul_(0.5), 2)},
    "of an image every time": {"source": lambda self, clean: F.avg_pool2d(clean, 2) * torch.rand(())},
    "alone and in a batch": {"source": lambda self, clean: F.avg_pool2d(clean, 2) / len(clean)},
    "centres of the pixels": {"source": lambda self, clean: clean[..., ::2, ::2]},
    "the shape of the clean image": {"forward": lambda self, degraded: degraded},
    "one finite number": {"loss": lambda self, restored, clean: (restored - clean).abs().mean((1, 2, 3))},
    "gradient reaches the restored": {"loss": lambda self, restored, clean: (0 * restored).sum()},
}


@pytest.mark.parametrize("rule", BAD_TASKS)
def test_the_message_names_the_rule_that_a_task_breaks(rule: str):
    with pytest.raises(ContractBroken, match=f"^task Bad: .*{rule}.* Seen: "):
        check_task(fork_of(Toy, **BAD_TASKS[rule]))


def test_a_module_that_is_no_task_breaks_the_contract():
    with pytest.raises(ContractBroken, match=r"is an `unpairaug\.Task`.*Seen: a Head"):
        check_task(Head())


class Noise(Translator):
    """A small good translator with an image pool and noise."""

    def __init__(self) -> None:
        super().__init__()
        self.generators["degrade"] = nn.Conv2d(3, 3, 3, padding=1)
        self.discriminators["degraded"] = nn.Conv2d(3, 1, 3, padding=1)
        self.last: Tensor | None = None

    def degrade(self, source: Tensor, rng: Any = None) -> Tensor:
        return self.generators["degrade"](source) + 0.1 * normal(source.shape, source, rng)

    def losses_g(self, source: Tensor, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        return {"gan": (self.discriminators["degraded"](fake) - 1).square().mean()}

    def losses_d(self, source: Tensor, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        shown, self.last = fake if self.last is None else self.last, fake
        return {"d": (self.discriminators["degraded"](torch.cat([shown, real])) - 0.5).square().mean()}

    def image_pool(self) -> dict[str, Tensor]:
        return {} if self.last is None else {"last": self.last}

    def load_image_pool(self, pool: dict[str, Tensor]) -> None:
        self.last = pool.get("last")


def test_a_good_translator_passes_as_an_instance():
    check_translator(Noise(), stochastic=True)


@pytest.mark.parametrize(("share", "kept"), [(2e-4, True), (0.01, False)])
def test_rounding_may_move_a_few_values_of_an_8_bit_image_but_no_more(share: float, kept: bool):
    def degrade(self: Noise, source: Tensor, rng: Any = None) -> Tensor:
        fake = as_file(Noise.degrade(self, source, rng).sigmoid())
        apart = torch.zeros_like(fake[0]).flatten()
        apart[: max(1, round(share * apart.numel()))] = (len(source) - 1) / 255
        return fake + apart.view_as(fake[0])

    held = nullcontext() if kept else pytest.raises(ContractBroken, match="in a batch as it is alone")
    with held:
        check_translator(fork_of(Noise, degrade=degrade))


def test_stochastic_says_whether_a_translator_must_draw_noise():
    with pytest.raises(ContractBroken, match="It is deterministic"):
        check_translator(Noise(), stochastic=False)
    with pytest.raises(ContractBroken, match="It is stochastic"):
        check_translator("bicubic", stochastic=True)


def _generator_outside_the_list(self: Noise) -> None:
    Noise.__init__(self)
    self.mine = self.generators["degrade"]


def _weights_outside_the_lists(self: Noise) -> None:
    Noise.__init__(self)
    self.extra = nn.Conv2d(3, 3, 1)


def _degrade(after: Callable[[Noise, Tensor], Tensor]) -> dict[str, Any]:
    return {"degrade": lambda self, source, rng=None: after(self, Noise.degrade(self, source, rng))}


def _losses(side: str, change: Callable[[Noise, dict[str, Tensor], Tensor], dict[str, Tensor]]) -> dict[str, Any]:
    def losses(self: Noise, source: Tensor, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        return change(self, getattr(Noise, side)(self, source, real, fake), source)

    return {side: losses}


BAD_TRANSLATORS: dict[str, dict[str, Any]] = {
    "`scale` \\(if any\\) a whole number": {"scale": 0.5},
    "the trainer knows no other": {"__init__": _weights_outside_the_lists},
    "keeps the size of any image": _degrade(lambda self, fake: fake[..., 1:]),
    "the same seed gives the same image": _degrade(lambda self, fake: fake + torch.rand(())),
    "which the trainer sets": {
        "forward": lambda self, source, rng=None: self.degrade(source, rng or torch.Generator().manual_seed(1))
    },
    "in a batch as it is alone": _degrade(lambda self, fake: fake - fake.mean()),
    "uses the networks in `generators`": {
        "__init__": _generator_outside_the_list,
        "degrade": lambda self, source, rng=None: self.mine(source) + 0.1 * normal(source.shape, source, rng),
    },
    "so the head's loss is fed back": {
        "degrade": lambda self, source, rng=None: Noise.degrade(self, source, rng).detach().requires_grad_()
    },
    "under a name of its own": _losses("losses_d", lambda self, terms, source: {"gan": terms["d"]}),
    "give finite scalars": _losses("losses_g", lambda self, terms, source: {"gan": terms["gan"] / 0}),
    "of `smallest_side` pixels": _losses(
        "losses_g", lambda self, terms, source: {**terms, "far": F.avg_pool2d(source, 8).mean()}
    ),
    "and no generator": _losses(
        "losses_d", lambda self, terms, source: {"d": terms["d"] + self.generators["degrade"](source).mean()}
    ),
    "reaches every generator": _losses("losses_g", lambda self, terms, source: {}),
}


@pytest.mark.parametrize("rule", BAD_TRANSLATORS)
def test_the_message_names_the_rule_that_a_translator_breaks(rule: str):
    with pytest.raises(ContractBroken, match=f"^translator Bad: .*{rule}.* Seen: "):
        check_translator(fork_of(Noise, **BAD_TRANSLATORS[rule]))


def test_a_translator_that_does_not_load_its_image_pool_breaks_the_contract():
    name = "toy_that_forgets"
    translators.register(name)(type("Bad", (Noise,), {"load_image_pool": lambda self, pool: None, "__doc__": "A toy."}))
    with pytest.raises(
        ContractBroken, match=f"^translator {name}: Another one with its state, and its `image_pool`.*values of d"
    ):
        check_translator(name)
    translators.register("toy_that_remembers")(type("Good", (Noise,), {}))
    check_translator("toy_that_remembers")


def test_checking_does_not_change_the_global_random_generator():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    check_translator("bicubic")
    check_head(small("vdsr"), 1)
    assert torch.equal(torch.rand(3), expected)
