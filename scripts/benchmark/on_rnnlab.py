"""rnnlab's LSTM as a worker: through `unroll`, laid out by rnnlab.training.layout as one trial of training is."""

from __future__ import annotations

import contextlib
import importlib.metadata
from unittest import mock

import calibrate
import growth
import jax
import jax.numpy as jnp
import linear
import numpy as np
import prediction
from flax import nnx
from worker import Job, serve

from rnnlab.cells import GRU, LSTM, LSTM1997, VanillaRNN
from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.flow import gradient_flow
from rnnlab.scan import lstm_kernel, product, projected
from rnnlab.scan.compiler import describe
from rnnlab.scan.processor import processor_name
from rnnlab.scan.unroll import choose_segment, hidden, unroll
from rnnlab.tasks import Adding, Adding1997
from rnnlab.training.canary import check_jax
from rnnlab.training.layout import (
    BATCH,
    Layout,
    describe_devices,
    layout,
    local_batch,
    map_trials,
    on_every_device,
    stack,
    use_every_core,
)
from rnnlab.training.spec import TrainSpec, TrialSpec
from rnnlab.training.state import initial_state
from rnnlab.training.updates import compile_windows, program_key

CELLS = {"LSTM": LSTM, "GRU": GRU, "VanillaRNN": VanillaRNN}
TRIALS, UPDATES = 8, 10
FAR = [8, 16384, 2, 64]  # the shape of the memory figures
FARTHEST = [1, 1_000_000, 2, 64]  # and of a flow profile's


def _cell(shape: list[int]):
    return LSTM(features=shape[3]).build(shape[2], rngs=nnx.Rngs(0))


def _model(shape: list[int]) -> SequenceModel:
    return SequenceModel(LSTM(features=shape[3]), shape[2], 1, rngs=nnx.Rngs(0))


def _losses(outputs):
    return jnp.sum(outputs**2, axis=(0, 2))


def _spread(trial, shape: list[int], build=_cell, where: Layout | None = None) -> Job:
    """`trial(what build makes, this device's part of the inputs)`, averaged over the devices."""
    batch, length, inputs, _ = shape
    xs = jax.random.normal(jax.random.key(1), (length, batch, inputs))
    built = build(shape)
    layers = getattr(built, "cells", built)
    weights = max(sum(leaf.nbytes for leaf in jax.tree.leaves(layer))
                  for layer in (layers if isinstance(layers, nnx.List) else [layers]))  # fmt: skip
    where = where or layout(1, batch, weights=weights)
    run = map_trials(lambda cell: jax.lax.pmean(trial(cell, local_batch(xs, axis=1)), BATCH), where)
    cells = on_every_device(stack([built]), where)  # as a trial's weights are from one window to the next
    return Job(lambda: jax.block_until_ready(run(cells)))


def _loss(cell, xs, taps=None, segment=None):
    _, ys = unroll(cell, cell.initialize_carry(xs.shape[1:]), xs, taps=taps, segment=segment)
    return jnp.mean(ys**2)


def _network(shape: list[int], cell: str, layers: int, lengths: list[int] | None, dtype: str = "float32"):
    """How to build such layers, and their loss on this device's part of the batch."""

    def build(shape):
        widths = [shape[2], *[shape[3]] * (layers - 1)]
        rngs = nnx.Rngs(0)
        spec = CELLS[cell](features=shape[3], dtype=dtype, param_dtype=dtype)
        return nnx.List([spec.build(width, rngs=rngs) for width in widths])

    def loss(cells, xs, segment=None):
        here = None if lengths is None else local_batch(jnp.array(lengths), axis=0)
        for each in cells:
            _, xs = unroll(each, each.initialize_carry(xs.shape[1:]), xs, segment=segment, lengths=here)
        return jnp.mean(xs**2)

    return build, loss


def forward(shape: list[int], cell: str = "LSTM", layers: int = 1, lengths: list[int] | None = None) -> Job:
    build, loss = _network(shape, cell, layers, lengths)
    return _spread(loss, shape, build)


def gradient(
    shape: list[int],
    cell: str = "LSTM",
    layers: int = 1,
    lengths: list[int] | None = None,
    segment: int | None = None,
) -> Job:
    build, loss = _network(shape, cell, layers, lengths)
    return _spread(lambda cells, xs: jax.grad(loss)(cells, xs, segment), shape, build)


