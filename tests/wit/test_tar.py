"""Headers are plain, members of any common tar are found, and what is broken is said so."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

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
