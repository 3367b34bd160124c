"""Files that a killed run leaves whole: metrics as JSON lines, TensorBoard events, and single JSON documents.

`JsonLines` and `EventFile` only append. `flush()` forces what was written onto the disk and returns the size of the
file in bytes; a checkpoint stores that number, and a resumed run opens the file with it: whatever the dead run wrote
after its last checkpoint is cut off (a torn record among it), so no point is lost and none is there twice.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.specs.errors import UserError

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Damaged(UserError):
    """A file of a run is not what was written."""


class Appended:
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

    def size(self) -> int:
        """Bytes so far, those that are not on the disk yet among them."""
        return self._file.tell()

    def flush(self) -> int:
        """Forces everything onto the disk and returns the size in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Writes out what is buffered and closes the file."""
        self._file.close()


class JsonLines(Appended):
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
        return _loaded(path.read_bytes())
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
            records.append(_loaded(line))
        except ValueError as error:
            raise Damaged(f"{path}, line {number} is not JSON: {line[:80]!r}") from error
    return records


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


def _loaded(text: bytes) -> Any:
    """Most hold no such string, which takes as long to look for in values as all else."""
    value = json.loads(text)
    return _decode(value) if any(b'"%s"' % name.encode() in text for name in _NON_FINITE) else value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value
