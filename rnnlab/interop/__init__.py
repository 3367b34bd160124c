"""Weights to and from other frameworks, and trained models as programs of their own."""

from rnnlab.interop.exported import export, load_exported
from rnnlab.interop.flax_weights import from_flax, to_flax
from rnnlab.interop.keras_weights import from_keras, to_keras
from rnnlab.interop.torch_weights import from_torch, to_torch

__all__ = ["export", "from_flax", "from_keras", "from_torch", "load_exported", "to_flax", "to_keras", "to_torch"]