def formed(shape: list[int], cell: str, gradient: bool, form: str, devices: int) -> Job:
    """The same compiled from C++, or with the weights as right or left factor of a step's products, the batch over so
    many devices."""
    build, loss = _network(shape, cell, 1, None)
    with contextlib.ExitStack() as form_chosen:
        if form == "compiled":
            form_chosen.enter_context(mock.patch.object(lstm_kernel, "WIDE", 2**60))
        else:
            form_chosen.enter_context(mock.patch.object(projected, "runs_compiled", lambda *_: False))
            form_chosen.enter_context(mock.patch.multiple(product, LARGE=0 if form == "left" else 2**60, FEW=1))
        job = _spread(jax.grad(loss) if gradient else loss, shape, build, Layout(1, 1, "mapped", devices))
        job.run()  # traced while the form is this one
    return job


def tapped(shape: list[int]) -> Job:
    """The gradient and every adjoint's norm, averaged over the batch as training does."""

    def trial(cell, xs):
        taps = (jnp.zeros(xs.shape[:2]),) * 2
        gradient, norms = jax.grad(_loss, argnums=(0, 2))(cell, xs, taps)
        return gradient, jax.tree.map(lambda norm: jnp.mean(norm, axis=1), norms)

    return _spread(trial, shape)


def answer(shape: list[int]) -> Job:
    """The gradient of a loss at the last step of a whole model."""
    return _spread(jax.grad(lambda model, xs: jnp.mean(_losses(model(xs, answers=1)))), shape, _model)


def flow(shape: list[int]) -> Job:
    """The same loss's flow profile: log-norms of dL/dh_t and dL/dc_t at every lag, in full and along the cell path."""

    def profile(model, xs):
        norms = gradient_flow(model, xs, _losses)
        return {name: jnp.mean(jnp.log2(n.mantissa) + n.exponent, axis=1) for name, n in norms.items()}

    return _spread(profile, shape, _model)


def plain(shape: list[int]) -> Job:
    """The gradient by `jax.lax.scan`, in the same layout: what the engine is worth."""

    def loss(cell, xs):
        return jnp.mean(jax.lax.scan(cell, cell.initialize_carry(xs.shape[1:]), xs)[1] ** 2)

    return _spread(lambda cell, xs: jax.grad(loss)(cell, xs), shape)


