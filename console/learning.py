"""`scarp evaluate` and `scarp train`: how good an inventory or weights are, and better weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.output import AsJson, print_json, print_line, progress_bars, say, screen, table
from tasks.errors import BadInputError

if TYPE_CHECKING:
    from models.cards import Card
    from models.samples import Entry


def evaluate(
    event_id: Annotated[
        str | None, typer.Argument(metavar="[EVENT]", help="The event both inventories belong to.")
    ] = None,
    reference: Annotated[
        int | None, typer.Option(help="Version taken as true, such as an import.")
    ] = None,
    version: Annotated[
        int | None, typer.Option(help="Version to judge. Default: the published one.")
    ] = None,
    resolution_m: Annotated[
        float | None, typer.Option(min=0.1, help="Pixel of the comparison. Default: the scene's.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of images to score weights on: tif, png, jpg.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of their masks, of the same stems.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="A published dataset instead: bijie=DIR, gvlm=DIR …"),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Of --data: train, validation or test, the default.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Name or path of the weights. Default: current.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0.01, max=0.99, help="Default: the weights' own.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="Names of the images' bands: blue,green,red,nir.")
    ] = None,
    gsd_m: Annotated[
        float | None, typer.Option(min=0.01, help="Pixel size of images that do not say.")
    ] = None,
    window_px: Annotated[int | None, typer.Option(min=32, help="Side of a window, 512.")] = None,
    views: Annotated[
        int | None, typer.Option(help="1, the default, or 4 or 8 to average over flips and turns.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, the default, cuda, cuda:1 …")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for table, examples and curves.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge an inventory of an event by another, or weights by labelled tiles.

    Example: scarp evaluate us2000h8ty --reference 2

    Example: scarp evaluate --images tiles/image --masks tiles/mask -o scores
    """
    if event_id:
        of_tiles = {
            "--images": images, "--masks": masks, "--data": data, "--split": split,
            "--weights": weights, "--threshold": threshold, "--bands": bands, "--gsd-m": gsd_m,
            "--window-px": window_px, "--views": views, "--device": device, "--out": out,
        }  # fmt: skip
        _refuse("EVENT", of_tiles)
        if reference is None:
            raise BadInputError(f"event {event_id}: say with --reference which version is true")
        _evaluate_inventory(event_id, reference, version, resolution_m, as_json)
        return
    of_inventories = {
        "--reference": reference, "--version": version, "--resolution-m": resolution_m
    }  # fmt: skip
    _refuse("tiles", of_inventories)
    from flows.evaluate_tiles import evaluate_tiles
    from tasks.mapping.windows import WindowPlan, usual_overlap

    if gsd_m is not None and not 0 < gsd_m < inf:
        raise BadInputError(f"--gsd-m {gsd_m:g}: give the size of a pixel in metres")
    entries, alone, name = _tiles(images, masks, data or [], split, bands, gsd_m)
    side = window_px or 512
    plan = WindowPlan(side, usual_overlap(side), 1 if views is None else views)
    with progress_bars():
        summary = evaluate_tiles(
            entries, name, weights or "current", out, threshold, plan, device or "cpu"
        )
    summary["n_unpaired"] = alone
    if as_json:
        print_json(summary)
    else:
        _show(summary, out)


