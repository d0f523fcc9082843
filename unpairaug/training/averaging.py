"""Average gradients over processes, those of the generators and the head beside the discriminators' backward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from accelerate import Accelerator
from torch import Tensor, distributed, nn


class _Begun(NamedTuple):
    grads: list[Tensor]
    versions: list[int]
    flat: Tensor
    work: distributed.Work


class GradientAveraging:
    """Replaces the gradients of several networks, and the running statistics of batch norm, by their means.

    DistributedDataParallel expects one forward for each backward, of a fixed set of parameters; here generators run
    several times a step, discriminators are frozen for half of it, and warm-ups leave networks out.
    """

    def __init__(self, accelerator: Accelerator, networks: Mapping[str, nn.Module]) -> None:
        self.accelerator, self.networks = accelerator, networks
        self._begun: _Begun | None = None

    def begin(self) -> None:
        """Start the all-reduce of the gradients that there are now, and return while it runs.

        Collective, like `finish`: every process calls it at the same point of a step.
        """
        grads = self._list_gradients()
        if self.accelerator.num_processes == 1 or not grads:
            return
        flat = torch.cat([grad.flatten() for grad in grads])
        work = distributed.all_reduce(flat, async_op=True)
        assert work is not None, "asynchronous"
        self._begun = _Begun(grads, [grad._version for grad in grads], flat, work)

    def finish(self) -> None:
        """Average the gradients that `begin` has not seen, or that have changed since, and take the means of all."""
        if self.accelerator.num_processes == 1:
            return
        begun, self._begun = self._begun, None
        versions = {id(grad): version for grad, version in zip(*begun[:2], strict=True)} if begun else {}
        rest = [grad for grad in self._list_gradients() if versions.get(id(grad)) != grad._version]
        late = {id(grad) for grad in rest}
        rest += [b for network in self.networks.values() for b in network.buffers() if b.is_floating_point()]
        if rest:
            flat = torch.cat([tensor.flatten() for tensor in rest])
            _copy_parts(cast("Tensor", self.accelerator.reduce(flat, reduction="mean")), rest)
        if begun:
            begun.work.wait()
            means = (begun.flat / self.accelerator.num_processes).split([grad.numel() for grad in begun.grads])
            for grad, mean in zip(begun.grads, means, strict=True):
                if id(grad) not in late:
                    grad.copy_(mean.view_as(grad))

    def _list_gradients(self) -> list[Tensor]:
        return [p.grad for network in self.networks.values() for p in network.parameters() if p.grad is not None]


def _copy_parts(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    for own, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        own.copy_(mean.view_as(own))