def layouts() -> dict[str, Layout]:
    """Ways to run TRIALS trials of batch 32."""
    devices = jax.device_count()
    return {
        "one after another, on one device": Layout(1, 1, "mapped", 1),
        "one after another, batch over devices": layout(TRIALS, 32, "sequential"),
        "mapped, one a device at a time": layout(TRIALS, 32, "mapped"),
        "mapped, all in one call": Layout(devices, TRIALS // devices, "mapped", 1),
        "batched": layout(TRIALS, 32, "batched"),
    }


def trials(way: str) -> Job:
    """UPDATES updates of TRIALS trials of a modern LSTM on Adding, laid out in one of these ways."""
    where = layouts()[way]
    train = TrainSpec(steps=UPDATES, window=UPDATES, batch_size=32, eval_size=32, stop_when_solved=False)
    spec = TrialSpec(cell=LSTM(features=64), task=Adding(length=200), train=train)
    run = compile_windows(program_key(spec), where)
    state = stack([jax.device_get(initial_state(spec, 0))] * where.trials_at_once)
    calls = range(TRIALS // where.trials_at_once)
    return Job(lambda: jax.block_until_ready([run(state) for _ in calls]))


def online(length: int, sequences: int) -> Job:
    """Ten trials of the 1997 adding net, so many sequences each, an update a sequence."""
    where = Layout(jax.device_count(), 10 // jax.device_count(), "mapped", 1)
    train = TrainSpec(optimizer="sgd", batch_size=1, learning_rate=0.5, clip_norm=None, streak=2000, eval_size=8,
                      window=sequences, steps=10**9)  # fmt: skip
    cell = LSTM1997(features=4, input_biases=(-3.0, -6.0), biased="input gates", gradient="truncated")
    task = Adding1997(length=length, varied=0.0, loss="entropy")
    spec = TrialSpec(cell=cell, task=task, train=train)
    run = compile_windows(program_key(spec), where)
    state = stack([jax.device_get(initial_state(spec, seed)) for seed in range(where.trials_at_once)])
    return Job(lambda: jax.block_until_ready(run(state)))


def segments(shape: list[int]) -> dict[str, int]:
    """rnnlab's own segment for this shape on one device, and on how many devices its batch is spread."""
    batch, length, _, features = shape
    parts = calibrate.devices_of(shape)
    return {"own": choose_segment(length, (batch // parts, features)), "devices": parts}


def flow_memory() -> float:
    """XLA's memory in MiB for a flow profile over 1,000,000 steps, results included, on one device."""
    batch, length, inputs, _ = FARTHEST
    probe = jax.jit(lambda model, xs: gradient_flow(model, xs, _losses))
    compiled = probe.lower(_model(FARTHEST), jax.ShapeDtypeStruct((length, batch, inputs), jnp.float32)).compile()
    found = compiled.memory_analysis()
    return (found.temp_size_in_bytes + found.output_size_in_bytes) / 2**20


def memory() -> dict[str, float]:
    """XLA's temporary memory in MiB for a loss at the last step, on one device."""
    batch, length, inputs, _ = FAR
    xs = jnp.zeros((length, batch, inputs))

    def scan(cell, xs):
        return jnp.mean(hidden(jax.lax.scan(cell, cell.initialize_carry(xs.shape[1:]), xs)[0]) ** 2)

    def segmented(cell, xs, segment=None):
        return jnp.mean(hidden(unroll(cell, cell.initialize_carry(xs.shape[1:]), xs, segment=segment)[0]) ** 2)

    def mebibytes(loss, *static):
        compiled = jax.jit(jax.grad(lambda cell, xs: loss(cell, xs, *static))).lower(_cell(FAR), xs).compile()
        return compiled.memory_analysis().temp_size_in_bytes / 2**20

    own = choose_segment(length, (batch, FAR[3]))
    return {"jax.lax.scan": mebibytes(scan), "all stored": mebibytes(segmented, length)} | {
        f"segments of {n}" + " (rnnlab's own)" * (n == own): mebibytes(segmented, n) for n in sorted({own, 64, 128})
    }


def correct() -> dict[str, float]:
    """By cell: the largest difference of float32 gradients on this device from those in float64 on the CPU, over the
    largest gradient; matrix products at JAX's highest precision."""

    def gradient(cell: str, xs, weights=None):
        build, loss = _network([*xs.shape[1::-1], xs.shape[2], 64], cell, 2, [150, 100, 7, 1], str(xs.dtype))
        cells = build([*xs.shape[1::-1], xs.shape[2], 64])
        if weights is not None:
            cells = jax.tree.unflatten(jax.tree.structure(cells), [w.astype(xs.dtype) for w in weights])
        return jax.tree.leaves(jax.jit(jax.grad(loss))(cells, xs)), jax.device_get(jax.tree.leaves(cells))

    found, drawn = {}, np.random.default_rng(0).standard_normal((150, 4, 8))
    for cell in CELLS:
        with jax.default_matmul_precision("highest"):
            ours, weights = gradient(cell, jnp.asarray(drawn, jnp.float32))
        with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
            exact, _ = gradient(cell, jnp.asarray(drawn, jnp.float64), weights)
        largest = max(float(np.abs(np.asarray(d)).max()) for d in exact)
        found[cell] = max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in zip(ours, exact, strict=True))
        found[cell] /= largest
    return found


def about() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "numpy")}
    return versions | {"devices": describe_devices(), "LSTM": describe(lstm_kernel.SOURCE)}


def canary() -> str:
    return check_jax() or "right"


if __name__ == "__main__":
    word = use_every_core()
    assert word is None, word
    jobs = {"forward": forward, "gradient": gradient, "tapped": tapped, "plain": plain, "answer": answer, "flow": flow}
    jobs |= {"formed": formed, "trials": trials, "online": online} | calibrate.JOBS | linear.JOBS
    words = {
        "about": about,
        "processor": processor_name,
        "canary": canary,
        "segments": segments,
        "memory": memory,
        "flow memory": flow_memory,
    }
    words |= {
        "correct": correct,
        "growth": growth.growth,
        "sizes": lambda: growth.SIZES,
        "prediction": prediction.prediction,
    }
    serve(jobs, words | {"layouts": lambda: list(layouts()), "constants": calibrate.constants})
