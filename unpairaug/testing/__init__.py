"""Does a head, task or translator keep its contract? Plain functions for any test program.

    from unpairaug.testing import check_head, check_task, check_translator

    def test_my_head_keeps_the_contract():
        check_head("my_package.heads:MyHead", scale=2)

A part is a name or spec as a recipe writes it, or an instance, which is changed: weights that are zero at the start are
filled, for they would hide what stands before them. It is tried on the CPU, on images of 24 pixels; small options keep
that quick. `ContractBroken` says in one message which contract is broken and what was seen.
"""

from __future__ import annotations

from torch import nn

from unpairaug.registry import Spec, heads, tasks, translators
from unpairaug.testing.head_laws import HEAD_LAWS, Restorer
from unpairaug.testing.laws import ContractBroken, built, hold, name_of
from unpairaug.testing.task_laws import TASK_LAWS
from unpairaug.testing.translator_laws import TRANSLATOR_LAWS, draws_noise, draws_nothing

__all__ = ["ContractBroken", "check_head", "check_task", "check_translator"]


def check_head(head: str | Spec | nn.Module, scale: int = 2) -> None:
    """Hold a head to its contract: any size, a gradient on both ends, a batch as single images, bf16, its config.

    Raises:
        ContractBroken: it does not keep it.
        UserError: there is no such head, or an option is wrong.
    """
    network = built(heads, head, scale=scale)
    hold(f"head {name_of(head)}", Restorer(network, scale, heads), HEAD_LAWS)


def check_task(task: str | Spec | nn.Module) -> None:
    """Hold a task, with the head in it, to its contract: source, restoration, loss, what is saved.

    Raises:
        ContractBroken: it does not keep it.
        UserError: there is no such task, or an option is wrong.
    """
    made, who = built(tasks, task), f"task {name_of(task)}"
    hold(who, made, TASK_LAWS)
    hold(who, Restorer(made, made.scale, tasks), HEAD_LAWS)


def check_translator(translator: str | Spec | nn.Module, stochastic: bool | None = None) -> None:
    """Hold a translator to its contract: degrading, seeds, both sides' losses, memory, what is saved.

    Args:
        stochastic: whether two seeds must make two images, or must not; None does not ask.

    Raises:
        ContractBroken: it does not keep it.
        UserError: there is no such translator, or an option is wrong.
    """
    made, who = built(translators, translator), f"translator {name_of(translator)}"
    hold(who, made, TRANSLATOR_LAWS)
    if stochastic is not None:
        hold(who, made, [draws_noise if stochastic else draws_nothing])
