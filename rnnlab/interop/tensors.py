"""Tensors by name: read from a safetensors file or a mapping, taken one by one by shape, and written whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from rnnlab.runs.files import write_whole
from rnnlab.specs.errors import UserError

Source = str | Path | Mapping[str, Any]
FLOATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16}
MANY = 8  # names that one line may list


class Tensors:
    """Named arrays of which each is taken once; what is left at the end was not expected.

    Every error is one UserError: the file (or "mapping"), the tensor, its shape, and what was expected.
    """

    def __init__(self, source: Source):
        self.ordered = isinstance(source, Mapping)  # a mapping's own order means something, a file's does not
        self.where = "mapping" if self.ordered else str(source)
        self._left = dict(source) if isinstance(source, Mapping) else _read(Path(source))

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._left))

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def shape(self, name: str, expected: str) -> tuple[int, ...]:
        """Of a tensor that must be there; `expected` says what it should be."""
        if name not in self._left:
            there = ", ".join(list(self._left)[:MANY]) + (", ..." if len(self._left) > MANY else "")
            raise self.error(f"{name} is missing; expected {expected}; there is {there or 'nothing'}")
        return tuple(np.shape(self._left[name]))

    def take(self, name: str, *expected: int | str) -> np.ndarray:
        """The tensor `name`, whose sizes must be `expected`; a size that is a letter may be any. At least float32."""
        wanted = f"[{', '.join(map(str, expected))}]"
        shape = self.shape(name, wanted)
        fits = len(shape) == len(expected) and all(e in (s, str(e)) for s, e in zip(shape, expected, strict=True))
        if not fits:
            raise self.error(f"{name} has shape {list(shape)}; expected {wanted}")
        try:
            array = np.asarray(self._left.pop(name))
        except (TypeError, RuntimeError) as error:  # a torch tensor on a GPU, or of bfloat16
            raise self.error(f"{name} is no array ({error}); expected one of floats, on the CPU") from error
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise self.error(f"{name} {list(shape)} is of {array.dtype}; expected floats")
        return array.astype(jnp.promote_types(array.dtype, jnp.float32))

    def layers(self, last: str) -> list[tuple[str, ...]]:
        """Prefixes of the tensors called `last`, layer by layer: one, or two, the forward direction's before the other.

        A part of the name that begins with backward_ tells a direction. Layers are in a mapping's own order; in a file,
        which has none, in that of their numbers.
        """
        found: dict[str, dict[str, str]] = {}
        for name in self:
            if not re.search(rf"(^|[./]){re.escape(last)}$", name):
                continue
            prefix = name.removesuffix(last)
            way = re.search(r"(?<![^./])(forward|backward)_", prefix)
            layer, direction = (prefix[: way.start()], way[1]) if way else (prefix, "forward")
            if direction in found.setdefault(layer, {}):
                raise self.error(f"{name}: a second {direction} direction beside {found[layer][direction]}{last}")
            found[layer][direction] = prefix
        if not found:
            self.shape(last, "[H, 4H], [H, 3H] or [H, H]")  # raises
        ways = ("forward", "backward")
        if {frozenset(layer) for layer in found.values()} not in ({frozenset(ways[:1])}, {frozenset(ways)}):
            told = ", ".join(prefix for layer in found.values() for prefix in layer.values())
            raise self.error(f"{told}: expected one direction of every layer, or both of every layer")
        return [tuple(found[layer][way] for way in ways if way in found[layer]) for layer in self._in_order(found)]

    def only(self, last: str) -> str | None:
        """The prefix of the one tensor called `last` that is left, if there is exactly one."""
        left = [name.removesuffix(last) for name in self if re.search(rf"(^|[./]){last}$", name)]
        return left[0] if len(left) == 1 else None

    def finish(self, whole: str) -> None:
        """Raises for a tensor that nothing took; `whole` says what was."""
        for name in sorted(self):
            raise self.error(f"{name} {list(self.shape(name, ''))} is extra; expected {whole} and at most one readout")

    def error(self, text: str) -> UserError:
        return UserError(f"{self.where}: {text}")

    def _in_order(self, layers: Mapping[str, Any]) -> list[str]:
        if self.ordered:
            return list(layers)
        if len({re.sub(r"_?\d+", "", layer) for layer in layers}) > 1:
            told = ", ".join(layers)
            raise self.error(
                f"the order of {told} is unknown; expected names that differ by numbers, or a dict in order"
            )
        return sorted(layers, key=lambda layer: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", layer)])


def write_tensors(file: str | Path, tensors: Mapping[str, Any], **metadata: str) -> dict[str, np.ndarray]:
    """Writes a safetensors file, whole or not at all; returns the arrays as written, in the order given."""
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    needs("safetensors", file)
    from safetensors.numpy import save

    write_whole(Path(file), save(arrays, metadata or None))
    return arrays


def needs(package: str, file: str | Path) -> None:
    """Raises UserError where a package of the extra `interop` is missing."""
    try:
        __import__(package)
    except ImportError as error:
        raise UserError(f"{file}: needs the package {package}: pip install 'rnnlab[interop]'") from error


def _read(path: Path) -> dict[str, np.ndarray]:
    needs("safetensors", path)
    import safetensors

    try:
        found = safetensors.deserialize(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: no safetensors file ({error})") from error
    arrays = {}
    for name, tensor in found:
        if tensor["dtype"] not in FLOATS:
            raise UserError(f"{path}: {name} {tensor['shape']} is of {tensor['dtype']}; expected {', '.join(FLOATS)}")
        arrays[name] = np.frombuffer(tensor["data"], FLOATS[tensor["dtype"]]).reshape(tensor["shape"])
    return arrays
