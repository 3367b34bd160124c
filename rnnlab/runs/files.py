"""Files that a killed run leaves whole: metrics as JSON lines, TensorBoard events, and single JSON documents.

`JsonLines` and `EventFile` only append. `flush()` forces what was written onto the disk and returns the size of the
file in bytes; a checkpoint stores that number, and a resumed run opens the file with it: whatever the dead run wrote
after its last checkpoint is cut off (a torn record among it), so no point is lost and none is there twice.
"""

from __future__ import annotations

import json
import math
import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

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

from rnnlab.specs.errors import UserError

Number = float | int | np.generic | np.ndarray | Array
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Damaged(UserError):
    """A file of a run is not what was written."""


class _Appended:
    """A file cut back to its first `size` bytes and appended to; its folder is made."""

    def __init__(self, path: Path, size: int):
        found = path.stat().st_size if path.exists() else None
        if size > (found or 0):
            state = "is missing" if found is None else f"holds {found} bytes"
            raise Damaged(
                f"{path} {state}, but the checkpoint needs its first {size} bytes: resume in the folder "
                "that wrote the checkpoint, with its files complete"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "ab")  # noqa: SIM115 (it stays open as long as the run)
        self._file.truncate(size)
        self._file.seek(0, os.SEEK_END)

    def flush(self) -> int:
        """Forces everything onto the disk and returns the size in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Writes out what is buffered and closes the file."""
        self._file.close()


class JsonLines(_Appended):
    """One JSON object a line, e.g. `metrics.jsonl`."""

    def __init__(self, path: Path, size: int = 0):
        """Keeps the first `size` bytes, as `flush` returned them; 0 starts anew.

        Raises:
            ValueError: the file is missing or shorter than `size`.
        """
        super().__init__(path, size)

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends one record; NumPy's and JAX's scalars and arrays are accepted (else TypeError, nothing written)."""
        self._file.write(_encode(record, indent=None))


class EventFile(_Appended):
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


def write_json(path: Path, value: Any) -> None:
    """Replaces `path` by one JSON document, whole: a value that JSON cannot hold (TypeError) leaves it as it was."""
    write_whole(path, _encode(value, indent=1))


def write_line(path: Path, value: Any) -> None:
    """`write_json`, on one line: smaller where there are many numbers."""
    write_whole(path, _encode(value, indent=None))


def write_whole(path: Path, data: bytes) -> None:
    """Replaces `path`, making its folder: a reader, or a kill, finds the old file or the new, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(new, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """What `write_json` wrote; the strings "nan", "inf" and "-inf" are numbers again."""
    try:
        return _decode(json.loads(path.read_bytes()))
    except ValueError as error:
        raise Damaged(f"{path}: damaged ({error})") from error


def as_read(value: Any) -> Any:
    """A value as it would be read back."""
    return _decode(_strict(value, ""))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The records that `JsonLines` wrote, without the torn last line (no newline) that a killed run may leave."""
    records = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            records.append(_decode(json.loads(line)))
        except ValueError as error:
            raise Damaged(f"{path}, line {number} is not JSON: {line[:80]!r}") from error
    return records


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


def _encode(value: Any, indent: int | None) -> bytes:
    return json.dumps(_strict(value, ""), indent=indent, allow_nan=False, ensure_ascii=False).encode() + b"\n"


def _strict(value: Any, where: str) -> Any:
    """`value` in JSON's own types; `where` is its dotted path, for the error."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"{where or 'record'}: a key in JSON is a string, not {odd[0]!r}")
        return {key: _strict(item, f"{where}.{key}" if where else key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if hasattr(value, "dtype") and not hasattr(plain := np.asarray(value).tolist(), "dtype"):
        return _strict(plain, where)
    raise TypeError(f"{where or 'record'}: JSON cannot hold {value!r}, a {type(value).__name__}")


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value
