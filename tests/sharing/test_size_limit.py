"""A configuration that describes larger networks than the weights beside it is refused before it takes memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from unpairaug import Task, UserError
from unpairaug.registry import tasks
from unpairaug.sharing.size_limit import limit_networks


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"type": "dncnn", "depth": 3, "width": 60_000}, "larger networks than its weights|allocate memory"),
        ({"type": "dncnn", "depth": 256, "width": 5_000}, "larger networks than its weights|allocate memory"),
        ({"type": "dncnn", "depth": 5_000_000, "width": 1}, "head.depth: given 5000000, .* less than or equal to 256"),
        ({"type": "edsr", "n_blocks": 5_000_000, "width": 4}, "head.n_blocks: given 5000000, .* equal to 256"),
    ],
)
def test_a_head_that_is_too_large_is_refused(head: dict[str, Any], said: str, tmp_path: Path):
    tasks.build({"type": "denoise", "head": {"type": "dncnn", "depth": 3, "width": 4}}).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**config, "task": {"type": "denoise", "head": head}}), encoding="utf-8")
    with pytest.raises(UserError, match=said):
        Task.from_pretrained(tmp_path)


def test_the_limit_ends_with_the_block():
    with pytest.raises(UserError, match="larger networks"), limit_networks([]):
        nn.Linear(20_000, 20_000, device="meta")
    with limit_networks([torch.empty(10**8 + 10**5, device="meta")]):
        nn.Linear(20_000, 20_000, device="meta")
    nn.Linear(50_000, 50_000, device="meta")
