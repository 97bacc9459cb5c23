"""Headers are plain, members of any common tar are found, and what is broken is said so."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import real_data
from wit import tar
from wit.errors import InputError

NAMES = st.lists(st.text("ab.é", min_size=1, max_size=70), min_size=1, max_size=3).map("/".join)


def archive(tar_format: int, contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as opened:
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1.5  # a fraction of a second makes pax write a header of its own
            opened.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def read_all(data: bytes) -> dict[str, bytes]:
    file = io.BytesIO(data)
    return {member.name: tar.read_member(file, member, "x.tar") for member in tar.members(file, "x.tar")}


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@given(st.dictionaries(NAMES, st.binary(max_size=1100), max_size=5))
def test_members_are_those_that_tarfile_wrote(tar_format: int, contents: dict[str, bytes]) -> None:
    """Names of any length and contents of any size come back from each dialect, as Python's tarfile reads them."""
    try:
        data = archive(tar_format, contents)
    except ValueError:  # ustar cannot hold every long name
        return
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        expected = {}
        for member in opened:
            file = opened.extractfile(member)
            expected[member.name] = file.read() if file else b""
    assert read_all(data) == expected


def test_links_folders_and_devices_are_passed_over() -> None:
    """Only regular files are members; a name that climbs out of the archive is but a label."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        for name, kind in (("d", tarfile.DIRTYPE), ("s", tarfile.SYMTYPE), ("c", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            opened.addfile(member)
        opened.addfile(tarfile.TarInfo("../../etc/passwd"))
    assert read_all(buffer.getvalue()) == {"../../etc/passwd": b""}


@given(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=130), st.integers(0, 1 << 34))
def test_headers_are_those_of_tarfile(name: str, length: int) -> None:
    """Every byte of a header, and what is refused (a long name that cannot be cut, 8 GiB), is as tarfile has it."""
    member = tarfile.TarInfo(name)
    member.size = length
    try:
        expected = member.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    except ValueError:
        with pytest.raises(ValueError, match=r"too long|overflow"):
            tar.header(name, length)
    else:
        assert tar.header(name, length) == expected


def test_headers_are_plain() -> None:
    """The header's golden fields: mode 0644, no owner, mtime 0, ustar."""
    block = tar.header("0" * 32 + ".jpg", 1234)
    assert len(block) == tar.BLOCK
    assert block[100:148] == b"0000644\0" + b"0000000\0" * 2 + b"00000002322\0" + b"00000000000\0"
    assert block[156:265] == b"0" + bytes(100) + b"ustar\x0000"
    assert block[265:329] == bytes(64)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-2048], "breaks off"),
        (lambda data: data[:700], "breaks off"),
        (lambda data: b"x" + data[1:], "checksum"),
        (lambda data: b"<html>" * 200, "tar header"),
        (lambda data: b"", "breaks off"),
    ],
)
def test_broken_archives_are_input_errors(damage: object, message: str) -> None:
    """Cut, changed or foreign bytes raise InputError that names the file; nothing hangs and nothing is made up."""
    data = b"".join([tar.header("a", 3), b"abc", tar.padding(3), tar.header("b", 1500), bytes(1500), tar.padding(1500)])
    data += tar.END
    assert callable(damage)
    with pytest.raises(InputError, match=f"x.tar.*{message}"):
        read_all(damage(data))


def pax_header(records: bytes) -> bytes:
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, len(records)
    return member.tobuf(tarfile.USTAR_FORMAT) + records + tar.padding(len(records))


