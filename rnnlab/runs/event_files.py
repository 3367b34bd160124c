"""TensorBoard's event files, written without TensorFlow and resumed at the size that a checkpoint remembers."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Array, Num
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.image.metadata import create_summary_metadata as image_metadata
from tensorboard.plugins.scalar.metadata import create_summary_metadata as scalar_metadata
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto

from rnnlab.runs.files import Appended

Number = float | int | np.generic | np.ndarray | Array


class EventFile(Appended):
    """One TensorBoard event file, written without TensorFlow and without a thread: nothing shows before `flush`.

    TensorBoard expects one live file a folder (it does not go back to an earlier one), keeps the metadata of a tag's
    first record, and takes a file for append-only: one that was running when a trial resumed has to be restarted.
    """

    def __init__(self, path: Path, size: int = 0, describe: Callable[[str], str] = lambda tag: ""):
        """Keeps the first `size` bytes, as `flush` returned them; 0 starts anew. The name must contain "tfevents".

        `describe` says what a tag shows ("" says nothing): it goes with the tag's first record.

        Raises:
            ValueError: TensorBoard would ignore the name, or the file is missing or shorter than `size`.
        """
        if "tfevents" not in path.name:
            raise ValueError(f"{path}: TensorBoard reads only files named '...tfevents...', e.g. events.out.tfevents.0")
        super().__init__(path, size)
        self._records = RecordWriter(self._file)
        self._describe = describe
        self._known = {value.tag for event in _events(path) for value in event.summary.value} if size else set()
        if size == 0:
            # Version 2 keeps TensorBoard from dropping points whose step is lower than one already read, which is
            # what a curve over lag, written late in a run, looks like to it.
            self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def scalar(self, tag: str, value: Number, step: int) -> None:
        """Appends one number of any real type, bfloat16 included; TensorBoard stores it as float32."""
        self.scalars({tag: value}, step)

    def scalars(self, values: Mapping[str, Number], step: int) -> None:
        """Appends one number a tag, all at one step."""
        numbers = {tag: _number(tag, value) for tag, value in values.items()}
        found = [Summary.Value(tag=tag, simple_value=number) for tag, number in numbers.items()]
        for value in found:
            if text := self._first(value.tag):
                value.metadata.CopyFrom(scalar_metadata(None, text))
        self.summary(Summary(value=found), step)

    def image(self, tag: str, png: bytes, step: int) -> None:
        """Appends one picture, given as the bytes of a PNG file (else ValueError)."""
        if png[:8] != b"\x89PNG\r\n\x1a\n":
            raise ValueError(f"{tag}: not a PNG file: it starts with {png[:8]!r}")
        width, height = struct.unpack(">II", png[16:24])
        tensor = make_tensor_proto([str(width).encode(), str(height).encode(), png], dtype=np.object_)
        metadata = image_metadata(None, self._first(tag))
        self.summary(Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)]), step)

    def histogram(self, tag: str, values: Num[Array | np.ndarray, ...], step: int) -> None:
        """Appends the histogram of all finite elements of `values`, an array of any shape and real type."""
        numbers = np.asarray(values).astype(np.float64)
        self.summary(histogram_pb(tag, numbers[np.isfinite(numbers)], description=self._first(tag)), step)

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Appends a text, which TensorBoard shows as Markdown."""
        self.summary(text_pb(tag, markdown, description=self._first(tag)), step)

    def summary(self, summary: Summary, step: int) -> None:
        """Appends any summary, such as a dashboard layout or hyperparameters."""
        self._write(Event(wall_time=time.time(), step=int(step), summary=summary))

    def _first(self, tag: str) -> str | None:
        """The tag's description, on its first record."""
        text = "" if tag in self._known else self._describe(tag)
        self._known.add(tag)
        return text or None

    def _write(self, event: Event) -> None:
        self._records.write(event.SerializeToString())


def _events(path: Path) -> Iterator[Event]:
    """What an event file holds: records of a length (8 bytes), its checksum (4), an event, and its checksum (4)."""
    data = path.read_bytes()
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        yield Event.FromString(data[at + 12 : at + 12 + length])
        at += length + 16


def _number(tag: str, value: Number) -> float:
    array = np.asarray(value)
    if array.size != 1:
        raise ValueError(f"{tag}: a scalar is one number, not an array of shape {array.shape}")
    return float(array.reshape(()))
