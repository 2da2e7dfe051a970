"""Where two models of one event disagree: a map of the one's susceptibility less the other's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio

from tasks.publish.products import room_for, scratch_beside, write_cog
from tasks.susceptibility.model import Model
from tasks.susceptibility.stack import BLOCK_PX, FactorStack
from tasks.susceptibility.window_cells import WindowCells


def difference_map(
    minuend: Model,
    subtrahend: Model,
    stack: FactorStack,
    path: Path,
    tags: dict[str, str],
    halo: int = 0,
) -> Path:
    """Write what `minuend` gives more than `subtrahend`, block by block.

    Args:
        minuend: fitted on factors in the order of `stack.names`.
        subtrahend: the same.
        stack: the factors.
        path: COG to make or replace: float32, -1 to 1, NaN where a factor is missing.
        tags: provenance tags.
        halo: how far around each cell the models look, in cells.

    Returns:
        `path`.

    Raises:
        StorageError: `path` cannot be written.
    """
    grid = stack.geobox
    with scratch_beside(path) as folder:
        partial = folder / "grid.tif"
        with (
            room_for(partial),
            rasterio.open(
                partial,
                "w",
                driver="GTiff",
                width=grid.width,
                height=grid.height,
                count=1,
                dtype="float32",
                nodata=np.nan,
                crs=str(grid.crs),
                transform=grid.transform,
                tiled=True,
                blockxsize=BLOCK_PX,
                blockysize=BLOCK_PX,
            ) as dataset,
        ):
            dataset.set_band_description(1, "difference of susceptibility")
            for window, factors in stack.blocks(halo=halo):
                cells = WindowCells.of(factors, halo)
                more = np.zeros(0, np.float32)
                if len(cells.own):
                    more = minuend.predict(cells.x) - subtrahend.predict(cells.x)
                dataset.write(cells.placed(more), 1, window=window)
        return write_cog(partial, path, tags=tags, overview_resampling="average")
