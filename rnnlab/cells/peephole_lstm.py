"""Long short-term memory with peepholes."""

from __future__ import annotations

from typing import ClassVar

import chz
from flax import nnx

from rnnlab.cells.ablated_lstm import AblatedLSTM, AblatedLSTMCell
from rnnlab.cells.lstm import LSTM


@chz.chz
class PeepholeLSTM(LSTM):
    """An LSTM whose gates read the cell state as well, through peepholes p, one weight a cell and gate.

    i, f = sigmoid(z_i + p_i c_{t-1}), sigmoid(z_f + p_f c_{t-1});  g = tanh(z_g)
    c_t = f c_{t-1} + i g;  o = sigmoid(z_o + p_o c_t);  h_t = o tanh(c_t)

    The output gate reads the new c_t, the others the last. Gers & Schmidhuber 2000, Recurrent nets that time and count,
    in the form of Greff et al. 2017, section 2: one cell a block, h_t squashed by tanh, and the full gradient. It is
    AblatedLSTM with variant=V, which has that paper's ablations of it.
    """

    source: ClassVar[str] = "Gers & Schmidhuber 2000; Greff et al. 2017, section 2"

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> AblatedLSTMCell:
        return AblatedLSTM(variant="V", **chz.asdict(self, shallow=True)).build(in_features, rngs=rngs)
