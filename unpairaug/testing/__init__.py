"""Contract tests for heads, tasks and translators of your own: plain functions for any test program.

    from unpairaug.testing import check_head, check_task, check_translator

    def test_my_head_keeps_the_contract():
        check_head("my_package.heads:MyHead", scale=2)

A part is a name or spec as a recipe writes it, or an instance, which is changed: weights that are zero at the start are
filled, for they would hide what stands before them. It is tried on the CPU, on images of 24 pixels; small options keep
that quick. `ContractBroken` says in one message which contract is broken and what was seen.
"""

from __future__ import annotations

from torch import nn

from unpairaug.registry import Spec, heads, tasks
from unpairaug.testing.contract import ContractBroken, build_part, check_rules, display_name
from unpairaug.testing.head_contract import HEAD_CONTRACT, Restorer
from unpairaug.testing.task_contract import TASK_CONTRACT
from unpairaug.testing.translator_contract import TRANSLATOR_CONTRACT, draws_noise, draws_nothing
from unpairaug.translator import build_translator

__all__ = ["ContractBroken", "check_head", "check_task", "check_translator"]


def check_head(head: str | Spec | nn.Module, scale: int = 2) -> None:
    """Check a head: any size, gradients at weights and input, a batch as single images, bf16, its config.

    Raises:
        ContractBroken: a rule of the contract is broken.
        UserError: there is no such head, or an option is wrong.
    """
    network = build_part(heads.build, head, scale=scale)
    check_rules(f"head {display_name(head)}", Restorer(network, scale, heads.build), HEAD_CONTRACT)


def check_task(task: str | Spec | nn.Module) -> None:
    """Check a task and its head: source, restoration, loss, saving and loading.

    Raises:
        ContractBroken: a rule of the contract is broken.
        UserError: there is no such task, or an option is wrong.
    """
    built, who = build_part(tasks.build, task), f"task {display_name(task)}"
    check_rules(who, built, TASK_CONTRACT)
    check_rules(who, Restorer(built, built.scale, tasks.build), HEAD_CONTRACT)


def check_translator(translator: str | Spec | nn.Module, stochastic: bool | None = None) -> None:
    """Check a translator: degrading, seeds, both sides' losses, its state, saving and loading.

    Args:
        stochastic: True if two seeds must give two images, False if they must not; None does not check.

    Raises:
        ContractBroken: a rule of the contract is broken.
        UserError: there is no such translator, or an option is wrong.
    """
    built, who = build_part(build_translator, translator), f"translator {display_name(translator)}"
    check_rules(who, built, TRANSLATOR_CONTRACT)
    if stochastic is not None:
        check_rules(who, built, [draws_noise if stochastic else draws_nothing])
