"""Convolutions that compute four columns at once."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from unpairaug.networks.four_columns import FourColumns, set_four_columns


@pytest.mark.parametrize("width", [3, 8, 10])
@pytest.mark.parametrize("size", [(3, 3), (1, 1), (3, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_four_columns_at_once_are_the_convolution(width: int, size: tuple[int, int], bias: bool):
    conv = nn.Conv2d(16, 3, size, padding=(size[0] // 2, size[1] // 2), bias=bias)
    image = torch.randn(2, 16, 5, width).contiguous(memory_format=torch.channels_last)
    fast = deepcopy(conv)
    set_four_columns([fast])
    assert isinstance(fast, FourColumns)
    torch.testing.assert_close(fast(image), conv(image))
    assert fast.state_dict().keys() == conv.state_dict().keys()


def test_only_convolutions_to_few_channels_that_keep_the_size_are_changed():
    kept = [
        nn.Conv2d(16, 16, 3, padding=1),
        nn.Conv2d(3, 3, 3, padding=1),
        nn.Conv2d(16, 3, 3),
        nn.Conv2d(16, 3, 3, stride=2, padding=1),
        nn.Conv2d(16, 3, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(16, 3, 3, padding="same"),
        nn.Conv2d(18, 3, 3, padding=1, groups=3),
        nn.Conv2d(64, 3, 7, padding=3),
    ]
    set_four_columns(kept)
    assert {type(conv) for conv in kept} == {nn.Conv2d}
