import pytest
import torch

from models.selective_scan import using
from models.vss import SS2D, scan_order


@pytest.fixture
def mixer() -> SS2D:
    torch.manual_seed(0)
    return SS2D(channels=24, n_states=8)


def test_the_four_directions_visit_rows_columns_and_both_backwards():
    rows, columns, rows_back, columns_back = scan_order(2, 3).tolist()
    assert rows == [0, 1, 2, 3, 4, 5]
    assert columns == [0, 3, 1, 4, 2, 5]
    assert rows_back == rows[::-1]
    assert columns_back == columns[::-1]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (13, 29)])
@pytest.mark.parametrize("masked", [False, True])
def test_fused_differentiable_and_plain_paths_agree(mixer, size, masked):
    x = torch.randn(2, *size, 24)
    valid = torch.rand(2, *size, 1) < 0.7 if masked else None
    with torch.no_grad():
        fused = mixer(x, valid)
        with using("reference"):
            plain = mixer(x, valid)
    differentiable = mixer(x, valid).detach()
    seen = torch.ones_like(fused, dtype=torch.bool) if valid is None else valid.expand_as(fused)
    assert (fused - plain)[seen].abs().max() < 1e-5
    assert (differentiable - plain)[seen].abs().max() < 1e-5


def test_gradients_of_the_fast_path_are_those_of_the_plain_path(mixer):
    x = torch.randn(1, 9, 7, 24)
    valid = torch.rand(1, 9, 7, 1) < 0.8
    gradients = []
    for backend in ("cpu", "reference"):
        mixer.zero_grad()
        with using(backend):
            (mixer(x, valid) * valid).square().sum().backward()
        gradients.append([p.grad.clone() for p in mixer.parameters()])
    for fast, plain in zip(*gradients, strict=True):
        assert (fast - plain).abs().max() <= 1e-4 * max(1.0, float(plain.abs().max()))


def test_what_an_invalid_pixel_holds_does_not_matter(mixer):
    x = torch.randn(1, 16, 16, 24)
    valid = torch.ones(1, 16, 16, 1, dtype=torch.bool)
    valid[:, 5:9, 3:12] = False
    other = torch.where(valid, x, torch.full_like(x, 7.0))
    with torch.no_grad():
        assert torch.equal(mixer(x, valid)[valid[..., 0]], mixer(other, valid)[valid[..., 0]])


def test_a_picture_padded_with_nodata_gives_what_the_picture_alone_gives(mixer):
    picture = torch.randn(1, 6, 10, 24)
    padded = torch.zeros(1, 11, 16, 24)
    valid = torch.zeros(1, 11, 16, 1, dtype=torch.bool)
    padded[:, :6, :10], valid[:, :6, :10] = picture, True
    with torch.no_grad():
        alone, inside = mixer(picture), mixer(padded, valid)[:, :6, :10]
    assert (alone - inside).abs().max() < 1e-6


def test_stage_1_of_the_paper_has_86592_parameters():
    assert sum(p.numel() for p in SS2D(96, 16).parameters()) == 86_592


def test_a_network_trains_at_a_size_that_inference_saw_first():
    mixer, x = SS2D(4, 2), torch.randn(1, 5, 7, 4)
    with torch.inference_mode():
        mixer(x)
    mixer(x).sum().backward()
    assert mixer.x_proj.grad is not None


def test_training_may_follow_inference_at_the_same_size(mixer):
    x = torch.randn(1, 5, 11, 24)
    scan_order.cache_clear()
    with torch.inference_mode():
        mixer(x)
    mixer(x).sum().backward()
    assert mixer.a_log.grad.abs().sum() > 0
