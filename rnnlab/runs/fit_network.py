"""Train one network from Python: a trial as an experiment would run it, or a network on arrays of one's own."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import chz
import jax
import numpy as np

from rnnlab.cells import CellSpec
from rnnlab.model import SequenceModel
from rnnlab.runs.console import Screen
from rnnlab.runs.own_arrays import as_task
from rnnlab.runs.progress import Progress
from rnnlab.runs.trained import Trained, describe, snapshots
from rnnlab.settings.errors import SettingError, nearest_path
from rnnlab.training import loop
from rnnlab.training.arrays import Arrays, windows_on
from rnnlab.training.background import start, wait
from rnnlab.training.layout import Layout, layout, stack, unstack, use_every_core
from rnnlab.training.spec import TrainSpec, TrialSpec, needs_float64
from rnnlab.training.state import DIVERGED, STALE, TrainState, first_state, initial_state, outcome
from rnnlab.training.updates import Program, compile_windows, program_key

EVALUATED, WINDOW = 1024, 500  # with arrays: held-out sequences an evaluation, and updates between two, at most
COPIED = 2**28  # bytes of arrays above which a CPU's cores do not get a copy each


def fit(
    what: Any,
    *,
    data: Any = None,
    lengths: Any = None,
    validation: Any = None,
    epochs: int | float | None = None,
    seed: int = 0,
    quiet: bool = False,
    **settings: Any,
) -> Trained:
    """Trains one network: `fit(TrialSpec(...))`, or `fit(LSTM(features=64), data=(xs, ys), epochs=20)`.

    Args:
      what: a TrialSpec; or with `data` a cell's spec (a model of one layer is built), a TrialSpec whose task the data
        replaces, or a SequenceModel, which is left as it is.
      data: (xs, ys). Inputs xs are numbers [T, B, D], time first, or tokens [T, B] as integers. Targets ys are
        classes as integers, for the cross-entropy: [B] for one answer at the end of each sequence, or [N, B] at its
        last N steps; or numbers, for the squared error: [B], [B, K] or [N, B, K].
      lengths: [B], steps of each sequence; what lies behind its end counts for nothing.
      validation: the fraction of sequences to hold out, .2 left out, which `seed` draws; or (xs, ys), or (xs, ys,
        lengths), of others.
      epochs: in place of `steps`: how often each sequence is seen.
      seed: of weights, batches and what is held out.
      quiet: say nothing.
      **settings: any of TrainSpec's, as learning_rate=1e-3, optimizer="adamw", steps=5000 or patience=10, which ends
        the training after 10 evaluations without a lower held-out loss. With data, an evaluation comes once an epoch
        (500 updates at most) and is of all held-out sequences (1,024 at most), unless `window` or `eval_size` says
        otherwise.

    Returns:
      The network at its lowest held-out loss; `.end` is that at the end, `.history` the curves.

    An interrupt (Ctrl-C, a notebook's stop button) ends the training, and what was trained so far is returned, its
    outcome `interrupted`; before the first evaluation there is nothing to return, and KeyboardInterrupt goes on.

    Raises:
      SettingError: something cannot be trained as given; one line names it and the nearest right answer.
    """
    use_every_core()
    for name, value, kind in (("seed", seed, int), ("epochs", epochs, int | float | None)):
        if isinstance(value, bool) or not isinstance(value, kind) or (value is not None and value < 0):
            raise SettingError(f"{name}={value!r:.40}: a {'whole ' * (kind is int)}number from 0 is needed")
    spec = _as_spec(what, data)
    train = _with_settings(spec.train, settings)
    model = what if isinstance(what, SequenceModel) else None
    wide = needs_float64(spec) if model is None else any(leaf.dtype == np.float64 for leaf in jax.tree.leaves(model))
    if data is None:
        for name, value in {"lengths": lengths, "validation": validation, "epochs": epochs}.items():
            if value is not None:
                raise SettingError(f"{name}={value!r:.40}: goes with data=(xs, ys)")
    else:
        task = as_task(data, lengths, validation, seed, model, np.float64 if wide else np.float32)
        usual = TrainSpec()
        given = {name for name in chz.chz_fields(TrainSpec) if getattr(train, name) != getattr(usual, name)}
        train = _for_arrays(task, train, epochs, given | set(settings))
    if not train.steps:
        raise SettingError(f"steps={train.steps}: nothing is trained")
    shape = {} if model is None else {"bidirectional": model.bidirectional}  # what a training asks of a model
    spec = _replaced(spec, train=train, **shape) if data is None else _replaced(spec, task=task, train=train, **shape)
    with jax.enable_x64(wide):
        first = initial_state(spec, seed) if model is None else first_state(train, model, seed)
        trained = _run(spec, first, Screen(quiet=quiet))
    if wide:  # for good: whoever trained the network uses it
        jax.config.update("jax_enable_x64", True)
    return dataclasses.replace(trained, spec=None if model is not None else spec)


def _as_spec(what: Any, data: Any) -> TrialSpec:
    if isinstance(what, TrialSpec):
        return what
    if isinstance(what, CellSpec | SequenceModel):
        if data is None:
            raise SettingError(f"{type(what).__name__}: what is it trained on? Give data=(xs, ys), or a TrialSpec")
        return TrialSpec(cell=what) if isinstance(what, CellSpec) else TrialSpec()
    got = f"{what.__name__} is a class; write {what.__name__}()" if isinstance(what, type) else f"{type(what).__name__}"
    raise SettingError(f"fit: {got}, where a TrialSpec, a cell's spec or a SequenceModel is needed")


def _with_settings(train: TrainSpec, settings: dict[str, Any]) -> TrainSpec:
    known = [f"train.{name}" for name in chz.chz_fields(TrainSpec)]
    for name, value in settings.items():
        if f"train.{name}" not in known:
            own = [f"train.{name}" for name in ("data", "lengths", "validation", "epochs", "seed", "quiet")]
            hint = nearest_path(f"train.{name}", [*own, *known]).replace("train.", "")
            raise SettingError(f"{name}={value!r:.40}: no such setting{hint}")
    return _replaced(train, **settings)


def _replaced(spec: Any, **values: Any) -> Any:
    try:
        return chz.replace(spec, **values)
    except TypeError as error:  # a comparison's, of a value that is no number
        wrong = next((f"{name}={value!r:.40}" for name, value in values.items() if isinstance(value, str)), values)
        raise SettingError(f"{wrong}: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise SettingError(" ".join(str(error).split())) from error


def _for_arrays(task: Arrays, train: TrainSpec, epochs: int | float | None, given: set[str]) -> TrainSpec:
    """The training with its defaults made for these arrays."""
    (size, held), asked = (part.inputs.shape[1] for part in (task.training, task.validation)), {}
    for name in ("streak", "floss"):
        if getattr(train, name):
            raise SettingError(
                f"{name}={getattr(train, name)}: goes with a task that draws its sequences, not with data"
            )
    if "eval_size" in given and train.eval_size > held:
        raise SettingError(f"eval_size={train.eval_size}: {held} sequences are held out")
    batch_size = train.batch_size if "batch_size" in given else min(train.batch_size, size)
    asked["batch_size"] = batch_size
    if "eval_size" not in given:
        asked["eval_size"] = min(held, EVALUATED)
    updates = task.length // train.truncation if train.truncation else 1  # of a batch
    if "window" not in given:
        asked["window"] = min(math.ceil(size / batch_size) * updates, WINDOW)
    if epochs is not None:
        if "steps" in given or not epochs > 0:
            raise SettingError(f"epochs={epochs}: a number above 0, and then no steps")
        asked["steps"] = math.ceil(epochs * size / batch_size) * updates
    return _replaced(train, **asked)


def _outcome(spec: TrialSpec, state: TrainState) -> str:
    if isinstance(spec.task, Arrays) and state.status != DIVERGED:  # which has no stop rule of its own
        return "stopped early" if state.status == STALE else "ended"
    return outcome(int(state.status), int(state.learned))


def _program(spec: TrialSpec, first: TrainState, where: Layout) -> Program:
    if isinstance(spec.task, Arrays):
        return windows_on(spec.task, spec.train, first, where)
    return compile_windows(program_key(spec), where)


def _run(spec: TrialSpec, first: TrainState, console: Screen) -> Trained:
    """The training of one trial from its first state."""
    where = layout(1, spec.train.batch_size, weights=spec.layer_bytes)
    if isinstance(spec.task, Arrays) and spec.task.training.inputs.nbytes > COPIED:
        where = where.whole_batches()
    name = describe(first.model, spec.task)
    progress = Progress(console, {name: 1})
    records: list[dict[str, Any]] = []
    latest: list[Any] = [0, None]  # how many records there are, and the state after them
    how, first = None, jax.device_get(first)
    progress.begin(name, 1, spec.train.steps)

    def on_record(record, state):
        records.append({name: found[0] for name, found in record.items() if name == "step" or "/" in name})
        latest[:] = len(records), state
        progress.window(int(record["ran"][0]), [float(record["eval/loss"][0])])

    try:
        program = wait(start(_program, spec, first, where), lambda: False)
        loop.fit(spec, program, stack([first]), on_record=on_record, on_checkpoint=lambda state: None)
    except KeyboardInterrupt:
        if not latest[0]:
            raise
        how = "interrupted"
    finally:
        progress.stop()
    known, state = latest[0], unstack(jax.device_get(latest[1]), 0)
    history = {name: np.asarray([record[name] for record in records[:known]]) for name in records[0]}
    end, best = snapshots(state, history)
    trained = Trained(
        spec.task, spec.train, spec, int(state.seed), how or _outcome(spec, state), end, best, "best", history
    )
    progress.say(repr(trained)[1:-1].removeprefix("Trained "))
    return trained
