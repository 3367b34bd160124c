"""A user's arrays as a task: what their shapes mean, what is held out, and what is wrong with them in one line."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnlab.model import SequenceModel
from rnnlab.model.layer import has_answers
from rnnlab.settings.errors import SettingError
from rnnlab.tasks.base import Batch
from rnnlab.training.arrays import Arrays

HELD_OUT = 0.2  # of the sequences


def as_task(
    data: Any, lengths: Any, validation: Any, seed: int, model: SequenceModel | None, dtype: Any = np.float32
) -> Arrays:
    """The task of arrays (xs, ys) in memory, of which `fit` describes the shapes. Raises SettingError.

    Args:
      data: (xs, ys).
      lengths: [B], or None.
      validation: the fraction of sequences to hold out, or (xs, ys) or (xs, ys, lengths) of others; None: HELD_OUT.
      seed: of the order in which sequences are held out.
      model: which D and K must fit; None: they follow from the data.
      dtype: of the numbers.
    """
    training = _as_batch(_tuple("data", data, 2), lengths, "", dtype)
    drawn = np.random.default_rng(seed).permutation
    if validation is None or np.isscalar(validation):
        training, held = _split(training, HELD_OUT if validation is None else validation, drawn)
    else:
        held = _as_batch(*_with_lengths(validation), "validation's ", dtype)
        held = _some(held, drawn(held.inputs.shape[1]))
        for name in ("inputs", "targets"):
            ours, theirs = getattr(training, name), getattr(held, name)
            if (ours.shape[0], ours.shape[2:], ours.dtype) != (theirs.shape[0], theirs.shape[2:], theirs.dtype):
                told = f"{theirs.dtype}{_shape(theirs)}, where {ours.dtype}{_shape(ours)} and any B is needed"
                raise SettingError(f"validation: {'xs' if name == 'inputs' else 'ys'} is {told}")
        if (training.lengths is None) != (held.lengths is None):
            raise SettingError("validation: lengths are needed of both parts, or of none: (xs, ys, lengths)")
    tokens, classes = training.inputs.ndim == 2, training.targets.ndim == 2
    width = _count(training.inputs, held.inputs) if tokens else training.inputs.shape[2]
    outputs = max(_count(training.targets, held.targets), 2) if classes else training.targets.shape[2]
    if model is not None:
        if width > model.in_features or (width < model.in_features and not tokens):
            told = f"xs has tokens up to {width - 1}" if tokens else f"xs {_shape(training.inputs)} has D = {width}"
            raise SettingError(f"{told}, the model reads in_features={model.in_features}")
        given = model.readout.kernel.shape[1]
        if outputs > given or (outputs < given and not classes):
            told = f"classes up to {outputs - 1}" if classes else f"K = {outputs} numbers an answer"
            raise SettingError(f"ys has {told}, the model gives out_features={given}")
        width, outputs = model.in_features, given
    return Arrays(
        length=len(training.inputs), training=training, validation=held, width=width, outputs=outputs, classes=classes
    )


def _tuple(name: str, value: Any, size: int) -> tuple[Any, ...]:
    if not isinstance(value, tuple | list) or len(value) != size:
        raise SettingError(f"{name}: write {name}=(xs, ys), arrays of inputs [T, B, D] and targets")
    return tuple(value)


def _with_lengths(validation: Any) -> tuple[tuple[Any, ...], Any]:
    if isinstance(validation, tuple | list) and len(validation) == 3:
        return tuple(validation[:2]), validation[2]
    return _tuple("validation", validation, 2), None


def _as_batch(data: tuple[Any, ...], lengths: Any, whose: str, dtype: Any) -> Batch:
    """(xs, ys) as a batch of all sequences; `whose` stands before their names in an error."""
    xs, ys = (_array(f"{whose}{name}", part) for name, part in zip(("xs", "ys"), data, strict=True))
    lengths = None if lengths is None else _array(f"{whose}lengths", lengths)
    _check_time_major(xs, ys, lengths, whose)
    tokens = xs.ndim == 2 and np.issubdtype(xs.dtype, np.integer)
    if tokens:
        inputs = xs.astype(np.int32)
    elif xs.ndim == 3:
        inputs = xs.astype(dtype)
    else:
        told = "[T, B, D] is needed, or tokens [T, B] as integers"
        one = f"; one number a step is {whose}xs[..., None]" if xs.ndim == 2 else ""
        raise SettingError(f"{whose}xs is {xs.dtype}{_shape(xs)}, where {told}{one}")
    length, size = inputs.shape[:2]
    if not length or not size:
        raise SettingError(f"{whose}xs is {_shape(xs)}: T = {length} steps of B = {size} sequences")
    targets = _targets(ys, length, size, whose, dtype)
    counted = np.ones(targets.shape[:2], bool)
    if lengths is not None:
        lengths = _lengths(lengths, length, size, whose)
        counted = np.asarray(has_answers(jnp.asarray(lengths), len(targets), length))
        targets = np.where(counted.reshape(*counted.shape, *[1] * (targets.ndim - 2)), targets, 0)
    if targets.ndim == 2:
        _check_counted(f"{whose}ys", targets, "classes")
    there = np.ones(inputs.shape[:2], bool) if lengths is None else np.arange(length)[:, None] < lengths
    if tokens:
        inputs = np.where(there, inputs, 0)  # whatever a sequence was padded with
        _check_counted(f"{whose}xs", inputs, "tokens")
    for name, values, mask in (("xs", inputs, there), ("ys", targets, counted)):
        _check_finite(f"{whose}{name}", values, mask)
    return Batch(inputs, targets, lengths)


def _array(name: str, value: Any) -> np.ndarray:
    try:
        found = np.asarray(value)
    except ValueError as error:  # NumPy's, of lists of unequal length
        raise SettingError(f"{name}: no array ({error}); pad sequences to one length and give lengths=") from error
    if found.dtype.kind not in "biuf":
        raise SettingError(f"{name} has type {found.dtype}, where numbers are needed; sequences of unequal length are "
                           "padded to one, with lengths=")  # fmt: skip
    return found.astype(np.int32) if found.dtype == bool else found


def _check_time_major(xs, ys, lengths, whose: str) -> None:
    """Raises SettingError where targets or lengths tell that the first axis of xs is that of sequences."""
    if xs.ndim < 2 or not ys.ndim:
        return
    both = ys.ndim == 3 or (ys.ndim == 2 and np.issubdtype(ys.dtype, np.integer))  # they have a time axis too
    ours, told = xs.shape[1], len(ys)
    if lengths is not None and lengths.ndim == 1:
        told = len(lengths)
    elif ys.ndim > 1 and ys.shape[1] == ours:
        told = ours
    if told != ours and told == xs.shape[0]:
        other = f" and {whose}ys.swapaxes(0, 1)" if both and ys.shape[0] == told else ""
        told = f"{whose}xs is {_shape(xs)} and there are {told} sequences, so it seems to be [B, T, D]"
        raise SettingError(f"{told}: time comes first here, [T, B, D]; give {whose}xs.swapaxes(0, 1){other}")


def _targets(ys: np.ndarray, length: int, size: int, whose: str, dtype: Any) -> np.ndarray:
    """Classes [N, B] or numbers [N, B, K]."""
    if np.issubdtype(ys.dtype, np.integer):
        found = ys[None] if ys.ndim == 1 else ys
        told, right = "classes (integers) are [B] for one answer at the end, or [N, B]", found.ndim == 2
        if ys.ndim == 3 or ys.shape == (size, 1):
            told += "; numbers are floats, ys.astype(float)"
        found = found.astype(np.int32)
    else:
        found = {1: ys[None, :, None], 2: ys[None]}.get(ys.ndim, ys) if ys.ndim else ys
        told, right = "numbers are [B] or [B, K] for one answer at the end, or [N, B, K]", found.ndim == 3
        found = found.astype(dtype)
    if not right or found.shape[1] != size or not 1 <= len(found) <= length:
        where = f"T = {length}, B = {size}"
        raise SettingError(f"{whose}ys is {ys.dtype}{_shape(ys)} with xs of {where}, where {told}, N from 1 to T")
    return found


def _lengths(lengths: np.ndarray, length: int, size: int, whose: str) -> np.ndarray:
    if lengths.shape != (size,) or not np.issubdtype(lengths.dtype, np.integer):
        raise SettingError(
            f"{whose}lengths is {lengths.dtype}{_shape(lengths)}, where integers [B] = [{size}] are needed"
        )
    if (wrong := np.flatnonzero((lengths < 1) | (lengths > length))).size:
        told = f"{lengths[wrong[0]]} steps, where 1 to T = {length} are needed"
        raise SettingError(f"{whose}lengths: sequence {wrong[0]} has {told}")
    return lengths.astype(np.int32)


def _check_counted(name: str, values: np.ndarray, what: str) -> None:
    if values.min() < 0:
        raise SettingError(f"{name}: {what} are counted from 0; there is {values.min()}")


def _check_finite(name: str, values: np.ndarray, mask: np.ndarray) -> None:
    broken = ~np.isfinite(values.reshape(*mask.shape, -1)).all(axis=-1) & mask
    if broken.any():
        step, sequence = np.argwhere(broken)[0]
        told = f"{broken.any(axis=0).sum()} of {mask.shape[1]} sequences, first at step {step} of sequence {sequence}"
        raise SettingError(f"{name} is nan or infinite in {told}")


def _split(batch: Batch, fraction: Any, drawn: Any) -> tuple[Batch, Batch]:
    size = batch.inputs.shape[1]
    held = round(size * fraction) if 0 < fraction < 1 else 0
    if not 0 < held < size:
        told = "write a fraction between 0 and 1 that leaves some on both sides, or validation=(xs, ys)"
        raise SettingError(f"validation={fraction}: holds out {held} of {size} sequences; {told}")
    order = drawn(size)
    return _some(batch, np.sort(order[held:])), _some(batch, order[:held])


def _some(batch: Batch, which: np.ndarray) -> Batch:
    return jax.tree.map(lambda x: np.take(x, which, axis=min(x.ndim - 1, 1)), batch)


def _count(*parts: np.ndarray) -> int:
    return max(int(part.max()) for part in parts) + 1


def _shape(array: np.ndarray) -> list[int]:
    return list(array.shape)
