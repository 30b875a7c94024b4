"""Files: where data live, and writing them whole or not at all."""

import glob
import hashlib
import io
import os
import re
import secrets
import shutil
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from traceback import walk_tb

import numpy as np
from filelock import FileLock, Timeout

_END = 22  # bytes of the record that ends a zip file, without a comment
# Endings of what counts as a picture; torchvision's ImageFolder takes the same.
PICTURES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def root() -> Path:
    """Find the folder where data sets and caches live when none is given; nothing is created.

    It is ``$SSTUTILS_DATA`` if set, otherwise ``sstutils`` in the user's cache folder: ``$XDG_CACHE_HOME``,
    ``%LOCALAPPDATA%`` on Windows, ``~/Library/Caches`` on macOS, ``~/.cache`` elsewhere. In a container the user may
    have no home: then it is in the folder for temporary files.
    """
    if chosen := os.environ.get("SSTUTILS_DATA"):
        return Path(os.path.expanduser(chosen))
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():  # the standard says: ignore relative ones
        usual = {"win32": "~/AppData/Local", "darwin": "~/Library/Caches"}.get(sys.platform, "~/.cache")
        cache = Path(os.path.expanduser((sys.platform == "win32" and os.environ.get("LOCALAPPDATA")) or usual))
    return (cache if cache.is_absolute() else Path(tempfile.gettempdir())) / "sstutils"


def resolve(folder: str | os.PathLike | None) -> Path:
    """Expand ``~`` in a path, where the user has a home; None is :func:`root`."""
    return root() if folder is None else Path(os.path.expanduser(folder))


def output() -> Path:
    """Find the folder of figures and studies: ``output`` of the checkout that the package runs from, or of this folder.

    Notebooks use it, which run wherever they were copied to.
    """
    checkout = Path(__file__).resolve().parents[1]
    return (checkout if (checkout / "pyproject.toml").is_file() else Path()) / "output"


def file_name(data: str) -> str:
    """Name a data set in file names: a folder of pictures goes by its own name.

    Examples
    --------
    >>> file_name("Glyphs"), file_name("folder:photos/my birds")
    ('glyphs', 'my-birds')
    """
    short, _, path = data.partition(":")
    name = resolve(path).resolve().name if path else short.lower()
    return _shorten(re.sub(r"\W+", "-", name).strip("-") or short, 100)


def _shorten(name: str, most: int) -> str:
    """Return a name of at most so many bytes: a longer one is cut, and ends in its digest."""
    raw = os.fsencode(name)
    return name if len(raw) <= most else f"{raw[: most - 13].decode(errors='ignore')}-{digest(raw)}"


