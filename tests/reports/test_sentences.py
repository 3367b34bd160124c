"""Sentences keep to the arms that have what they speak of: not every cell has a c, or a cell path."""

import math

import pytest
from made_results import made, read

from rnnlab.reports import sentences


@pytest.fixture(scope="module")
def arms():
    return read(made()).tasks["Adding 200"]


def test_an_arm_without_c_is_left_out(arms):
    """The vanilla RNN's adjoint is dL/dh alone; chrono's path falls by exp(-.0126) a step on the mean, over 199."""
    assert math.isnan(arms["VanillaRNN"].at_end("c"))
    said = sentences.along_cell_path(arms)
    assert said.startswith("With LSTM chrono ") and f"{math.exp(-0.0126 * 199):.2g} along the cell path" in said
    assert "VanillaRNN" not in sentences.reaching(arms, "c") and "VanillaRNN" in sentences.reaching(arms)


def test_where_no_arm_has_it_the_sentence_says_so(arms):
    alone = {"VanillaRNN": arms["VanillaRNN"]}
    assert sentences.along_cell_path(alone) == "No arm has a cell path of dL/dc."
    assert sentences.reaching(alone, "c") == "No arm on Adding 200 has dL/dc."