def train(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    protocol: Annotated[
        str | None,
        typer.Argument(
            help="ldm-net, scgc-net, gdcld, lmhld, lmhld-part, compact, teacher, reviews, or TOML."
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIR", help="A dataset: bijie=DIR, l4s_rgb=DIR …; repeat to mix."
        ),
    ] = None,
    from_reviews: Annotated[
        str | None,
        typer.Option(metavar="EVENT", help="Learn from an inventory's reviews instead."),
    ] = None,
    version: Annotated[
        int | None, typer.Option(help="Version reviewed. Default: the published one.")
    ] = None,
    block_px: Annotated[
        int | None, typer.Option(min=32, help="Side of a block of reviewed ground, 128.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change the protocol: epochs=10, batch=4 …"
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of everything random. Default: the protocol's.")
    ] = None,
    start: Annotated[
        str,
        typer.Option(help="Weights to go on from. Default: none; with --from-reviews the current."),
    ] = "",
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="Weights whose scores are learnt beside the labels; repeat for several."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 …")] = "cpu",
    as_json: AsJson = False,
) -> None:
    """Train a network by a paper's protocol, or better weights from what reviewers said.

    The same command goes on with a run that was stopped. Weights from reviews are a candidate,
    used once `scarp model promote` says so.

    Example: scarp train compact --data bijie=data/bijie --data l4s_rgb=data/l4s_rgb -o runs/one

    Example: scarp train --from-reviews us2000h8ty -o runs/reviewed
    """
    wishes = [*(changes or ()), *(() if seed is None else (f"seed={seed}",))]
    if from_reviews is not None:
        _refuse("--from-reviews", {"PROTOCOL": protocol, "--data": data, "--teacher": teacher})
        _train_from_reviews(from_reviews, out, version, start, wishes, block_px, device, as_json)
        return
    _refuse("PROTOCOL", {"--version": version, "--block-px": block_px})
    if protocol is None or not data:
        raise BadInputError("nothing to learn from: give PROTOCOL and --data, or --from-reviews")
    from flows.train_protocol import train_protocol

    with progress_bars():
        card = train_protocol(protocol, data, out, wishes, start, device, teacher or ())
    if as_json:
        print_json(card)
        return
    show_scores(card)
    print_line(f"weights, card, log and curves in {out}")


def show_scores(card: Card) -> None:
    """The scores on a card of weights: a row for every dataset of a split, and for all of them."""
    rows = [
        # More than these leave no room for the names on a narrow terminal.
        {"split": split, "data": data}
        | {key: _shown(of["micro"][key]) for key in ("precision", "recall", "f1")}
        | {"F1, 95 %": _ends(of["intervals"]["micro"]["f1"]), "tiles": of["n_tiles"]}
        for split, scores in card.scores.items()
        if "sources" in scores  # the card of the first weights has another form
        for data, of in _by_data(scores)
    ]
    if rows:
        screen.print(table(f"{card.name}, pooled pixels, threshold {card.threshold:g}", rows))


def _by_data(scores: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    sources = scores["sources"]
    return [*sources.items(), *([("all", scores)] if len(sources) > 1 else [])]


def _ends(pair: Sequence[float] | None) -> str | None:
    return "–".join(f"{end:.3f}" for end in pair) if pair else None


def _train_from_reviews(
    event_id: str, out: Path, version: int | None, start: str, wishes: list[str],
    block_px: int | None, device: str, as_json: bool,
) -> None:  # fmt: skip
    from flows.train_reviews import train_from_reviews

    with progress_bars():
        found = train_from_reviews(
            event_id, out, version, start or "current", wishes, block_px or 128, device
        )
    if as_json:
        print_json({**vars(found), "better": found.better})
        return
    scores = {"candidate": found.candidate_scores, found.before: found.before_scores}
    rows = [
        {"weights": name, **{key: _shown(value) for key, value in each["micro"].items()}}
        for name, each in scores.items()
    ]
    screen.print(table(f"{found.test_blocks} reviewed blocks held out, pooled pixels", rows))
    advice = "better there" if found.better else "no better there"
    print_line(f"the candidate is {advice}; to use it: scarp model promote {found.weights}")


def experiment(
    name: Annotated[
        str,
        typer.Argument(help="networks, ffn, events, sources, tile-size, incremental, serial."),
    ],
    data: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=DIR", help="A dataset: bijie=DIR, l4s_rgb=DIR …; repeat to mix."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of all runs and the table.")],
    protocol: Annotated[
        str, typer.Option(help="What all arms have in common, a name or a TOML file.")
    ] = "compact",
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change the protocol: epochs=10, batch=4 …"
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings an arm.")] = 3,
    start: Annotated[str, typer.Option(help="Weights every arm goes on from.")] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 …")] = "cpu",
    as_json: AsJson = False,
) -> None:
    """Run one of the papers' experiments; the same command goes on with one that was stopped.

    networks: LDM-Net, plain FFN, U-Net, SegFormer of one size. ffn: G_FFN against plain FFN.
    events: each event never seen. sources: each dataset alone against all. tile-size: a half, a
    quarter. incremental: 0, 1, 5, 10, 20 % of a new region's blocks. serial: orders of datasets.

    Example: scarp experiment incremental --protocol reviews --data D=DIR --start NAME -o more
    """
    from flows.train_protocol import experiment as run

    with progress_bars():
        found = run(name, protocol, data, out, changes or (), seeds, start, device)
    if as_json:
        print_json(found)
        return
    rows = [
        {"arm": row["arm"], "seed": str(row["seed"]), "split": split, "dataset": source,
         "threshold": f"{each['threshold']:.2f}",
         # More than these leave no room for the arm on a narrow terminal.
         **{key: _shown(scores["micro"][key]) for key in ("f1", "iou")}}
        for row in found["arms"]
        for split, each in row["scores"].items()
        for source, scores in each["sources"].items()
    ]  # fmt: skip
    screen.print(table(f"{name}, pooled pixels", rows))
    print_line(f"all runs, {name}.json and {name}.md in {out}")


