import io
from contextlib import redirect_stdout
from functools import cache

import pytest
import torch
from ptflops import get_model_complexity_info
from torch import nn

from models import registry
from models.errors import ModelError
from models.profile import (
    Counts,
    Measurement,
    Profile,
    check_figure,
    count,
    figure,
    measure,
    profile,
    table,
)


@cache
def on_meta(name, **options):
    return registry.build(name, **options).to("meta")


@pytest.mark.parametrize(
    ("name", "parameters_m", "gmacs"),
    [
        ("ldm-net", 55.72, 18.98),
        ("vmamba", 49.38, 41.28),
    ],  # LDM-Net Table 2: 55.7, 19.0; 49.38, 41.3
)
def test_encoders_cost_what_the_paper_says(name, parameters_m, gmacs):
    counts = count(on_meta(name), 512)
    assert round(counts.encoder_params_m, 2) == parameters_m
    assert round(counts.encoder_gmacs_ptflops, 2) == gmacs


def test_the_default_head_weighs_what_the_text_says_and_the_wide_one_what_table_4_implies():
    assert round(count(on_meta("ldm-net"), 512).params_m, 2) == 56.35
    assert round(count(on_meta("ldm-net", embedding=768), 512).params_m, 2) == 59.19


def test_the_narrow_head_meets_the_papers_flops_of_large_tiles():
    counts = count(on_meta("ldm-net", embedding=96), 1600)  # text: ~194.3 G at 1600 x 1600
    assert counts.gmacs_ptflops == pytest.approx(194.3, rel=3e-3)


def test_the_full_count_adds_projections_and_scan_to_the_products():
    # block by block at 512 x 512: x_proj 4.40, dt_proj 1.59 (of the 21 blocks), scan 9 L D N / 2
    network = on_meta("ldm-net", embedding=96)
    counts = count(network, 512)
    sides, depths, widths = (128, 64, 32, 16), (2, 2, 15, 2), (96, 192, 384, 768)
    scan = sum(
        depth * 9 * side**2 * 4 * 2 * width * 16 / 2
        for side, depth, width in zip(sides, depths, widths, strict=True)
    )
    elementwise_and_biases = 0.2
    assert counts.gmacs_full == pytest.approx(
        counts.gmacs_ptflops + 4.40 + 1.59 + scan / 1e9, abs=elementwise_and_biases
    )


def test_the_scan_is_linear_in_pixels():
    network = on_meta("ldm-net-tiny")
    small, large = count(network, 256), count(network, 512)
    assert large.gmacs_full == pytest.approx(4 * small.gmacs_full, rel=1e-2)  # but the gates


def test_the_count_is_ptflops_own_for_layers_of_torch():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.GELU(),
        nn.Conv2d(8, 8, 3, groups=8, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(8, 4, 2, stride=2),
        nn.GroupNorm(2, 4),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(64, 32),
        nn.LayerNorm(32),
        nn.Softmax(1),
    ).eval()
    with redirect_stdout(io.StringIO()):
        macs, parameters = get_model_complexity_info(
            network, (3, 32, 32), print_per_layer_stat=False, as_strings=False
        )
    counts = count(network, 32)
    assert counts.gmacs_ptflops * 1e9 == pytest.approx(macs)
    assert counts.params_m * 1e6 == pytest.approx(parameters)


def test_a_network_without_encoder_has_no_figures_for_one():
    counts = count(on_meta("unet+++"), 64)
    assert counts.encoder_params_m is None and counts.encoder_gmacs_ptflops is None


class Repeat(nn.Module):
    """Answers 20 times its input, after making it 40 times."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return (x * self.weight).repeat(1, 40, 1, 1)[:, :60].clone()


def test_measuring_sees_the_peak_of_memory_and_leaves_the_network_as_it_was():
    network = Repeat()
    measured = measure(network, 1024, repeats=1)
    image_mb = 3 * 1024**2 * 4 / 1e6
    assert measured.peak_memory_mb == pytest.approx((1 + 40 + 20) * image_mb, rel=0.05)
    assert measured.seconds > 0 and measured.device == "cpu"
    assert network.training and network.weight.device.type == "cpu"


def test_a_network_learns_after_it_was_measured():
    network = registry.build("ldm-net-compact")
    measure(network, 96, repeats=1)
    network(torch.randn(1, 3, 96, 96)).sum().backward()
    assert network.head.classify.weight.grad.any()


def test_profiles_become_a_table_and_a_figure(tmp_path):
    profiles = [profile(registry.build("ldm-net-compact"), "compact", size) for size in (64, 96)]
    lines = table(profiles).splitlines()
    assert len(lines) == 4 and lines[2].startswith("| compact | 64 |")
    figure(profiles, tmp_path / "cost.png")
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["cost.png"]


def test_memory_that_is_not_known_is_a_dash_and_a_gap(tmp_path):
    counts = Counts(1.0, None, 2.0, None, 3.0)
    row = Profile("net", 64, 3, counts, Measurement(0.1, None, "mps", 2))
    assert table([row]).endswith("| 1.00 (-) | 2.00 (-) | 3.00 | 0.100 | - |")
    figure([row], tmp_path / "cost.svg")
    assert (tmp_path / "cost.svg").exists()


@pytest.mark.parametrize(
    ("name", "says"), [("cost.txt", "names no picture"), ("none/cost.png", "no folder")]
)
def test_a_figure_that_cannot_be_written_is_refused(tmp_path, name, says):
    with pytest.raises(ModelError, match=f"{name}.*{says}"):
        check_figure(tmp_path / name)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": 64, "repeats": 0}, "repeats is 0"),
        ({"size": 64, "device": "cuda:99"}, "device 'cuda:99' is not there"),
        ({"size": 64, "device": "gpu"}, "device 'gpu' is not there"),
    ],
)
def test_what_cannot_be_measured_is_named(options, says):
    with pytest.raises(ModelError, match=says):
        profile(nn.Conv2d(3, 1, 1), "net", **options)
