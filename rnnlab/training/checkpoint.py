"""Save and restore one training state. The only file that knows Orbax."""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree


class Checkpoints:
    """The newest few states of one training, each with what the host needs to resume from it.

    A checkpoint appears whole or not at all (it is written under another name and renamed). When it is read, a digest
    checks that its bytes are those that were written, which Orbax does not do.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self.folder = folder.absolute()
        self.keep = keep

    def save(self, step: int, state: PyTree, host: dict[str, Any]) -> None:
        """Writes the state as of `step`; older checkpoints beyond `keep` are deleted once it is on disk.

        Of processes that train together only the first writes.
        """
        if jax.process_index():
            return
        arrays = _arrays(state)
        folder = self.folder / f"{step:09d}"
        if folder.exists():  # a resumed run that had nothing left to do
            return
        for torn in self.folder.glob("*.orbax-checkpoint-tmp*"):  # what a kill during a save left
            shutil.rmtree(torn, ignore_errors=True)
        ocp = _orbax()
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(arrays), host=ocp.args.JsonSave(host | {"digest": _digest(arrays)})
        )
        try:
            with _checkpointer() as checkpointer:
                checkpointer.save(folder, items)
        except ValueError as error:  # how TensorStore reports that it could not write
            full = "No space left" in str(error) or "os_error_code='28'" in str(error)
            raise OSError(errno.ENOSPC if full else errno.EIO, str(error), str(folder)) from error
        for old in self.steps()[: -self.keep]:
            shutil.rmtree(self.folder / f"{old:09d}")

    def steps(self) -> list[int]:
        """The steps on disk, oldest first."""
        found = self.folder.glob("*") if self.folder.exists() else []
        return sorted(int(p.name) for p in found if p.name.isdigit())

    def restore(
        self, like: Callable[[Mapping[str, Any]], PyTree], report: Callable[[str], None], *, put_aside: bool = True
    ) -> tuple[PyTree, dict[str, Any]] | None:
        """The newest undamaged state and its host part; None where there is none.

        `like` gives a state of the same shapes, from the host part: how many trials a state holds is written there.
        A damaged one is reported, renamed to `NAME.damaged` (unless the caller only reads), and the one before it is
        taken.
        """
        for step in reversed(self.steps()):
            folder = self.folder / f"{step:09d}"
            try:
                return self._read(folder, like)
            except Exception as error:  # whatever a damaged file makes Orbax raise
                if put_aside:
                    other = folder.with_name(folder.name + ".damaged")
                    shutil.rmtree(other, ignore_errors=True)
                    folder.rename(other)
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                aside = ": put aside" if put_aside else ""
                report(f"checkpoint {folder} is damaged ({reason[:160]}){aside}; the one before it is tried")
        return None

    def _read(self, folder: Path, like: Callable[[Mapping[str, Any]], PyTree]):
        ocp = _orbax()
        with _checkpointer() as checkpointer:
            host = dict(checkpointer.restore(folder, ocp.args.Composite(host=ocp.args.JsonRestore()))["host"])
            wanted = like(host)
            arrays = _arrays(wanted)
            shapes = {name: jax.ShapeDtypeStruct(a.shape, a.dtype) for name, a in arrays.items()}
            found = checkpointer.restore(folder, ocp.args.Composite(state=ocp.args.StandardRestore(shapes)))["state"]
        restored = {name: np.asarray(found[name]) for name in arrays}
        if host.pop("digest") != _digest(restored):
            raise ValueError("its bytes are not those that were written")
        return jax.tree.unflatten(jax.tree.structure(wanted), list(restored.values())), host


def _orbax() -> Any:
    """Imported when something is saved or read: it takes a third of a second."""
    import orbax.checkpoint

    return orbax.checkpoint


def _checkpointer() -> Any:
    """Orbax's, of this process alone: where several train together, the others are not waited for."""
    ocp = _orbax()
    here = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=here, active_processes={here}, barrier_sync_key_prefix=f"process-{here}"
    )
    handler = ocp.CompositeCheckpointHandler(composite_options=ocp.CompositeOptions(multiprocessing_options=alone))
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _arrays(state: PyTree) -> dict[str, np.ndarray]:
    return {f"{i:04d}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
