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


def test_what_a_block_keeps_of_its_input_is_not_written_over():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.changed = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))

        def forward(self, x):
            return x + self.changed(x)

    network, x = Residual().eval(), torch.randn(1, 3, 8, 8)
    kept = x.clone()
    with torch.inference_mode():
        torch.testing.assert_close(folded(network)(x), network(kept))
    assert torch.equal(x, kept)
