"""A Dask cluster as an executor: the same fleet on many machines.

Only specs travel: names of environment variables and files, never what is in them. The workers
need tbdiag, the CA files under the same paths, and the tokens in their own environment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

from tbdiag.errors import UsageError

CONNECT_SECONDS = 10
RETRIES = 3
"""How often the scheduler starts a check again that raised; a lost worker's checks always are."""


@contextlib.contextmanager
def connected(address: str) -> Iterator[Executor]:
    """The executor of the cluster whose scheduler is at `address`.

    Raises UsageError when `distributed` is not installed, or nobody answers at the address.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--dask needs distributed: pip install 'tbdiag[distributed]'") from None
    try:
        client: Any = Client(  # type: ignore[no-untyped-call]
            address, timeout=CONNECT_SECONDS, set_as_default=False
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise UsageError(f"--dask {address}: no scheduler answers there: {reason}") from None
    try:
        yield client.get_executor(retries=RETRIES, pure=False)
    finally:
        client.close(timeout=2)
