"""Training on several machines: PyTorch's own engine, with juanji's modules. Here two processes on one machine talk through gloo.

    torchrun --standalone --nproc-per-node 2 examples/distributed.py
    torchrun --nnodes 4 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint first-machine:29400 examples/distributed.py

Each process sees its own part of every batch; `DistributedDataParallel` averages the gradients, so that all take the same step, the one
that a single process would have taken with the whole batch. Needs the extra: pip install 'juanji[torch]'.
"""

import argparse

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from juanji.interop.torch import Conv2d, LocallyConnected2d


def network() -> nn.Module:
    """A convolution with its border reflected, and a locally connected layer: neither is in PyTorch."""
    return nn.Sequential(
        Conv2d(1, 8, 3, stride=2, padding="same", boundary="reflect"), nn.ReLU(),
        LocallyConnected2d(8, 8, 8, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * 6 * 6, 4),
    )  # fmt: skip


def bars(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy 16×16 pictures of a bar in one of four directions, and which one it is."""
    random = np.random.default_rng(seed)
    kind = random.integers(0, 4, count)
    rows, columns = np.mgrid[-8:8, -8:8]
    angle = kind[:, None, None] * (np.pi / 4)
    picture = np.abs(rows * np.cos(angle) + columns * np.sin(angle)) < 1.5
    noisy = picture + random.normal(0, 0.5, picture.shape)
    return torch.from_numpy(noisy[:, None].astype(np.float32)), torch.from_numpy(kind)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on several processes.")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=64, help="samples of all processes together")
    parser.add_argument("--save", help="where the first process leaves the parameters")
    arguments = parser.parse_args()
    distributed.init_process_group("gloo")
    rank, count = distributed.get_rank(), distributed.get_world_size()
    torch.manual_seed(0)
    net = network()
    parallel = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(parallel.parameters(), lr=0.1, momentum=0.9)
    for step in range(arguments.steps):
        x, target = (part.chunk(count)[rank] for part in bars(arguments.batch, step))
        loss = nn.functional.cross_entropy(parallel(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, target = bars(400, 10_000)
    right = (net(x).argmax(dim=1) == target).float().mean().item()
    for turn in range(count):  # one after the other, or their lines would run into each other
        if turn == rank:
            print(f"process {rank} of {count}: {right:.1%} of 400 new pictures right", flush=True)
        distributed.barrier()
    if arguments.save and rank == 0:
        torch.save(net.state_dict(), arguments.save)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
