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
    logits = 2 * torch.randn(2, 1, 40, 56, generator=dice) - 1
    valid = torch.rand(2, 1, 40, 56, generator=dice) > 0.3
    return logits, torch.randn(2, 1, 40, 56, generator=dice), valid


def test_it_answers_with_the_mean_of_scores_whose_means_agree(tiles):
    first, other, valid = tiles
    other = other - torch.tensor([1.5, -1.0]).view(2, 1, 1, 1)
    with torch.no_grad():
        score = Ensemble([Given(first), Given(other)])(first, valid).sigmoid()
    moved = 2 * score - first.sigmoid()
    shift = (moved.logit() - other).flatten(1)
    assert (shift.amax(1) - shift.amin(1) < 1e-3).all(), "one constant a tile, none of a pixel"
    for n in range(2):
        seen = valid[n]
        wanted = float(first[n][seen].sigmoid().mean())
        assert float(moved[n][seen].mean()) == pytest.approx(wanted, abs=1e-3)


def test_members_that_agree_are_averaged_and_one_alone_is_as_it_is(tiles):
    first, _, valid = tiles
    flipped = first.flip(2)
    with torch.no_grad():
        both = Ensemble([Given(first), Given(flipped)])(first).sigmoid()
        alone = Ensemble([Given(first)])(first, valid)
    assert torch.allclose(both, (first.sigmoid() + flipped.sigmoid()) / 2, atol=1e-3)
    assert torch.allclose(alone, first, atol=1e-5)


def test_no_score_is_moved_further_than_to_twenty_times_its_odds(tiles):
    first, _, valid = tiles
    silent = torch.full_like(first, -12.0)
    with torch.no_grad():
        score = Ensemble([Given(first), Given(silent)])(first, valid).sigmoid()
    assert torch.allclose(score, first.sigmoid() / 2, atol=1e-3)


def test_where_nobody_looked_nothing_is_moved_out_of_bounds(tiles):
    first, other, valid = tiles
    with torch.no_grad():
        logits = Ensemble([Given(first), Given(other)])(first, torch.zeros_like(valid))
    assert logits.isfinite().all()


def test_it_can_be_gone_on_from(tiles):
    first, other, valid = tiles
    network = Ensemble([Given(first), Given(other)])
    network(first, valid)[valid].mean().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in network.parameters())
