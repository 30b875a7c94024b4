"""MATLAB's files of annotations, read in a process of its own: they may come from anyone, and can crash the reader."""

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

_LARGEST = 20_000_000  # bytes of a file
_MEMORY = 2 << 30  # bytes that the process may take: Python and scipy, and some ten times a published file
_SECONDS = 120


def read_mat(file: Path) -> dict[str, list]:
    """Read "images", a list of [path, class id], and "classes", a list of names, as far as a file holds them.

    ValueError if it is damaged, or too large in any respect.
    """
    status = os.stat(file)
    return _read(str(file), status.st_size, status.st_mtime_ns)


@lru_cache(8)
def _read(file: str, size: int, stamp: int) -> dict[str, list]:
    command = [sys.executable, "-P", __file__, file]
    one_thread = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    try:
        if size > _LARGEST:
            raise ValueError
        done = subprocess.run(command, capture_output=True, env=os.environ | one_thread, timeout=_SECONDS, check=True)
        return json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError):
        raise ValueError(f"{os.path.basename(file)} is damaged, or far larger than the published one") from None


def _print(file: str) -> None:
    """Print the content of a file as JSON: what the process of its own does."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from scipy.io import loadmat

    content = loadmat(file, squeeze_me=True)
    fields = getattr(content.get("annotations"), "dtype", None)
    path = "relative_im_path" if fields is not None and "relative_im_path" in (fields.names or ()) else "fname"
    images = [(str(row[path]), int(row["class"])) for row in content.get("annotations", ())]
    print(json.dumps({"images": images, "classes": [str(name) for name in content.get("class_names", ())]}))


if __name__ == "__main__":
    _print(sys.argv[1])
