"""At which shapes and of which experiments each section of scripts/bench measures."""

from __future__ import annotations

SHAPES = [  # B, T, D, H
    [32, 1000, 2, 128],
    [64, 256, 128, 256],
    [32, 128, 64, 128],
    [8, 2000, 8, 32],
    [1, 1024, 1, 128],
    [64, 128, 512, 512],
]
OTHERS = {  # a name: shape, and what it is if not one layer of an LSTM
    "batch of 256": ([256, 128, 64, 128], {}),
    "2 layers": ([32, 128, 128, 256], {"layers": 2}),
    "GRU": ([32, 128, 64, 128], {"cell": "GRU"}),
    "vanilla RNN": ([32, 128, 64, 128], {"cell": "VanillaRNN"}),
    "unequal lengths": ([32, 128, 64, 128], {"lengths": [4 * (1 + n) for n in range(32)]}),
}
CELL_SHAPES = [[32, 1000, 2, 128], [8, 2000, 8, 32], [1, 1024, 1, 128]]  # B, T, D, H of linear cells
RECURRENCES = [[100, 32], [100, 8192], [1000, 256], [1000, 4096], [10000, 32], [10000, 512]]  # T, B N
FORM_SHAPES = [  # cell, B, T, D, H around the sizes at which weights become the left factor or a batch stays whole
    ["LSTM", 32, 128, 64, 128],
    ["LSTM", 32, 128, 128, 144],
    ["LSTM", 32, 128, 128, 192],
    ["LSTM", 2, 256, 8, 256],
    ["LSTM", 4, 256, 8, 256],
    ["LSTM", 8, 256, 8, 256],
    ["LSTM", 64, 256, 128, 256],
    ["LSTM", 256, 64, 128, 256],
    ["LSTM", 4, 128, 64, 512],
    ["LSTM", 8, 128, 64, 512],
    ["LSTM", 64, 128, 512, 512],
    ["LSTM", 8, 64, 1024, 1024],
    ["LSTM", 64, 64, 1024, 1024],
    ["GRU", 32, 128, 128, 256],
    ["VanillaRNN", 32, 128, 512, 512],
]
PREDICTED = [("long_memory", "smoke"), ("long_memory", "quick"), ("gate_ablation", "smoke"), ("text", "smoke")]
SEGMENTS = [8, 16, 32, 64, 128]
