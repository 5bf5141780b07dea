"""A training process that reads a ``SampleDataset`` through a ``DataLoader``, for test_dataset.

Run as ``python loads.py HR MAPS WORKERS CONTEXT PASSES``: it reads both stores itself first, as a
script does that looks at its data, then loads, and writes every item to ``items.pt``.
"""

import sys

import torch
from torch.utils.data import DataLoader

from pipeline import Demand, SampleDataset, open_store


def main(hr: str, maps: str, workers: int, context: str, passes: int) -> None:
    """Load some passes and save ``lr`` and ``hr`` of each."""
    for store, name in ((open_store(hr), "image"), (open_store(maps), "theta")):
        for image_id in store.ids:
            store.read(image_id, name)
    torch.rand(500, 500) @ torch.rand(500, 500)  # its threads are there before the fork, too
    demand = Demand(batch_size=5, crops_per_image=7, seed=1)
    dataset = SampleDataset(hr, maps, 8, demand=demand)
    loader = DataLoader(
        dataset,
        batch_size=4,
        num_workers=workers,
        timeout=300 if workers else 0,
        multiprocessing_context=context if workers else None,
    )
    found = []
    for _ in range(passes):
        batches = list(loader)
        found.append(
            {"lr": torch.cat([b.lr for b in batches]), "hr": torch.cat([b.hr for b in batches])}
        )
    torch.save(found, "items.pt")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
