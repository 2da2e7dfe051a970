import pytest
import torch

from models.errors import ModelError
from models.profile import count
from models.scgcnet import CAM, MSLE, SCFE, CalibrationUnit, GatedSS2D, SCGCNet, warp


@pytest.fixture(scope="module")
def lite():
    torch.manual_seed(0)
    return SCGCNet(preset="lite").eval()


@pytest.mark.parametrize(
    ("preset", "parameters_m", "gmacs", "scans"),
    [
        ("lite", 30.04, 632, [(256, 128), (512, 64)]),
        ("base", 49.5, 1055, [(512, 128), (512, 64)]),
        # half of the channels pass the scan; the paper says 3066 G
        ("paper", 151.8, 3080, [(512, 128), (1024, 64)]),
    ],
)
def test_presets_cost_what_was_inferred_from_the_paper(preset, parameters_m, gmacs, scans):
    with torch.device("meta"):
        network = SCGCNet(preset=preset)
    counts = count(network, 2048)
    # two blocks a scale, 9 L D N / 2 with D = 4 directions of 2 channels and N = 16
    scan = sum(2 * 9 * side**2 * 4 * 2 * channels * 16 / 2 for channels, side in scans) / 1e9
    assert counts.params_m == pytest.approx(parameters_m, abs=0.05)
    assert counts.gmacs_full - scan == pytest.approx(gmacs, rel=1e-3)


def test_any_size_and_bands_are_scored_at_their_own_size():
    with torch.device("meta"):
        network = SCGCNet(bands=5, preset="paper", global_level=True)
    assert network(torch.zeros(2, 5, 33, 70, device="meta")).shape == (2, 1, 33, 70)


def test_every_parameter_learns():
    torch.manual_seed(0)
    network = SCGCNet(preset="lite")
    for unit in network.calibrations:  # at their zeros nothing before the offsets learns yet
        for branch in (unit.up, unit.down):
            torch.nn.init.normal_(branch.offset.weight, std=0.01)
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_what_invalid_pixels_held_changes_nothing(lite):
    torch.manual_seed(0)
    tiles, seen = torch.randn(1, 3, 64, 96), torch.rand(1, 1, 64, 96) > 0.3
    with torch.no_grad():
        logits = lite(tiles, seen)
        torch.testing.assert_close(lite(tiles.masked_fill(~seen, torch.nan), seen), logits)


def test_the_context_branch_skips_what_nobody_saw():
    torch.manual_seed(0)
    block = GatedSS2D(16).eval()
    x = torch.randn(1, 6, 8, 16)
    seen = torch.ones(1, 6, 8, 1, dtype=torch.bool)
    seen[:, 4:] = False
    with torch.no_grad():
        torch.testing.assert_close(block(x, seen)[:, :4], block(x[:, :4]), atol=1e-5, rtol=1e-4)


def test_the_gate_is_silu_of_a_linear_layer():
    torch.manual_seed(0)
    block, x = GatedSS2D(16).eval(), torch.randn(1, 4, 4, 16)
    block.gate.weight.data.zero_()
    with torch.no_grad():
        assert not block(x).any()


@pytest.mark.parametrize("split", [False, True])
def test_scfe_keeps_its_input_on_a_residual_path(split):
    torch.manual_seed(0)
    block, x = SCFE(32, (2, 2, 2), split).eval(), torch.randn(1, 32, 8, 8)
    torch.nn.init.zeros_(block.context.out_proj.weight)
    torch.nn.init.zeros_(block.spatial.compress[1].weight)
    if split:
        block.mix.weight.data.copy_(torch.eye(32)[..., None, None])
        block.mix.bias.data.zero_()
    with torch.no_grad():
        torch.testing.assert_close(block(x, None), x)


def test_msle_reaches_as_far_as_its_dilations():
    block = MSLE(4, (3, 3, 5)).eval()
    x = torch.zeros(1, 4, 21, 21)
    x[0, :, 10, 10] = 1
    with torch.no_grad():
        touched = (block(x) - block(torch.zeros_like(x))).abs().sum(1)[0] > 1e-9
    assert touched[10].nonzero().flatten().tolist() == [5, 7, 10, 13, 15]


@pytest.mark.parametrize(("query", "global_level"), [(True, False), (False, False), (True, True)])
def test_cam_is_the_gated_sum_of_its_levels(query, global_level):
    torch.manual_seed(0)
    cam, x = CAM(8, query, global_level).eval(), torch.randn(1, 8, 12, 12)
    with torch.no_grad():
        levels = 3 + global_level
        projected = cam.project(x)
        gates, z = projected[:, :levels], projected[:, levels : levels + 8]
        contexts = []
        for convolve in cam.context:
            contexts.append(torch.nn.functional.silu(convolve(contexts[-1] if contexts else z)))
        if global_level:
            contexts.append(contexts[-1].mean((2, 3), keepdim=True).expand_as(z))
        out = cam.mix(sum(gates[:, i : i + 1] * c for i, c in enumerate(contexts)))
        if query:
            out = cam.out(out * projected[:, -8:])
        torch.testing.assert_close(cam(x), out)


def test_the_global_level_of_cam_averages_only_what_was_seen():
    torch.manual_seed(0)
    cam = CAM(4, global_level=True).eval()
    x, seen = torch.randn(1, 4, 48, 24), torch.ones(1, 1, 48, 24, dtype=torch.bool)
    x[:, :, 24:] = 0
    seen[:, :, 24:] = False
    beyond = x.clone()
    beyond[:, :, 40:] = 9  # further than its kernels reach from what was seen
    with torch.no_grad():
        torch.testing.assert_close(cam(beyond, seen)[:, :, :24], cam(x, seen)[:, :, :24])
        assert not torch.allclose(cam(beyond)[:, :, :24], cam(x)[:, :, :24])


def test_cam_sees_nineteen_pixels():
    cam = CAM(4).eval()  # Eq. 15: 1 + 4 + 6 + 8
    x = torch.zeros(1, 4, 31, 31)
    x[..., 15, 15] = 1
    with torch.no_grad():
        touched = (cam(x) - cam(torch.zeros_like(x))).abs().sum(1)[0] > 0
    columns = touched.any(0).nonzero().flatten()
    assert (columns.min().item(), columns.max().item()) == (6, 24)


def test_warp_by_whole_pixels_is_a_shift_and_by_half_a_mean():
    features = torch.arange(12.0).view(1, 1, 3, 4)
    right = torch.zeros(1, 2, 3, 4)
    right[:, 0] = 1
    torch.testing.assert_close(warp(features, right)[..., :3], features[..., 1:])
    down = torch.zeros(1, 2, 3, 4)
    down[:, 1] = 0.5
    between = (features[..., :2, :] + features[..., 1:, :]) / 2
    torch.testing.assert_close(warp(features, down)[..., :2, :], between)


def test_an_untrained_calibration_unit_doubles_the_plain_sum():
    unit = CalibrationUnit(4).eval()
    coarse, fine = torch.randn(1, 4, 4, 4), torch.randn(1, 4, 8, 8)
    large = torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear")
    torch.testing.assert_close(unit(coarse, fine), 2 * (large + fine), atol=1e-5, rtol=1e-5)


def test_an_unknown_preset_is_named():
    with pytest.raises(ModelError, match="no preset 'huge'; choose from lite, base, paper"):
        SCGCNet(preset="huge")
