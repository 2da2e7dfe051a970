import pytest
import torch
from torch import nn

from models.folding import folded
from models.weights import load


@pytest.mark.parametrize(("name", "left"), [("ensemble-rgb", 1), ("ldm-net-tiny", 1)])
def test_a_folded_network_gives_the_same_scores_and_leaves_the_first_as_it_was(name, left):
    network, _ = load(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    ready = folded(network)
    x = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(ready(x).sigmoid(), network(x).sigmoid(), atol=1e-4, rtol=0)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    norms = [module for module in ready.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == left, "all but the one in LDM-Net's head"
    assert not ready.training
