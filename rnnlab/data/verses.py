"""Verse-aligned Bibles as a file of pairs: `python -m rnnlab.data.verses KJV.deb SPARV.deb --out=verses.tsv`.

Reads modules of the SWORD project in their compressed form (zText), as Debian ships them. `apt-get download
sword-text-kjv sword-text-sparv` brings an English one of 1769 and a Spanish one of 1909, both in the public domain; a
folder that `dpkg-deb -x` made of one does as well as the package itself. Two modules of one versification number their
verses alike, so a place that both have is a pair.
"""

from __future__ import annotations

import argparse
import io
import lzma
import re
import struct
import sys
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from html import unescape
from pathlib import Path, PurePosixPath

from rnnlab.specs.errors import UserError

TESTAMENTS = ("ot", "nt")
VERSE, BLOCK = (
    struct.Struct("<IIH"),
    struct.Struct("<III"),
)  # of .bzv: block, start, size; of .bzs: start, size, unpacked
APART = re.compile(r"<(note|title|rdg)\b[^>]*?(?:/>|>.*?</\1>)", re.DOTALL)  # what is no text of the verse
TAG = re.compile(r"<[^>]*>")
LARGEST = 2**27  # bytes, of anything that is unpacked


def verses(source: str | Path) -> tuple[str, dict[tuple[str, int], str]]:
    """The versification of a module, and its verses by testament and place.

    Raises:
      UserError: there is no such module, or it is of another form.
    """
    files = _files(Path(source))
    conf = next((files[name] for name in sorted(files) if name.endswith(".conf") and "mods.d" in name), None)
    if conf is None:
        raise UserError(f"{source}: holds no SWORD module (no mods.d/NAME.conf)")
    about = dict(line.split("=", 1) for line in conf.decode("utf-8", "replace").splitlines() if "=" in line)
    about = {key.strip(): value.strip() for key, value in about.items()}
    for key, wanted in (("ModDrv", "zText"), ("CompressType", "ZIP"), ("Encoding", "UTF-8")):
        if about.get(key, wanted) != wanted:
            raise UserError(f"{source}: its {key} is {about[key]}, where {wanted} is read")
    found = {}
    for testament in TESTAMENTS:
        parts = [
            next((files[n] for n in sorted(files) if n.endswith(f"/{testament}.bz{kind}")), None) for kind in "svz"
        ]
        if None not in parts:
            found |= {(testament, place): text for place, text in _testament(source, testament, *parts)}
    if not found:
        raise UserError(f"{source}: no verse in it (no ot.bzz or nt.bzz)")
    return about.get("Versification", "KJV"), found


def _testament(source, testament: str, blocks: bytes, places: bytes, packed: bytes) -> Iterator[tuple[int, str]]:
    unpacked: dict[int, bytes] = {}
    for place, (block, start, size) in enumerate(VERSE.iter_unpack(places[: len(places) // 10 * 10])):
        if not size:
            continue
        if block not in unpacked:
            if BLOCK.size * (block + 1) > len(blocks):
                raise UserError(f"{source}: place {place} of {testament} lies in block {block}, which is not there")
            at, length, _ = BLOCK.unpack_from(blocks, BLOCK.size * block)
            try:
                unpacked[block] = zlib.decompressobj().decompress(packed[at : at + length], LARGEST)
            except zlib.error as error:
                raise UserError(f"{source}: block {block} of {testament} is damaged ({error})") from error
        text = plain(unpacked[block][start : start + size].decode("utf-8", "replace"))
        if text:
            yield place, text


def plain(markup: str) -> str:
    """A verse without its markup, notes and headings."""
    return " ".join(unescape(TAG.sub("", APART.sub(" ", markup))).replace("\N{PILCROW SIGN}", " ").split())


def _files(source: Path) -> Mapping[str, bytes]:
    """A folder's files, or those of a Debian package, by name."""
    if source.is_dir():
        kept = (p for p in sorted(source.rglob("*")) if p.suffix in (".conf", ".bzs", ".bzv", ".bzz") and p.is_file())
        return {p.as_posix(): p.read_bytes() for p in kept}
    if not source.is_file():
        raise UserError(f"{source}: no such file or folder")
    content = source.read_bytes()
    if not content.startswith(b"!<arch>\n"):
        raise UserError(f"{source}: is no Debian package; give one, or a folder that dpkg-deb -x made of it")
    at = 8
    while at + 60 <= len(content):  # an ar archive: headers of 60 bytes
        name, size = content[at : at + 16].decode("ascii", "replace").strip().rstrip("/"), content[at + 48 : at + 58]
        if not size.strip().isdigit():
            raise UserError(f"{source}: is a damaged package (byte {at})")
        body = content[at + 60 : at + 60 + int(size)]
        if name.startswith("data.tar"):
            return _unpacked(source, name, body)
        at += 60 + int(size) + int(size) % 2
    raise UserError(f"{source}: holds no data.tar")


def _unpacked(source: Path, name: str, body: bytes) -> dict[str, bytes]:
    if name.endswith(".zst"):
        raise UserError(
            f"{source}: packed by zstd, which Python does not read: dpkg-deb -x {source} FOLDER, and the folder"
        )
    try:
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:  # it tells gzip and xz by what they begin with
            return {str(PurePosixPath(m.name)): archive.extractfile(m).read() for m in archive if m.isfile()}
    except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise UserError(f"{source}: is a damaged package ({error})") from error


def pairs(source: str | Path, target: str | Path) -> list[tuple[str, str]]:
    """The verses that both modules have, in the order of the source's. Raises UserError."""
    (one, left), (two, right) = verses(source), verses(target)
    if one != two:
        raise UserError(f"{source} counts its verses as {one}, {target} as {two}: places do not agree")
    return [(text, right[place]) for place, text in left.items() if place in right]


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m rnnlab.data.verses", description=__doc__.splitlines()[0])
    parser.add_argument("source", help="a Debian package of a SWORD module, or a folder: the language that is read")
    parser.add_argument("target", help="the same of the language that is written")
    parser.add_argument("--out", default="verses.tsv", help="the file of pairs (verses.tsv)")
    given = parser.parse_args(argv)
    try:
        found = pairs(given.source, given.target)
        Path(given.out).write_text("".join(f"{one}\t{two}\n" for one, two in found), encoding="utf-8")
    except (UserError, OSError) as error:
        print(f"rnnlab: {error}", file=sys.stderr)
        return 2
    print(f"{len(found):,} pairs in {given.out}: --exp=translation task.pairs={given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
