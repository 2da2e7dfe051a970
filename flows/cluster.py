"""Where rows of windows are scored: in this process, or on the Dask cluster the settings name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from infra.settings import Settings
from tasks.errors import BadInputError, TransientError
from tasks.mapping.scoring import score_bands
from tasks.mapping.segment import Scorer

CONNECT_S = 10
WORKERS_S = 60


@contextmanager
def scorer() -> Iterator[Scorer]:
    """Give what `segment_scene` scores with; a cluster is asked for its workers first.

    Raises:
        BadInputError: `SCARP_DASK_ADDRESS` is set and the `dask` extra is not installed.
        TransientError: the cluster does not answer or has no worker.
    """
    address = Settings().dask_address
    if address is None:
        yield score_bands
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise BadInputError(
            f"SCARP_DASK_ADDRESS is {address}, which needs the dask extra: "
            "pip install 'scarp[dask]', or unset it"
        ) from error
    from tasks.mapping.blocks import score_on_cluster

    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise TransientError(
            f"no Dask cluster answers at SCARP_DASK_ADDRESS={address}; start it or unset it"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_S)
        except TimeoutError as error:
            raise TransientError(
                f"the Dask cluster at {address} has no worker; start one: dask worker {address}"
            ) from error
        yield partial(score_on_cluster, client)
