"""PyTorch's own recurrent layers as a worker: threads over all cores, or cuDNN on a GPU, eager, as a user runs it."""

from __future__ import annotations

import os
import sys

import torch
from turns import CORES
from worker import Job, serve

DEVICE = "cuda" if os.environ.get("BENCH_ACCELERATOR") and torch.cuda.is_available() else "cpu"
LAYERS = {"LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU, "VanillaRNN": torch.nn.RNN}


def _loss(shape: list[int], cell: str, layers: int, lengths: list[int] | None):
    """The layer and its mean square; by its fused kernel, as `y.square().mean()` takes several passes more."""
    batch, length, inputs, features = shape
    torch.manual_seed(0)
    layer = LAYERS[cell](inputs, features, layers).to(DEVICE)
    xs, zeros = torch.randn(length, batch, inputs).to(DEVICE), torch.zeros(length, batch, features).to(DEVICE)
    if lengths is None:
        return layer, lambda: torch.nn.functional.mse_loss(layer(xs)[0], zeros)

    def packed():
        given = torch.nn.utils.rnn.pack_padded_sequence(xs, torch.tensor(lengths), enforce_sorted=False)
        ys, _ = torch.nn.utils.rnn.pad_packed_sequence(layer(given)[0], total_length=length)
        return torch.nn.functional.mse_loss(ys, zeros)

    return layer, packed


def forward(shape: list[int], cell: str = "LSTM", layers: int = 1, lengths: list[int] | None = None) -> Job:
    _, loss = _loss(shape, cell, layers, lengths)

    @torch.inference_mode()
    def run():
        return float(loss())

    return Job(run)


def gradient(shape: list[int], cell: str = "LSTM", layers: int = 1, lengths: list[int] | None = None) -> Job:
    layer, loss = _loss(shape, cell, layers, lengths)

    def run():
        layer.zero_grad(set_to_none=True)
        loss().backward()
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return Job(run)


def online(length: int, sequences: int) -> Job:
    """The memory blocks of 1997 on sequences of their adding problem: truncated gradient, an update a sequence.

    One network, since its operations are too small for threads and for batches: ten of them take ten times as long.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    w = torch.empty(2 + 8 + 1, 8).uniform_(-0.1, 0.1).requires_grad_()  # inputs, gates and cells, a bias
    w_out = torch.empty(4 + 1).uniform_(-0.1, 0.1).requires_grad_()
    one = torch.ones(1)

    def learn(xs, target):
        s, back = torch.zeros(4), torch.zeros(8)
        for x in xs:
            units = torch.sigmoid(torch.cat([x, back.detach(), one]) @ w)
            i, o = (units[at : at + 2].repeat_interleave(2) for at in (0, 2))
            s = s + i * (4 * units[4:] - 2)
            y = o * (2 * torch.sigmoid(s) - 1)
            back = torch.cat([units[:4], y])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(y @ w_out[:4] + w_out[4], target)
        d_w, d_out = torch.autograd.grad(loss, [w, w_out])
        with torch.no_grad():
            w.sub_(0.5 * d_w)
            w_out.sub_(0.5 * d_out)

    drawn = [(torch.rand(length, 2) * 2 - 1, torch.rand(())) for _ in range(sequences)]
    return Job(lambda: [learn(*one_of) for one_of in drawn])


def about() -> dict[str, str]:
    return {
        "torch": torch.__version__,
        "device": DEVICE,
        "python": sys.version.split()[0],
        "threads": str(torch.get_num_threads()),
    }


if __name__ == "__main__":
    torch.set_num_threads(CORES)
    serve({"forward": forward, "gradient": gradient, "online": online}, {"about": about})
