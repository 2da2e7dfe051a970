import pytest
import torch
from torch import nn

from models.ensemble import Ensemble


class Given(nn.Module):
    """Answers with the logits it was given."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x, valid=None):
        return self.logits


@pytest.fixture
def tiles():
    dice = torch.Generator().manual_seed(3)
    return torch.randn(2, 2, 1, 40, 56, generator=dice)


def test_its_odds_are_the_geometric_mean_of_its_members_odds(tiles):
    with torch.no_grad():
        score = Ensemble(list(map(Given, tiles)))(tiles[0]).sigmoid()
    first, other = (logits.sigmoid() / (1 - logits.sigmoid()) for logits in tiles)
    assert torch.allclose(score / (1 - score), (first * other).sqrt(), atol=1e-5)


def test_one_alone_is_as_it_is(tiles):
    with torch.no_grad():
        assert torch.equal(Ensemble([Given(tiles[0])])(tiles[0]), tiles[0])


def test_it_can_be_gone_on_from(tiles):
    network = Ensemble(list(map(Given, tiles)))
    network(tiles[0]).mean().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in network.parameters())
