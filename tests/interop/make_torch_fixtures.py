"""Writes torch_modules.safetensors: small PyTorch modules, inputs [T, B, D], and the outputs that PyTorch gives.

python tests/interop/make_torch_fixtures.py        # with torch 2.13.0; the tests need no torch
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

FILE = Path(__file__).with_name("torch_modules.safetensors")
WIDTHS = {"input_size": 3, "hidden_size": 4}
CASES = {
    "LSTM": {"num_layers": 2},
    "LSTM without biases": {"bidirectional": True, "bias": False},
    "LSTM projected": {"num_layers": 2, "proj_size": 2, "bidirectional": True},
    "GRU": {"num_layers": 2},
    "GRU both ways": {"num_layers": 2, "bidirectional": True, "bias": False},
    "RNN": {"num_layers": 2, "bidirectional": True},
    "RNN relu": {"nonlinearity": "relu", "readout": None},
}


class Network(torch.nn.Module):
    """One recurrent module, and a linear readout of K = 2 unless it is None."""

    def __init__(self, kind, readout=2, **options):
        super().__init__()
        self.rnn = getattr(torch.nn, kind)(**options)
        width = options.get("proj_size") or options["hidden_size"]
        width *= 2 if options.get("bidirectional") else 1
        self.readout = torch.nn.Identity() if readout is None else torch.nn.Linear(width, readout)

    def forward(self, xs):
        return self.readout(self.rnn(xs)[0])


def draw(network, generator):
    """Weights large enough that every gate and bias matters."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.5, generator=generator)


def main():
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for case, options in CASES.items():
        network = Network(case.split()[0], **WIDTHS, **options)
        draw(network, generator)
        xs = torch.randn(6, 2, WIDTHS["input_size"], generator=generator)
        with torch.no_grad():
            found = {**network.state_dict(), "inputs": xs, "outputs": network(xs)}
        tensors |= {f"{case}/{name}": tensor.contiguous() for name, tensor in found.items()}
    save_file(tensors, FILE, {"torch": torch.__version__, "cases": json.dumps(CASES)})


if __name__ == "__main__":
    main()
