"""What a flow does: plain functions on rasters, geodataframes and the store."""

import models  # noqa: F401  # before anything loads OpenMP
