"""Activations in place: the same values, and only where nothing else reads their input."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from unpairaug.heads.vdsr import VDSR
from unpairaug.networks.in_place import set_in_place
from unpairaug.restoring.restore import restore_image


def test_activations_behind_convolutions_write_into_their_input_and_values_stay():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    image = torch.rand(1, 3, 9, 9)
    with torch.inference_mode():
        before = network.eval()(image)
        assert set_in_place(network.modules()) == [network[1], network[4]]
        assert torch.equal(network(image), before)


def test_an_activation_that_may_share_its_input_stays():
    first, behind_identity = nn.ReLU(), nn.ReLU()
    assert set_in_place([nn.Sequential(first, nn.Identity(), behind_identity)]) == []


def test_restoring_leaves_the_head_as_it_was():
    head = VDSR(2, 3, 4).train()
    restore_image(head, np.zeros((8, 8, 3), np.uint8))
    assert head.training and not any(getattr(module, "inplace", False) for module in head.modules())
