"""Rows of windows scored by the workers of a Dask cluster, with the result of one process.

A worker needs Scarp installed and the image at the same path or address. One that dies costs the
row it was at, which the cluster gives to another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence

import dask
import torch
from distributed import CancelledError, Client, Future, KilledWorker

from tasks.errors import TransientError
from tasks.mapping.blend import BandScores
from tasks.mapping.scoring import Job, score_bands
from tasks.mapping.windows import Band, window_starts


def score_on_cluster(
    client: Client,
    job: Job,
    network: torch.nn.Module,
    bands: Sequence[Band],
    each: Callable[[], None] = lambda: None,
) -> Generator[BandScores]:
    """Score rows of windows as `score_bands` does, each by a worker of a cluster.

    A job on a GPU asks for the resource `GPU` where workers declare it.

    Args:
        client: of the cluster.
        job: as for `score_bands`.
        network: as for `score_bands`.
        bands: as for `score_bands`.
        each: called once for every window when its row has come back.

    Yields:
        The scores of each row in order; at most two rows a worker are under way.

    Raises:
        RasterError: a worker cannot read the image.
        TransientError: the cluster is gone, or rows killed worker after worker.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    with_gpu = any("GPU" in worker["resources"] for worker in workers)
    resources = {"GPU": 1} if with_gpu and torch.device(job.device).type == "cuda" else None
    # The network goes to the scheduler once, so that a worker that comes later finds it there.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
        sent = client.submit(_itself, network, pure=False)
    left = iter(bands)
    pending: deque[Future[BandScores]] = deque()

    def send() -> None:
        for band in left:
            pending.append(
                client.submit(_score_band, job, sent, band, pure=False, resources=resources)
            )
            return

    for _ in range(2 * max(1, len(workers))):
        send()
    while pending:
        try:
            scores = pending.popleft().result()
        except (KilledWorker, CancelledError, OSError) as error:
            raise TransientError(
                f"the Dask cluster lost a row of {job.image} ({error}); look at its workers and "
                "run again: finished rows are kept"
            ) from error
        send()
        for _ in window_starts(scores.levels.shape[-1], job.plan):
            each()
        yield scores


def _itself(network: torch.nn.Module) -> torch.nn.Module:
    return network


def _score_band(job: Job, network: torch.nn.Module, band: Band) -> BandScores:
    (scores,) = score_bands(job, network, [band])
    return scores
