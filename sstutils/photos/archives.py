"""Archives from elsewhere: fetched with resume and a checksum, unpacked without trusting what is inside."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPException
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tqdm.auto import tqdm

from ..datasets.source import Download
from ..files import exclusive, one_line

_CHUNK = 1 << 20
_SILENCE = 60  # seconds without a byte before an address is given up
_ENTRIES = 500_000  # files and folders that an archive may hold; the largest of ours holds 120,000


def fetch(file: Download, folder: str | os.PathLike) -> Path:
    """Download `file` into `folder`, unless it is there with the right checksum, and return its path.

    The bytes go to a hidden file next to it, ``.NAME.part``, which takes the name when its md5 is right. If a download
    breaks off, that part stays, and the next call resumes it (over HTTP; FTP starts again).

    Raises
    ------
    OSError
        If there is no room for it, or no address gave the file with the right checksum.
    """
    path, problems = Path(folder) / file.name, []
    part = path.with_name(f".{file.name}.part")
    with exclusive(path, wait=True):
        if path.exists() and _md5(path) == file.md5:
            return path
        for url in file.urls:
            try:
                _get(url, part, file)
                if (found := _md5(part)) != file.md5:
                    part.unlink()
                    raise OSError(f"corrupted: md5 {found}, expected {file.md5}")
                os.replace(part, path)
                return path
            except (OSError, HTTPException, EOFError) as error:
                problems.append(f"{url}: {one_line(error)}")
    raise OSError(f"cannot download {file.name} ({'; '.join(problems)}). Place it by hand as {path}.")


def _get(url: str, part: Path, file: Download) -> None:
    """Add to `part` what it lacks of the file at an address."""
    have = part.stat().st_size if part.exists() else 0
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
        resumed = getattr(answer, "status", None) == 206
        start = have if resumed else 0
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else file.size
        with (
            open(part, "ab" if resumed else "wb") as target,
            tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=file.name) as bar,
        ):
            while chunk := answer.read(_CHUNK):
                target.write(chunk)
                bar.update(len(chunk))
        if total is not None and part.stat().st_size < total:
            raise EOFError(
                f"the connection ended after {part.stat().st_size:,} of {total:,} bytes; try again to resume"
            )


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def unpack(archive: str | os.PathLike, folder: str | os.PathLike, top: str, most: int) -> Path:
    """Unpack the folder `top` of a tar or zip archive to ``folder/top``, without trusting the archive.

    Only plain files are made, only below `top`, each once, and no more than `most` bytes in all; an archive of more
    than half a million entries is refused. The folder takes its name when all of it is there; if it is there already,
    nothing is unpacked.

    Returns
    -------
    Path
        ``folder/top``.

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
            raise OSError(f"{archive} is damaged ({one_line(error)}): delete it and fetch it again") from error
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
        raise OSError(f"{path} is damaged ({one_line(error)}): delete it and fetch it again") from error
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
                    raise OSError(f"{archive} holds {entry.filename!r}, which is no plain file: refused")
                if not entry.is_dir():
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
                    raise OSError(f"{archive} holds {entry.name!r}, which is no plain file: refused")


def _too_many(archive: Path) -> OSError:
    return OSError(f"{archive} holds more than {_ENTRIES:,} files and folders: refused")
