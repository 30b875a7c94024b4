"""Archives from elsewhere: fetched with resume and a checksum, unpacked without trusting what is inside."""

import hashlib
import os
import secrets
import shutil
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from http.client import HTTPException
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tqdm.auto import tqdm

from ..files import exclusive, one_line

_CHUNK = 1 << 20
_SILENCE = 60  # seconds without a byte before an address is given up
_ENTRIES = 500_000  # files and folders that an archive may hold; the largest of ours holds 120,000
_UNKNOWN = 100_000_000  # bytes that a file of unknown size may have
_BEGINS = {".tgz": b"\x1f\x8b", ".gz": b"\x1f\x8b", ".zip": b"PK", ".mat": b"MATLAB"}  # of files, by their endings


class Download(NamedTuple):
    """A file that can be fetched: name, size in bytes (None: not known), md5 or sha256, addresses that offer it."""

    name: str
    size: int | None
    checksum: str
    urls: tuple[str, ...]


def fetch(file: Download, folder: str | os.PathLike) -> Path:
    """Download `file` into `folder`, unless it is there with the right checksum, and return its path.

    The bytes go to a hidden file next to it, ``.NAME.part``, which takes the name when its checksum is right. If a
    download breaks off, that part stays, and the next call resumes it (over HTTP; FTP starts again).

    Raises
    ------
    OSError
        If there is no room for it, or no address gave the file with the right checksum.
    """
    path, problems = Path(folder) / file.name, []
    part, most = path.with_name(f".{file.name}.part"), 1.2 * (file.size or _UNKNOWN)  # sizes are known roughly
    with exclusive(path, wait=True):
        if path.exists() and _checksum(path, file) == file.checksum:
            return path
        for url in file.urls:
            try:
                _get(url, part, file, most)
                if (found := _checksum(part, file)) != file.checksum:
                    part.unlink()
                    raise OSError(f"corrupted: checksum {found}, expected {file.checksum}")
                os.replace(part, path)
                return path
            except (OSError, HTTPException, EOFError, ValueError) as error:  # ValueError: sent on to a wrong address
                problems.append(f"{url}: {one_line(error)}")
                if part.exists() and part.stat().st_size > most:
                    part.unlink()
    raise OSError(f"cannot download {file.name} ({'; '.join(problems)}). Place it by hand as {path}.")


def _get(url: str, part: Path, file: Download, most: float) -> None:
    """Add to `part` what it lacks of the file at an address, which may have at most so many bytes."""
    begin = _BEGINS.get(Path(file.name).suffix, b"")
    have = 0
    if part.exists():
        with open(part, "rb") as kept:
            good = kept.read(len(begin)) == begin
        if not good:
            part.unlink()
        have = part.stat().st_size if good else 0
    need = max(0, (file.size or 0) - have)
    if need > (free := shutil.disk_usage(part.parent).free):
        raise OSError(f"needs {need / 1e9:.2f} GB, {part.parent} has {free / 1e9:.2f} GB free")
    if file.size and have == 0:
        print(f"{file.name}: {file.size / 1e6:,.0f} MB from {urlsplit(url).netloc}", file=sys.stderr)
    request = Request(url, headers={"User-Agent": "sstutils"})  # some hosts refuse urllib's own name
    if have and url.startswith("http"):
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = urlopen(request, timeout=_SILENCE)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # there is nothing beyond what we have: the checksum decides
            return
        raise
    with closing(answer):
        resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if getattr(answer, "status", None) == 206 and not resumed:
            raise OSError("it sent another part of the file than was asked for")
        start, length = have if resumed else 0, answer.headers.get("Content-Length") or ""
        total = start + int(length) if length.isdecimal() else None
        chunk = answer.read(_CHUNK)
        if not start and not chunk.startswith(begin):  # seen before what we have is given up
            raise OSError("it sent something else, such as a page to sign in")
        too_much = f"it sends more than {most / 1e6:,.0f} MB, which is not the file"
        if (total or 0) > most:
            raise OSError(too_much)
        with (
            open(part, "ab" if resumed else "wb") as target,
            tqdm(total=total or file.size, initial=start, unit="B", unit_scale=True, desc=file.name) as bar,
        ):
            while chunk:
                target.write(chunk)
                bar.update(len(chunk))
                start += len(chunk)
                if start > most:
                    raise OSError(too_much)
                chunk = answer.read(_CHUNK)
        if total is not None and part.stat().st_size < total:
            raise EOFError(
                f"the connection ended after {part.stat().st_size:,} of {total:,} bytes; try again to resume"
            )


