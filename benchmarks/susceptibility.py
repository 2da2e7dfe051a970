"""Susceptibility of the Kaghan valley: every model's AUC, and what automatic mapping costs.

    python benchmarks/susceptibility.py ../shared/data/kaghan_lsat [--why | --only cnn]

Writes benchmarks/results/susceptibility.json and the figures of docs/susceptibility.md; `--only`
scores some models, and the paper's forest again beside them, and puts them into that file. The data
(Torizin et al. 2017) have no licence, so the figures hold statistics and no map.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import susceptibility_figures as figures
from record import RESULTS, machine, write
from shapely.geometry import MultiPolygon, box

from tasks.events.aoi import as_multipolygon
from tasks.mapping.attributes import measure
from tasks.mapping.screens import parse_screen, screen
from tasks.susceptibility.auc import bootstraps, interval, mean_auc
from tasks.susceptibility.compare import cross_auc, same_landslides
from tasks.susceptibility.degrade import Degradation, degrade
from tasks.susceptibility.factors import derive_factors, read_factors
from tasks.susceptibility.folds import (
    Folds,
    block_folds,
    district_folds,
    random_folds,
    taken,
    units,
)
from tasks.susceptibility.learners import LEARNERS, cells_around
from tasks.susceptibility.measures import MEASURES
from tasks.susceptibility.sampling import Samples, draw_samples
from tasks.susceptibility.schemes import SCHEMES
from tasks.susceptibility.validation import BOOTSTRAPS, HeldOut, hold_out, score_held_out

FACTORS = """
terrain = "all"

[[layer]]
name = "lithology"
path = "{data}/Geology.tif"
role = "class"

[[layer]]
name = "land_cover"
path = "{data}/Landcover.tif"
role = "class"

[[layer]]
name = "fault_distance"
path = "{data}/Confirmed_faults.gpkg"
role = "distance"
"""
BLOCK_M = 3000.0
MOST_OF_CLASS = 2500
PAPER = {"Meizhou": (0.89, 0.82), "Mesetas": (0.87, 0.75)}
OTHER_SHARES = (0.0, 0.3, 0.6)
LIMIT_DEG = 15
SEEDS = 2
UNTOUCHED = Degradation(false_share=0, missed_below_m2=0, merged_within_m=0)


def main() -> None:
    """Measure, write the record, draw the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of AW3D30.tif and landslides.gpkg")
    parser.add_argument("--repeats", type=int, default=1, help="partitions of each spatial kind")
    parser.add_argument("--why", action="store_true", help="only look into the size of the drop")
    parser.add_argument("--only", nargs="+", choices=LEARNERS, help="score these models alone")
    chosen = parser.parse_args()
    about, began = machine(), time.perf_counter()
    valley = Kaghan(chosen.data.resolve())
    if chosen.why:
        rows = explain_all(valley)
        print("written to", write("susceptibility_why", {"machine": about, "degraded": rows}))
        return
    samples = valley.samples(valley.landslides, halo=max(map(cells_around, LEARNERS)))
    if chosen.only:
        record = json.loads((RESULTS / "susceptibility.json").read_text(encoding="utf-8"))
        found = score_models(samples, record["repeats"], ["rf", *chosen.only])
        if found["rf"]["districts"] != record["models"]["rf"]["districts"]:
            raise SystemExit("the forest scores otherwise than in the record: run all again")
        for model in chosen.only:
            record["models"][model] = found[model] | {"machine": about}
        print("written to", write("susceptibility", record))
        figures.draw(record)
        return
    models = score_models(samples, chosen.repeats, list(LEARNERS))
    record = {
        "machine": about,
        "landslides": len(valley.landslides),
        "samples": {
            "presences": int(samples.y.sum()),
            "absences": int((~samples.y).sum()),
            "landslides": samples.landslides,
            "most_of_class": MOST_OF_CLASS,
        },
        "factors": samples.names,
        "block_m": BLOCK_M,
        "repeats": chosen.repeats,
        "models": models,
        "paper": PAPER,
        "degraded": degrade_all(valley),
        "seconds": round(time.perf_counter() - began),
    }
    print("written to", write("susceptibility", record))
    figures.draw(record)


class Kaghan:
    """The valley: its landslides, its ground, and the factors over it."""

    def __init__(self, data: Path) -> None:
        with rasterio.open(data / "AW3D30.tif") as dem:
            square = gpd.GeoSeries([box(*dem.bounds)], crs=dem.crs).to_crs(4326)
        self.dem = data / "AW3D30.tif"
        self.ground = MultiPolygon([square.iloc[0]])
        self.landslides = gpd.read_file(data / "landslides.gpkg")[["geometry"]].to_crs(4326)
        self.landslides.geometry = self.landslides.geometry.force_2d()
        self.folder = tempfile.TemporaryDirectory(prefix="scarp-kaghan-")
        table = Path(self.folder.name) / "factors.toml"
        table.write_text(FACTORS.format(data=data), encoding="utf-8")
        path = Path(self.folder.name) / "factors.tif"
        self.stack = derive_factors(self.dem, self.ground, path, table=read_factors(table))

    def samples(
        self,
        landslides: gpd.GeoDataFrame,
        ground: MultiPolygon | None = None,
        *,
        terrain: bool = False,
        scheme: str = "scarp",
        halo: int = 0,
    ) -> Samples:
        """Draw samples by a scheme, with all factors or those of the terrain."""
        kept = tuple(f for f in self.stack.factors if f.name in MEASURES or not terrain)
        stack = replace(self.stack, factors=kept)
        drawn = draw_samples(landslides, ground or self.ground, stack, SCHEMES[scheme], halo=halo)
        # no more than the paper's points, or the ensemble takes hours
        random = np.random.default_rng(0)
        of_class = (np.flatnonzero(drawn.y), np.flatnonzero(~drawn.y))
        rows = [random.permutation(cells)[:MOST_OF_CLASS] for cells in of_class]
        return taken(drawn, np.concatenate(rows))


