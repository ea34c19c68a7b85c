"""Zip archives, read member by member, each with a limit; nothing is unpacked to the disk.

Python reads members compressed with Zstandard since 3.14; older versions need a package.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tunegate.harness.records.errors import MissingExtra, UsageError

ZSTANDARD = 93
"""Number of the compression in a zip archive."""
LARGEST_MEMBER = 500_000_000
"""Bytes of a member, decompressed."""
LARGEST_RATIO = 1000
"""Largest ratio of a member over a megabyte: logs compress 20 times, zip bombs 1,000 times."""
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


class ZipMembers:
    """An open archive."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, file: BinaryIO) -> None:
        """Wrap an archive and its file; `open_zip` makes one."""
        self.path = path
        self._archive = archive
        self._file = file

    @property
    def names(self) -> list[str]:
        """The names of the members, in their order."""
        return self._archive.namelist()

    def read(self, name: str) -> bytes:
        """Return a member's content."""
        member = self._archive.getinfo(name)
        where = f"{self.path}: {name!r:.80}"
        most = min(LARGEST_MEMBER, max(1_000_000, LARGEST_RATIO * member.compress_size))
        try:
            if member.compress_type == ZSTANDARD:
                content = _zstandard_reader()(self._compressed_bytes(member), most + 1)
            else:
                with self._archive.open(member) as stream:
                    content = stream.read(most + 1)
        except MissingExtra:
            raise
        except Exception as error:  # each library has errors of its own for damaged data
            raise UsageError(f"{where}: cannot be decompressed ({error}); copy it again") from error
        if len(content) > most:
            raise UsageError(f"{where}: more than {most} bytes when decompressed; not read")
        if member.compress_type == ZSTANDARD and zlib.crc32(content) != member.CRC:
            raise UsageError(f"{where}: damaged (its checksum differs); copy it again")
        return content

    def _compressed_bytes(self, member: zipfile.ZipInfo) -> bytes:
        """Return a member as it is stored, compressed."""
        self._file.seek(member.header_offset)
        fields = _LOCAL_HEADER.unpack(self._file.read(_LOCAL_HEADER.size))
        self._file.seek(fields[9] + fields[10], io.SEEK_CUR)
        return self._file.read(member.compress_size)


@contextmanager
def open_zip(path: Path) -> Iterator[ZipMembers]:
    """Open an archive."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            yield ZipMembers(path, archive, file)
    except (zipfile.BadZipFile, struct.error) as error:
        raise UsageError(
            f"{path}: not a complete zip archive ({error}); wait until the tool has written it, or "
            "copy it again"
        ) from error


def _zstandard_reader() -> Callable[[bytes, int], bytes]:
    """Return a function of compressed bytes and the most bytes to return."""
    with suppress(ImportError):
        from compression.zstd import ZstdFile  # type: ignore[import-not-found]  # Python 3.14

        return lambda raw, most: bytes(ZstdFile(io.BytesIO(raw)).read(most))
    with suppress(ImportError):
        from zstandard import ZstdDecompressor  # type: ignore[import-not-found]  # an extra

        return lambda raw, most: ZstdDecompressor().stream_reader(io.BytesIO(raw)).read(most)
    with suppress(ImportError):
        from pyarrow import (  # type: ignore[import-untyped]  # ships no types
            BufferReader,
            CompressedInputStream,
        )

        return lambda raw, most: CompressedInputStream(BufferReader(raw), "zstd").read(most)
    raise MissingExtra("an Inspect log", "inspect-logs")
