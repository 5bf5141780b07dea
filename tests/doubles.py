"""Stand-ins that several test files share: a DSN with random weights, clusters of one machine."""

from pathlib import Path

import torch
from conftest import dsn_settings
from distributed import LocalCluster

from pipeline.dsn.file import DsnDescription, save_dsn
from pipeline.dsn.network import DSN
from pipeline.train_dsn.prior import known_prior_gray
from pipeline.train_dsn.settings import TrainDsnSettings


def local_cluster(workers: int, processes: bool = False) -> LocalCluster:
    """A cluster of this machine, of one thread per worker."""
    return LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=workers, threads_per_worker=1, processes=processes, dashboard_address=":0"
    )


def refuse(address: str, timeout: str, set_as_default: bool) -> None:
    """Stands for ``Client``; a real one would try for ten seconds."""
    assert not set_as_default  # a failed client would stay the default of the process
    raise OSError(f"Timed out trying to connect to {address} after {timeout}")


def described(
    settings: TrainDsnSettings, scale: int = 4, reference: object = "bicubic"
) -> DsnDescription:
    """What the file of a DSN of these settings says."""
    return DsnDescription(
        scale=scale,
        features=settings.features,
        blocks=settings.blocks,
        learned_theta=settings.learn_theta,
        prior_scale_gray=known_prior_gray(settings),
        reference=reference,
        training=settings.model_dump(mode="json"),
    )


def write_dsn(
    path: Path, seed: int = 0, scale: int = 4, reference: object = "bicubic", **changes: object
) -> Path:
    """Weights whose means lie around 0.5 and whose thetas vary."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        dsn = DSN(scale, 4, 2)
    with torch.no_grad():
        dsn.mean_head.weight.mul_(2)
        dsn.mean_head.bias = torch.nn.Parameter(torch.full((3,), 0.5))
        for parameter in dsn.log_theta_head.parameters():
            parameter.mul_(3)
    settings = dsn_settings(blocks=2, **changes)
    save_dsn(path, dsn, described(settings, scale, reference))
    return path
