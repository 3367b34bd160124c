"""Trials that share a program: from the first measurement of each to its place in the ledger."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from rnnlab.runs.ledger import Ledger, Trial
from rnnlab.runs.measure import Measured, Probe, guessing, measure, own_measurements, own_probes, plain, thin
from rnnlab.runs.progress import Progress
from rnnlab.runs.recorder import Recorder
from rnnlab.runs.trial_result import trial_result
from rnnlab.training.background import Interrupted, start, wait
from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.layout import Layout, replace, stack, unstack
from rnnlab.training.loop import fit
from rnnlab.training.state import SOLVED, TrainState, initial_state, kept_network, unfinished
from rnnlab.training.updates import blank_state, compile_windows, program_key


class UnderWay(NamedTuple):
    """A trial in an entry of the batch."""

    trial: Trial
    recorder: Recorder
    first: dict[str, Any]  # what was measured at its beginning
    token: str  # of that beginning

    def known(self, marks: dict[str, int] | None = None) -> dict[str, Any]:
        """What a checkpoint holds of it besides its state; `marks`: sizes of its files that it goes back to."""
        named = {"arm": self.trial.arm, "seed": self.trial.seed, "token": self.token, "first": self.first}
        return named | {"sizes": self.recorder.sizes() | (marks or {})}


class Group:
    """The trials that are still to be run of one program, some of them in its entries at a time.

    Args:
      name: the group's, for its checkpoints and for what is said of it.
      pending: the trials to run, in order.
      ledger: where those that have ended go, and their files stand.
      domains: the settings that differ between arms, for TensorBoard.
      where: the program's layout; its entries are what is held at a time.
      probes: an experiment's own probes, run before training, after it and every `probe_every` updates.
      stopping: becomes true when the run is to stop.
    """

    def __init__(
        self,
        name: str,
        pending: Sequence[Trial],
        ledger: Ledger,
        domains: Mapping[str, Sequence],
        where: Layout,
        probes: tuple[tuple[str, Probe], ...],
        progress: Progress,
        stopping: Callable[[], bool],
    ):
        self.spec = pending[0].spec  # what all of them have in common is read from it
        self._pending = list(pending)
        self._ledger, self._domains, self._where = ledger, domains, where
        self._progress, self._stopping = progress, stopping
        self._own = own_probes(self.spec.task, self.spec.flow, probes, where) if probes else None
        self._checkpoints = Checkpoints(ledger.folder.checkpoints(name))
        self._entries: list[UnderWay | None] = [None] * where.trials_at_once
        self._waiting: list[tuple[UnderWay, TrainState]] = []  # begun where there were more entries
        self._updates = 0
        self._marks: list[dict[str, int]] | None = None  # sizes before a window whose recording was interrupted
        self._since = time.monotonic()
        progress.begin(name, len(pending), self.spec.train.steps)

    def run(self) -> None:
        """Runs every trial to its end. Raises Interrupted when `stopping()`, after saving."""
        try:
            self._run()
        finally:
            for under_way in [*filter(None, self._entries), *(under_way for under_way, _ in self._waiting)]:
                under_way.recorder.close()

    def _run(self) -> None:
        train = self.spec.train
        key = program_key(self.spec)
        program = start(compile_windows, key, self._where) if train.steps else None  # meanwhile probes run
        blank = blank_state(key)
        self._restore(blank)
        state = stack([blank._replace(status=np.int32(SOLVED))] * self._where.trials_at_once)
        while (ended := self._ended(state)) or (fresh := self._refill()):
            state = replace(state, {} if ended else fresh)
            self._finish(state, ended)
        if program and any(self._entries):
            fit(
                self.spec,
                self._wait(program),
                state,
                on_record=self._on_record,
                on_checkpoint=self._on_checkpoint,
                refill=self._refill,
                stopping=self._stopping,
            )
        shutil.rmtree(self._checkpoints.folder, ignore_errors=True)

    def _wait(self, future):
        return wait(future, self._stopping)

    def _restore(self, blank: TrainState) -> None:
        """What a checkpoint holds waits for an entry, but for trials that others have or that have ended.

        It may have been saved on more devices than there are, or on fewer: each trial's state is its own.
        """
        found = self._checkpoints.restore(lambda host: stack([blank] * len(host["slots"])), self._progress.warn)
        if found is None:
            return
        states, host = found
        self._updates = host["updates"]
        mine = {(trial.arm, trial.seed): trial for trial in self._pending}
        for entry, known in enumerate(host["slots"]):
            trial = known and mine.get((known["arm"], known["seed"]))
            if trial and known["token"] == self._ledger.begun(trial) and self._ledger.claim(trial):
                self._pending.remove(trial)
                state = unstack(states, entry)
                recorder = self._recorder(trial, states, known["sizes"])
                self._waiting.append((UnderWay(trial, recorder, known["first"], known["token"]), state))
        if resumed := [f"{u.trial} from update {state.step}" for u, state in self._waiting]:
            self._progress.say(f"  resuming: {'; '.join(resumed)}")
            self._progress.resume(sum(int(state.step) for _, state in self._waiting))

    def _recorder(self, trial, state, sizes=None):
        components = [plain(part, trial.spec.layers) for part in jax.tree.leaves(state.model.names()[-1])]
        return Recorder(self._ledger, trial, components, self._domains, sizes)

    def _occupied(self) -> list[tuple[int, UnderWay]]:
        return [(entry, under_way) for entry, under_way in enumerate(self._entries) if under_way]

    def _ended(self, state: TrainState) -> list[int]:
        under_way = unfinished(self.spec, np.asarray(state.status), np.asarray(state.step))
        return [entry for entry, _ in self._occupied() if not under_way[entry]]

    def _refill(self) -> dict[int, TrainState]:
        """States for the trials that take the free entries: those that wait, then new ones."""
        free = [entry for entry, under_way in enumerate(self._entries) if not under_way]
        resumed = dict(zip(free, self._waiting, strict=False))
        fresh = self._begin(free[len(resumed) :])
        self._waiting = self._waiting[len(resumed) :]
        for entry, (under_way, _) in resumed.items():
            self._entries[entry] = under_way
        return {entry: state for entry, (_, state) in resumed.items()} | fresh

    def _begin(self, free: Sequence[int]) -> dict[int, TrainState]:
        """States of new trials for these entries, each measured at its beginning."""
        taken: dict[int, Trial] = {}
        while self._pending and len(taken) < len(free):
            trial = self._pending.pop(0)
            if self._ledger.claim(trial):
                taken[free[len(taken)]] = trial
        if not taken:
            return {}
        if again := [str(trial) for trial in taken.values() if self._ledger.begun(trial)]:
            told = "begun before, but in no checkpoint: it starts over"
            self._progress.say(f"  {'; '.join(again)}: {told}")
        draw = start(lambda: {s: jax.device_get(initial_state(t.spec, t.seed)) for s, t in taken.items()})
        fresh = self._wait(draw)
        try:
            self._measure_first(taken, self._filled(fresh))
        except Interrupted:  # what is saved now knows nothing of them
            for entry in taken:
                if under_way := self._entries[entry]:
                    under_way.recorder.close()
                    self._entries[entry] = None
            raise
        return fresh

    def _measure_first(self, taken: Mapping[int, Trial], states: TrainState) -> None:
        """What is measured of new trials before their first update."""
        for entry, first in zip(taken, self._measure(states, list(taken)), strict=True):
            trial = taken[entry]
            profiles = first.profiles()
            known = {"reach": first.reach(self.spec.flow.fraction), "thin": thin(profiles)}
            known["not_finite"] = first.not_finite()
            self._ledger.keep_flow(trial, "init", first.logs)
            token = self._ledger.begin(trial)
            self._entries[entry] = UnderWay(trial, self._recorder(trial, states), known, token)
            self._entries[entry].recorder.gates(0, first.gates)
        self._probe(states, list(taken))
        if self.spec.train.steps and self.spec.task.has_stop_rule:  # a baseline of what is learned
            guessed = self._wait(start(guessing, self.spec, self._where, states, list(taken)))
            for entry, found in zip(taken, guessed, strict=True):
                self._entries[entry].first["guessing"] = found

    def _filled(self, states: dict[int, TrainState]) -> TrainState:
        """As many states as there are entries, some of them twice."""
        any_ = next(iter(states.values()))
        return stack([states.get(entry, any_) for entry in range(self._where.trials_at_once)])

    def _measure(self, states: TrainState, chosen: Sequence[int]) -> list[Measured]:
        return self._wait(start(measure, self.spec, self._where, states, chosen))

    def _probe(self, states: TrainState, chosen: Sequence[int]) -> None:
        """The experiment's own probes of the trials in the chosen entries."""
        if self._own and chosen:
            found = self._wait(start(own_measurements, self._own, states, chosen))
            for entry, values in zip(chosen, found, strict=True):
                self._entries[entry].recorder.probes(int(states.step[entry]), values)

    def _on_record(self, record: Mapping[str, Any], state: TrainState) -> None:
        updates, marks = self._updates, [under_way and under_way.recorder.marks() for under_way in self._entries]
        try:
            self._take(record, state)
        except Interrupted:  # the state before it is saved, and what was written since is cut off
            self._updates, self._marks = updates, marks
            raise

    def _take(self, record: Mapping[str, Any], state: TrainState) -> None:
        """Records a window, probes where that is due, and finishes the trials that have ended."""
        seconds, self._since = max(time.monotonic() - self._since, 1e-9), time.monotonic()
        ran = record["ran"]
        self._updates += int(ran.sum())
        active = [(entry, under_way) for entry, under_way in self._occupied() if ran[entry]]
        for entry, under_way in active:
            under_way.recorder.record(unstack(record, entry), seconds / len(active), int(ran.sum()) / seconds)
        self._progress.window(int(ran.sum()), [float(record["eval/loss"][entry]) for entry, _ in active])
        every = self.spec.probe_every or self.spec.train.steps + 1
        self._probe(state, [s for s, _ in active if record["step"][s] // every > (record["step"][s] - ran[s]) // every])
        self._finish(state, self._ended(state))

    def _on_checkpoint(self, state: TrainState) -> None:
        marks = self._marks or [None] * len(self._entries)
        entries = [under_way and under_way.known(sizes) for under_way, sizes in zip(self._entries, marks, strict=True)]
        if self._waiting:
            entries += [under_way.known() for under_way, _ in self._waiting]
            waiting = stack([jax.device_get(own) for _, own in self._waiting])
            state = jax.tree.map(lambda *parts: np.concatenate(parts), jax.device_get(state), waiting)
        self._checkpoints.save(self._updates, state, {"updates": self._updates, "slots": entries})

    def _finish(self, state: TrainState, ended: Sequence[int]) -> None:
        """Measures the trials in these entries for the last time, and enters them in the ledger."""
        if not ended:
            return
        state = jax.device_get(state)
        kept = kept_network(self.spec.train, state)
        trained = self._measure(kept, ended) if self.spec.train.steps else [None] * len(ended)
        known = {entry: {r["step"] for r in self._lines(entry, "probes")["probes"]} for entry in ended}
        due = [entry for entry in ended if kept is not state or int(state.step[entry]) not in known[entry]]
        self._probe(kept, due)
        for entry, last in zip(ended, trained, strict=True):
            trial, recorder, first, _ = self._entries[entry]
            step, status = int(state.step[entry]), int(state.status[entry])
            if last:
                self._ledger.keep_flow(trial, "trained", last.logs)
                recorder.gates(step, last.gates)
            own, lines = unstack(state, entry), self._lines(entry, "metrics", "probes")
            records = lines["metrics"]
            result = trial_result(trial, own, records, lines["probes"], first, last)
            recorder.end(records, status, result["reach"]["trained"]["h"]["horizon"], self._progress.warn)
            recorder.close()
            self._ledger.last_state(trial).save(step, own, {"best": True})
            self._ledger.finish(trial, result)
            self._ledger.release(trial)
            self._entries[entry] = None
            self._progress.finished(result, trial.spec.train.steps - step)

    def _lines(self, entry, *kinds):
        """A trial's records so far, brought to the disk once for all kinds."""
        self._entries[entry].recorder.sizes()
        return {kind: self._ledger.lines(self._entries[entry].trial, kind) for kind in kinds}
