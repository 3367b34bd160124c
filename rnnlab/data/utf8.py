"""A file's bytes as text."""

from __future__ import annotations

from rnnlab.specs.errors import UserError

OTHERS = {  # what files begin with that are no text
    b"\x1f\x8b": "compressed by gzip: unpack it",
    b"BZh": "compressed by bzip2: unpack it",
    b"\xfd7zXZ": "compressed by xz: unpack it",
    b"PK\x03\x04": "a zip file, as those of word processors and e-books are: save it as plain text",
    b"%PDF": "a PDF: save it as plain text",
    b"{\\rtf": "rich text (RTF): save it as plain text",
    b"\xff\xfe": "UTF-16: save it as UTF-8",
    b"\xfe\xff": "UTF-16: save it as UTF-8",
}


def decoded(named: str, content: bytes) -> tuple[str, list[str]]:
    """The text in UTF-8, its line ends plain, and what was done about what was odd in it.

    Args:
      named: the file as its setting names it, as in `file=book.txt`.
      content: what stands in it.

    Raises:
      UserError: it is empty, compressed, binary, or in another encoding; names the byte and its line.
    """
    if not content:
        raise UserError(f"{named}: is empty")
    for begins, told in OTHERS.items():
        if content.startswith(begins):
            raise UserError(f"{named}: {told}")
    if (at := content.find(b"\0")) >= 0:
        raise UserError(f"{named}: byte {at:,} is 0, which no text has; it is binary, or in UTF-16 or UTF-32")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        where = f"byte {error.start:,} (0x{byte:02X}) in line {line:,}"
        raise UserError(f"{named}: {where} is not UTF-8; as `iconv -f latin1 -t utf-8` would make it") from None
    notes = []
    if text.startswith("\ufeff"):
        text, notes = text[1:], ["a byte order mark left out"]
    if ends := text.count("\r"):
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        notes.append(f"{ends:,} line ends with a carriage return made plain")
    return text, notes