def check_output(path: str | os.PathLike, *inputs: str | os.PathLike) -> Path:
    """Check before the work that a file can be written; return the one that a link stands for.

    It is an error if that is a folder, a device or a pipe, one of the `inputs`, or a picture in a folder of them.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file to write: add a file name")
    if (os.path.lexists(target) or os.path.exists(path)) and not target.is_file():  # /dev/stdout links to no path
        raise OSError(f"{path} is not a regular file (but a device, a pipe or a broken link): choose another to write")
    for one in map(os.path.realpath, inputs):
        same = os.path.isfile(one) and target.exists() and os.path.samefile(one, target)
        if same or (os.path.isdir(one) and target.is_relative_to(one) and target.suffix.lower() in PICTURES):
            raise ValueError(f"{path} is, or would become, part of what is read ({one}): choose another to write")
    folder = next(parent for parent in target.parents if os.path.lexists(parent))
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise OSError(f"cannot write {path}: {folder} is {'read-only' if folder.is_dir() else 'not a folder'}")
    return target


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Write to a temporary path, which becomes `path` only if the block ends without an error.

    Readers therefore see the old file or the whole new one, never a half. Missing folders are created; a link stays,
    and what it points to is written; what is no regular file is refused.

    Examples
    --------
    >>> with atomic_write("figures/idea.png") as temporary:  # doctest: +SKIP
    ...     figure.savefig(temporary, format="png")
    """
    path = check_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{_shorten(path.name, 200)}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def exclusive(out: str | os.PathLike, wait: bool = False) -> Iterator[None]:
    """Refuse a second run that writes the same file, or let it wait; the lock ends with the process, however that ends.

    What a killed run left half-written next to it is removed.
    """
    path = Path(os.path.realpath(out))
    path.parent.mkdir(parents=True, exist_ok=True)
    name = f".{_shorten(path.name, 200)}"
    lock = FileLock(path.with_name(f"{name}.lock"), timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        raise OSError(f"another run is writing {path}: wait for it, or choose another file") from None
    try:
        for left in path.parent.glob(f"{glob.escape(name)}.*.part"):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        yield
    finally:
        with suppress(OSError):  # Windows removes no file that is open
            Path(lock.lock_file).unlink()
        lock.release()


def cached_arrays(
    path: str | os.PathLike,
    make: Callable[[], dict[str, np.ndarray]],
    keys: Sequence[str] = ("data", "targets", "classes"),
) -> dict[str, np.ndarray]:
    """Read the arrays called `keys` of the cache file `path`; where it is missing or corrupt, make and write them.

    The caller puts everything that the arrays depend on (parameters, versions) into the file's name. A corrupt cache
    and a cache that cannot be written (full disk, read-only folder) cost a one-line warning each, never the result.
    """
    path = Path(path)
    if path.exists():
        try:
            return read_arrays(path, keys)
        except Exception as error:  # numpy, zipfile and zlib raise some ten kinds
            warnings.warn(f"cache {path} is corrupt ({cause(error)}); making it again", stacklevel=2)
    arrays = make()
    try:
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        warnings.warn(
            f"cannot write the cache {path} ({one_line(error)}); continuing without it. "
            "Set SSTUTILS_DATA to a writable folder with room to keep it.",
            stacklevel=2,
        )
    return arrays


def read_arrays(path: str | os.PathLike, keys: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of an ``.npz`` file, all or those called `keys`; damage and objects in it are errors."""
    check_archive(path)
    # Opened here, because np.load leaves a file that it cannot read open; Windows then refuses to replace it.
    with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
        return {key: file[key] for key in (file.files if keys is None else keys)}


def check_archive(path: str | os.PathLike) -> None:
    """Raise an error unless a zip file (of torch or NumPy) is whole, and of a size that can be unpacked.

    Its own directory tells the sizes, before anything is unpacked. All of a file that was sealed is then compared with
    its digest, and of another each member with its checksum.
    """
    with zipfile.ZipFile(path) as archive:
        size, packed = sum(member.file_size for member in archive.infolist()), os.path.getsize(path)
        if size > max(1 << 28, 4 * packed):  # torch does not compress
            raise ValueError(f"{packed:,} bytes that would unpack to {size:,}")
        if not archive.comment and (damaged := archive.testzip()):
            raise ValueError(f"{damaged[-40:]} is damaged")
    with open(path, "rb") as file:
        seal = archive.comment
        if seal and hashlib.sha256(file.read(packed - len(seal))).digest() != seal:
            raise ValueError("it is damaged")
        file.seek(-_END - len(seal), os.SEEK_END)
        if file.read(4) != b"PK\5\6":
            raise ValueError("its end is damaged")


def seal_archive(raw: io.BytesIO) -> None:
    """Add to a zip file in memory its digest, which a zip may have as a comment at its end."""
    raw.seek(-2, os.SEEK_END)
    raw.write(b"\x20\0")  # the length of the comment
    raw.write(hashlib.sha256(raw.getbuffer()).digest())


def digest(*parts: str | bytes | np.ndarray) -> str:
    """Hash parts to 12 hexadecimal digits; arrays count with dtype, shape and bytes."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype.str}{part.shape}".encode())
            total.update(np.ascontiguousarray(part).data)
        else:
            part = os.fsencode(part) if isinstance(part, str) else part  # names of files need not be UTF-8
            total.update(f"{len(part)}:".encode() + part)
    return total.hexdigest()[:12]


def files_digest(root: str | os.PathLike, samples: Sequence[tuple[str, int]], contents: bool = False) -> str:
    """Hash names below `root`, sizes, targets and, on demand, contents of files to 12 hexadecimal digits."""
    top = os.path.join(root, "")  # pathlib would take ten times as long for the 60,000 files of a large data set
    lines = (f"{path.removeprefix(top).replace(os.sep, '/')} {_size(path, contents)}" for path, _ in samples)
    return digest("\n".join(lines), np.array([target for _, target in samples], dtype=np.int64))


def _size(path: str, contents: bool) -> str:
    """Look up the bytes of a file, and what stands in its middle: without compression all pictures have one size."""
    try:
        size = os.path.getsize(path)
        if not (contents and os.path.isfile(path)):  # a pipe would be waited for
            return f"{size}"
        with open(path, "rb") as file:
            file.seek(max(0, size // 2 - (1 << 15)))
            return f"{size} {zlib.crc32(file.read(1 << 16))}"
    except OSError:  # a broken link, say, which is told when it is read
        return "unreadable"


def one_line(error: BaseException) -> str:
    """Put an error's message on one line; what the system says stands without its number."""
    reason = getattr(error, "reason", None)  # of an address that cannot be reached
    error = reason if isinstance(reason, OSError) else error
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(text.split()) or type(error).__name__


def cause(error: BaseException) -> str:
    """Say why a file cannot be read, in the words of this package or of the system; those of other libraries go."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    own = isinstance(error, ValueError) and frame.f_globals["__name__"].startswith(__package__)
    return getattr(error, "strerror", None) or (one_line(error) if own else "it is damaged, or something else")


def not_found(what: str, looked: Sequence[str | os.PathLike], remedy: str) -> FileNotFoundError:
    """Make the one-line error of a data set that is not there: what, where it was looked for, what to do."""
    return FileNotFoundError(f"{what} not found in {', '.join(str(place) for place in looked)}. {remedy}")


@contextmanager
def whole_file(path: str | os.PathLike, kind: str, remedy: str) -> Iterator[None]:
    """Turn any error of a block that reads a file into one line: the file, what was found, the remedy."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no {kind} at {path}; {remedy}")
    try:
        yield
    except Exception as error:  # torch, numpy, zipfile, zlib and json raise some ten kinds on damaged files
        raise ValueError(f"{path} is not a valid {kind} of sstutils ({cause(error)[:80]}); {remedy}") from None
