"""torch.nn.LSTM as a worker: threads over all cores, eager, as a user runs it."""

from __future__ import annotations

import os
import sys

import torch
from worker import Job, serve


def _layer(shape: list[int]):
    batch, length, inputs, features = shape
    torch.manual_seed(0)
    return torch.nn.LSTM(inputs, features), torch.randn(length, batch, inputs), torch.zeros(length, batch, features)


def forward(shape: list[int]) -> Job:
    lstm, xs, zeros = _layer(shape)

    @torch.inference_mode()
    def run():
        return float(torch.nn.functional.mse_loss(lstm(xs)[0], zeros))

    return Job(run)


def gradient(shape: list[int]) -> Job:
    lstm, xs, zeros = _layer(shape)

    def run():
        lstm.zero_grad(set_to_none=True)
        # The mean square by its fused kernel: `y.square().mean()` takes several passes more.
        torch.nn.functional.mse_loss(lstm(xs)[0], zeros).backward()

    return Job(run)


def about() -> dict[str, str]:
    return {"torch": torch.__version__, "python": sys.version.split()[0], "threads": str(torch.get_num_threads())}


if __name__ == "__main__":
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    serve({"forward": forward, "gradient": gradient}, {"about": about})