@pytest.mark.parametrize(
    "records",
    [
        b"1" * 6_000 + b" path=x\n",
        b"0 a",
        b" a=b\n",
        b"30 path=x\n",
        b"1 ",
        b"12 size=1e9\n",
        b"39 size=%030d\n" % 1,
    ],
)
def test_a_malformed_extended_header_is_told(records: bytes) -> None:
    """A record of a length that no number is, or shorter than itself, or a size that none is."""
    with pytest.raises(InputError, match=r"x\.tar: a pax header is malformed"):
        read_all(pax_header(records) + tar.header("a", 0) + tar.END)


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_follows_a_member_of_nine_gib_is_found(tmp_path: Path, tar_format: Literal[1, 2]) -> None:
    """Above 8 GiB the size stands elsewhere: in base 256, or, behind a size of nothing, in an extended header."""
    member = tarfile.TarInfo("large")
    member.size = 9 << 30
    path = tmp_path / "x.tar"
    with path.open("wb") as file:  # with a hole
        file.write(member.tobuf(tar_format))
        file.seek(member.size, io.SEEK_CUR)
        file.write(tar.header("next", 0) + tar.END)
    with path.open("rb") as file:
        found = [(each.name, each.length) for each in tar.members(file, str(path))]
    assert found == [("large", member.size), ("next", 0)]


@pytest.mark.parametrize("length", [1 << 30, tar.MAX_LENGTH])
def test_a_member_longer_than_its_archive_takes_no_memory(tmp_path: Path, length: int) -> None:
    """What a header states is not allocated before it is there, nor sought where no file system reaches."""
    member = tarfile.TarInfo("a.jpg")
    member.size = length
    path = tmp_path / "x.tar"
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(512))
    with path.open("rb") as file:
        first = next(tar.members(file, "x.tar"))
        with pytest.raises(InputError, match=r"x\.tar: the tar breaks off at byte 1024"):
            tar.read_member(file, first, "x.tar")
        with pytest.raises(InputError, match=r"x\.tar: the tar breaks off at byte"):
            list(tar.members(file, "x.tar"))


@pytest.mark.parametrize("dialect", ["gnu", "pax 0.0", "pax 0.1", "pax 1.0"])
def test_sparse_files_are_passed_over(tmp_path: Path, dialect: str) -> None:
    """The bytes that a tar has of them are not theirs; what follows is found, however long the map of holes is."""
    if shutil.which("tar") is None:
        pytest.skip("needs GNU tar")
    for name in ("a.txt", "z.txt"):
        (tmp_path / name).write_text(name)
    with (tmp_path / "m.jpg").open("wb") as file:
        for hole in range(40):
            file.seek(hole * 100_000)
            file.write(b"data" * 1_000)
    kind, _, version = dialect.partition(" ")
    options = ["--sparse", f"--format={kind}", *([f"--sparse-version={version}"] if version else [])]
    subprocess.run(["tar", *options, "-cf", "x.tar", "a.txt", "m.jpg", "z.txt"], cwd=tmp_path, check=True)
    assert read_all((tmp_path / "x.tar").read_bytes()) == {"a.txt": b"a.txt", "z.txt": b"z.txt"}


def test_a_huge_extended_header_is_refused() -> None:
    """A pax header that claims a gigabyte is not read into memory."""
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, 1 << 30
    data = member.tobuf(tarfile.USTAR_FORMAT) + bytes(tar.MAX_NAME_BYTES + 2000)
    with pytest.raises(InputError, match="larger than"):
        read_all(data)


def test_real_webdataset_tars() -> None:
    """The members of webdataset's own test tars are those that Python's tarfile finds."""
    paths = sorted(Path(real_data("peers", "webdataset")).rglob("*.tar"))
    assert paths
    for path in paths:
        with tarfile.open(path) as opened:
            expected = [(member.name, member.offset_data, member.size) for member in opened if member.isfile()]
        with path.open("rb") as file:
            assert [(each.name, each.offset, each.length) for each in tar.members(file, str(path))] == expected


@pytest.mark.parametrize("field", [b"-0000001000\0", b"-0000000001\0", b"\xff" * 12])
def test_a_length_that_cannot_be_ends_the_archive(field: bytes) -> None:
    """A length below nothing would lead back to the same header, for ever; one of 2^80 bytes, nowhere."""
    block = bytearray(tar.header("a", 0))
    block[124:136], block[148:156] = field, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(InputError, match="states a length of"):
        read_all(bytes(block) + tar.END)
