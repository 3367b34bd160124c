"""Cells stacked over one another, what stands between them, and a readout."""

from rnnlab.model.dropout import Dropout
from rnnlab.model.encoder_decoder import EncoderDecoder
from rnnlab.model.sequence_model import SequenceModel, carry_names

__all__ = ["Dropout", "EncoderDecoder", "SequenceModel", "carry_names"]