def _checksum(path: Path, file: Download) -> str:
    with open(path, "rb") as opened:
        return hashlib.file_digest(opened, "md5" if len(file.checksum) == 32 else "sha256").hexdigest()


def remove_leftovers(folder: Path, files: Iterable[Download]) -> None:
    """Remove what downloads and unpackings that were killed have left of files that are there by now."""
    for file in files:
        for left in folder.glob(f".{file.name.partition('.')[0]}.*part"):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def unpack(archive: str | os.PathLike, folder: str | os.PathLike, top: str, most: int) -> Path:
    """Unpack the folder `top` of a tar or zip archive to ``folder/top``, without trusting the archive.

    Only plain files are made, only below `top`, each once, and no more than `most` bytes in all; an archive of more
    than half a million entries is refused. The folder takes its name when all of it is there; if it is there already,
    nothing is unpacked. Returns its path.

    Raises
    ------
    OSError
        If the archive is damaged, too big or hostile (a link, a path that leads out of the folder), or the disk full.
    """
    archive, target = Path(archive), Path(folder) / top
    temporary = target.with_name(f".{top}.{secrets.token_hex(4)}.part")
    with exclusive(target, wait=True):
        if target.exists():  # another process was faster
            return target
        try:
            _unpack(archive, temporary, top, most)
            os.replace(temporary / top, target)
        except FileExistsError as error:
            raise OSError(f"{archive} holds {error.filename} twice: refused") from error
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, RuntimeError) as error:
            # RuntimeError: zipfile, asked for a password
            raise OSError(f"{archive} is damaged or locked by a password: replace it with an intact copy") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def _unpack(archive: Path, folder: Path, top: str, most: int) -> None:
    """Write the files of an archive that lie below `top` into a folder."""
    written = files = 0
    with tqdm(total=archive.stat().st_size, unit="B", unit_scale=True, desc=f"unpack {archive.name}") as bar:
        for name, source, position in _members(archive):
            path = PurePosixPath(name)
            # Backslashes and colons mean something on Windows, and nothing good in a name.
            if path.is_absolute() or ".." in path.parts or any(sign in name for sign in "\\:\0"):
                raise OSError(f"{archive} holds the path {name!r}, which leads out of its folder: refused")
            bar.update(position - bar.n)
            if path.parts[:1] != (top,) or len(path.parts) == 1:
                continue
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "xb") as file:  # "x": a name that comes twice is refused
                while chunk := source.read(_CHUNK):
                    written += len(chunk)
                    if written > most:
                        raise OSError(f"{archive} holds more than {most / 1e9:.1f} GB of files: refused")
                    file.write(chunk)
            files += 1
    if not files:
        raise OSError(f"{archive} holds no folder {top}: it is another archive, or another version")


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip archive; OSError if it is damaged or holds more than half a million entries."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise OSError(f"{path} is damaged or not an archive: replace it with an intact copy") from error
    if len(archive.infolist()) > _ENTRIES:
        archive.close()
        raise _too_many(path)
    return archive


def _members(archive: Path) -> Iterator[tuple[str, BinaryIO, int]]:
    """Yield name, content and position in the archive of each file; refuse what is no file and no folder."""
    if zipfile.is_zipfile(archive):
        with open_zip(archive) as opened:
            for entry in opened.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise OSError(f"{archive} holds {entry.filename!r}, which is not a regular file: refused")
                if not entry.filename.endswith("/"):  # is_dir() fails on an empty name
                    with opened.open(entry) as source:
                        yield entry.filename, source, entry.header_offset
    else:
        with open(archive, "rb") as raw, tarfile.open(fileobj=raw, mode="r:*") as opened:
            for number, entry in enumerate(opened, 1):
                if number > _ENTRIES:
                    raise _too_many(archive)
                if entry.isfile():
                    yield entry.name, opened.extractfile(entry), raw.tell()
                elif not entry.isdir():
                    raise OSError(f"{archive} holds {entry.name!r}, which is not a regular file: refused")


def _too_many(archive: Path) -> OSError:
    return OSError(f"{archive} holds more than {_ENTRIES:,} files and folders: refused")
