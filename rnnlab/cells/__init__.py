"""The cells. A file here is a cell: its presence is its registration."""

from rnnlab.cells.base import Cell, CellBase, CellSpec
from rnnlab.specs.discover import export_all

__all__ = ["Cell", "CellBase", "CellSpec", *export_all(__name__, globals(), (CellSpec, CellBase))]
