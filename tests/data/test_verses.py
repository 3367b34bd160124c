"""Modules of the SWORD project in their compressed form, written here by hand from the format's own layout."""

import io
import struct
import tarfile
import zlib

import pytest

from rnnlab.data.verses import main, pairs, plain, verses
from rnnlab.specs.errors import UserError

CONF = "[X]\nModDrv=zText\nCompressType=ZIP\nEncoding=UTF-8\nVersification=KJV\n"
ENGLISH = [
    "",
    "",
    "<title>Genesis</title>",
    "In the <w lemma='x'>beginning</w><note>a note</note>.",
    "And &amp; the earth.",
    "",
]
SPANISH = ["", "", "", "EN el principio.", "Y la tierra.", "Sólo aquí."]


def module(folder, name, texts, conf=CONF, blocks=2):
    """A module whose verses lie in some blocks, one after the other."""
    data = folder / "usr/share/sword/modules/texts/ztext" / name
    data.mkdir(parents=True)
    (folder / "usr/share/sword/mods.d").mkdir(parents=True)
    (folder / f"usr/share/sword/mods.d/{name}.conf").write_text(conf)
    packed, block, places = b"", b"", b""
    for number in range(blocks):
        whole = b""
        for text in texts[number * len(texts) // blocks : (number + 1) * len(texts) // blocks]:
            places += struct.pack("<IIH", number, len(whole), len(text.encode()))
            whole += text.encode()
        part = zlib.compress(whole)
        block += struct.pack("<III", len(packed), len(part), len(whole))
        packed += part
    for kind, content in (("bzs", block), ("bzv", places), ("bzz", packed)):
        (data / f"nt.{kind}").write_bytes(content)
    return folder


def package(folder, file):
    """What dpkg-deb makes of a folder: an ar archive with data.tar.xz."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:xz") as archive:
        archive.add(folder, arcname=".")
    content = b"!<arch>\n"
    for name, body in (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", tar.getvalue())):
        content += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2)
        )
    file.write_bytes(content)
    return file


def test_verses_that_both_have_are_pairs(tmp_path, capsys):
    one, two = module(tmp_path / "a", "kjv", ENGLISH), module(tmp_path / "b", "sparv", SPANISH, blocks=3)
    expected = [("In the beginning .", "EN el principio."), ("And & the earth.", "Y la tierra.")]
    assert pairs(one, two) == expected
    deb = package(two, tmp_path / "sparv.deb")
    assert pairs(package(one, tmp_path / "kjv.deb"), deb) == expected
    assert main([str(one), str(deb), f"--out={tmp_path / 'v.tsv'}"]) == 0
    assert (tmp_path / "v.tsv").read_text() == "".join("\t".join(pair) + "\n" for pair in expected)
    assert "2 pairs in" in capsys.readouterr().out


def test_markup_is_no_text():
    assert plain("<chapter/><verse osisID='x'>Now \N{PILCROW SIGN}he\nwas <hi>old</hi></verse>") == "Now he was old"


def test_what_is_no_module_is_one_line(tmp_path, capsys):
    one = module(tmp_path / "a", "kjv", ENGLISH)
    (tmp_path / "none").mkdir()
    (tmp_path / "x.deb").write_bytes(b"no package")
    (tmp_path / "bad.deb").write_bytes(b"!<arch>\n" + b"x" * 70)
    cases = {"missing": "no such file or folder", "none": "holds no SWORD module", "x.deb": "is no Debian package",
             "bad.deb": "is a damaged package"}  # fmt: skip
    for name, told in cases.items():
        with pytest.raises(UserError, match=told):
            verses(tmp_path / name)
    other = module(tmp_path / "c", "lxx", SPANISH, CONF.replace("=KJV", "=Vulg"))
    with pytest.raises(UserError, match=r"as KJV, .* as Vulg: places do not agree"):
        pairs(one, other)
    with pytest.raises(UserError, match="its ModDrv is RawText, where zText is read"):
        verses(module(tmp_path / "d", "raw", SPANISH, CONF.replace("zText", "RawText")))
    block = tmp_path / "a/usr/share/sword/modules/texts/ztext/kjv/nt.bzz"
    block.write_bytes(b"\xff" * block.stat().st_size)
    with pytest.raises(UserError, match=r"block . of nt is damaged"):
        verses(one)
    assert main([str(tmp_path / "none"), str(one)]) == 2
    assert capsys.readouterr().err.startswith("rnnlab: ")
