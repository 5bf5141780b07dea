"""Random generators derived from (seed, purpose, step).

Nothing in the project draws from a global generator: a run that was interrupted and goes on at step
k makes the same generators as one that never stopped, so both draw the same numbers.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


def generator(
    seed: int, purpose: str, step: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return a generator that depends on ``seed``, ``purpose`` and ``step``, and nothing else.

    Args:
        seed: The seed of the run.
        purpose: What is drawn, such as ``"train_srn/noise"``; different purposes are independent.
        step: Position in the run.
        device: Where tensors will be drawn.  CPU and CUDA give different streams for one seed.

    """
    digest = hashlib.sha256(f"{seed}\x00{purpose}\x00{step}".encode()).digest()
    made = torch.Generator(device=device)
    made.manual_seed(int.from_bytes(digest[:8], "little", signed=True))
    return made


def of_share(purpose: str, share: int) -> str:
    """The purpose of the generator of one share of a batch; shares draw independently."""
    return f"{purpose}/{share}" if share else purpose


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch and BLAS compute in one thread, here and in threads that have not used torch yet.

    So sums have one order on any machine.  Small tensors are also many times faster: threads that
    wait for each other cost more than what they compute.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)