def score_models(samples: Samples, repeats: int, models: list[str]) -> dict[str, Any]:
    """Score every model on the same folds, and each against the paper's forest."""
    folds: dict[str, Folds] = {
        "districts": district_folds(samples, 5, repeats, 0),
        "blocks": block_folds(samples, BLOCK_M, 5, repeats, 0),
        "random": random_folds(samples, 5, 1, 0),
    }
    draws = bootstraps(units(samples), BOOTSTRAPS, 0)
    forest: dict[str, HeldOut] = {}
    record: dict[str, Any] = {}
    for model in models:
        began = time.perf_counter()
        seen = samples if cells_around(model) else samples.alone()
        held = {kind: hold_out(seen, how, model) for kind, how in folds.items()}
        forest = forest or held  # the paper's comes first
        scores = {kind: score_held_out(samples, each) for kind, each in held.items()}
        record[model] = {
            kind: {"auc": asdict(score.auc), "sd": score.sd, "brier": score.brier}
            for kind, score in scores.items()
        }
        for kind in folds:
            mine, papers = (
                mean_auc(samples.y, each[kind].folds, each[kind].scores, draws)
                for each in (held, forest)
            )
            record[model][kind]["above_rf"] = asdict(interval(mine - papers))
        record[model]["roc"] = scores["districts"].roc.tolist()
        record[model]["seconds"] = round(time.perf_counter() - began, 1)
        told = ", ".join(f"{kind} {score.auc.value:.3f}" for kind, score in scores.items())
        print(f"{model}: {told} ({record[model]['seconds']} s)", flush=True)
    return record


def degrade_all(valley: Kaghan) -> list[dict[str, Any]]:
    """The paper's forest after each thing an automatic map does, and by the share of false."""
    whole = Degradation()
    steps = {
        "small ones missed": replace(UNTOUCHED, missed_below_m2=whole.missed_below_m2),
        "neighbours merged": replace(UNTOUCHED, merged_within_m=whole.merged_within_m),
        "false in low relief": replace(UNTOUCHED, false_share=0.15, channel_share=0),
        "false in channels": replace(UNTOUCHED, false_share=0.15, channel_share=1),
    }
    rows = [degraded(valley, name, how) for name, how in steps.items()]
    for seed in range(SEEDS):
        rows.append(degraded(valley, "all of it", whole, seed))
        rows.append(degraded(valley, "all of it", whole, seed, screened_deg=LIMIT_DEG))
    rows.append(degraded(valley, "all of it, terrain factors alone", whole, terrain=True))
    for share in OTHER_SHARES:
        rows.append(degraded(valley, "all of it", replace(whole, false_share=share)))
    return rows


def explain_all(valley: Kaghan) -> list[dict[str, Any]]:
    """Whether the paper's samples, more commission, or commission on commoner ground cost more."""
    whole, low = Degradation(), replace(UNTOUCHED, channel_share=0)
    rows = [
        degraded(valley, "all of it, one point a landslide", whole, seed, scheme="dai2023")
        for seed in range(SEEDS)
    ]
    for level, share in ((low.level_deg, 0.3), (30.0, 0.15), (30.0, 0.3), (90.0, 0.3)):
        how = replace(low, level_deg=level, false_share=share)
        rows.append(degraded(valley, f"false below {level:g} degrees", how))
    return rows


def degraded(
    valley: Kaghan,
    name: str,
    how: Degradation,
    seed: int = 0,
    *,
    screened_deg: float = 0,
    terrain: bool = False,
    scheme: str = "scarp",
) -> dict[str, Any]:
    """What a degraded inventory teaches beside the manual one, perhaps after a slope screen."""
    worse = degrade(valley.landslides, valley.ground, valley.stack, how, seed=seed)
    ground = valley.ground
    if screened_deg:
        judged, _ = screen(measure(worse, valley.dem), [parse_screen(f"slope={screened_deg}")])
        aside = judged["screened_by"].notna()
        # as in the product, what a screen sets aside is no absence either
        ground = as_multipolygon(ground - judged[aside].union_all())
        worse = worse[~aside].reset_index(drop=True)
    told = cross_auc(
        {
            "manual": valley.samples(valley.landslides, terrain=terrain, scheme=scheme),
            "automatic": valley.samples(worse, ground, terrain=terrain, scheme=scheme),
        },
        same_landslides(valley.landslides, worse),
        repeats=1,
    )
    false = worse["origin"] == "false"
    areas_m2 = worse.to_crs(32643).area
    row = {
        "name": name,
        "how": asdict(how),
        "seed": seed,
        "screened_deg": screened_deg,
        "scheme": scheme,
        "outlines": len(worse),
        "false": int(false.sum()),
        "false_area_share": float(areas_m2[false].sum() / areas_m2.sum()),
        "auc": asdict(told),
    }
    print(
        f"{name}, {how.false_share:.0%} false, screen {screened_deg:g}, seed {seed}: "
        f"own {told.change_spatial.value:+.1%}, random {told.change_random.value:+.1%}, "
        f"on manual {told.change_on_manual.value:+.1%}",
        flush=True,
    )
    return row


if __name__ == "__main__":
    main()