def _tiles(
    images: Path | None,
    masks: Path | None,
    data: list[str],
    split: str | None,
    bands: str | None,
    gsd_m: float | None,
) -> tuple[list[Entry], int, str]:
    """The tiles asked for, how many files have no partner, and what the tiles are called."""
    if data:
        _refuse(
            "--data", {"--images": images, "--masks": masks, "--bands": bands, "--gsd-m": gsd_m}
        )
        from tasks.learning.catalog import as_split, of_split, read_data

        wanted = as_split(split or "test")
        return of_split(read_data(data), wanted), 0, f"{', '.join(data)} ({wanted})"
    _refuse("--images", {"--split": split})
    if images is None or masks is None:
        raise BadInputError(
            "nothing to judge: give EVENT and --reference, --images and --masks, or --data"
        )
    from models.pictures import pair_entries

    entries, alone = pair_entries(images, masks, _words(bands), gsd_m)
    if alone:
        say(f"{len(alone)} files have no partner of the same stem, such as {alone[0]}; left out")
    return entries, len(alone), str(images)


def _words(text: str | None) -> list[str]:
    return [word.strip().lower() for word in text.split(",")] if text else []


def _refuse(beside: str, options: dict[str, Any]) -> None:
    """Options that mean nothing beside another are an error, never silently ignored."""
    for name, value in options.items():
        if value is not None:
            raise BadInputError(f"{name} does not go with {beside}")


def _evaluate_inventory(
    event_id: str, reference: int, version: int | None, resolution_m: float | None, as_json: bool
) -> None:
    from flows.evaluate import evaluate_inventory

    result = evaluate_inventory(event_id, reference, version, resolution_m)
    if as_json:
        print_json(result)
        return
    pixels = result.agreement.pixels
    rows = {
        "pixel precision": f"{pixels.precision:.3f}",
        "pixel recall": f"{pixels.recall:.3f}",
        "pixel F1": f"{pixels.f1:.3f}",
        "pixel IoU": f"{pixels.iou:.3f}",
        "landslides found": f"{result.agreement.found_count} of {result.agreement.reference_count}",
        "ground compared": f"{result.agreement.compared_km2:.2f} km²",
        "pixel size": f"{result.agreement.resolution_m:g} m",
    }
    title = f"{event_id}: version {result.version} against version {result.reference}"
    screen.print(table(title, [{"measure": n, "value": v} for n, v in rows.items()]))


def _show(summary: dict[str, Any], out: Path | None) -> None:
    from models.samples import some_of

    def row(title: str, kind: str) -> dict[str, Any]:
        scores = {name: _shown(value) for name, value in summary[kind].items()}
        return {"landslide class": title, **scores}

    title = f"{summary['weights']} on {summary['data']}, threshold {summary['threshold']:g}"
    screen.print(table(title, [row("mean over tiles", "macro"), row("pooled pixels", "micro")]))
    found = summary["objects"]["overlap_0.3"]
    rows = {
        "PR-AUC, mean over tiles": _shown(summary["pr_auc"]),
        "mIoU": _shown(summary["miou"]),
        "overall accuracy": _shown(summary["oa"]),
        "landslides found": f"{found['found']} of {summary['objects']['true']}",
        "boundary F1 within 2 px": _shown(summary["boundary_f1"]["2px"]),
        "calibration error": _shown(summary["calibration"]["ece"]),
        "tiles": f"{summary['n_tiles']}, {summary['n_excluded']} without a landslide",
        **({"tiles nobody saw, left out": some_of(summary["unseen"])} if summary["unseen"] else {}),
        **{
            f"pixel size{source and ' of '}{source}, guessed": f"{size:g} m"
            for source, size in summary["guessed_gsd_m"].items()
        },
    }
    screen.print(table("", [{"measure": n, "value": v} for n, v in rows.items()]))
    if out:
        print_line(f"table, examples and curves in {out}")


def _shown(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
