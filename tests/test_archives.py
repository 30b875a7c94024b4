"""Downloads that break off, and archives that nobody should trust."""

import hashlib
import io
import os
import shutil
import tarfile
import zipfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from sstutils.photos import archives
from sstutils.photos.archives import Download, fetch, unpack

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server():
    """Serve CONTENT with ranges; ``server.cut`` lists how many bytes each answer gives before the line goes dead.

    ``server.head`` replaces headers of the next answers, ``server.body`` yields another content.
    """

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            asked = self.headers.get("Range")
            served.asked.append(asked)
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and served.ranges else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            head = {"Content-Length": str(len(CONTENT) - start)}
            if asked and served.ranges:
                head["Content-Range"] = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
            self.send_response(206 if asked and served.ranges else 200)
            for name, value in (head | served.head).items():
                if value is not None:
                    self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # who has seen enough hangs up
                if served.body:
                    for chunk in served.body():
                        self.wfile.write(chunk)
                else:
                    self.wfile.write(CONTENT[start:][: served.cut.pop(0) if served.cut else None])

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        served.asked, served.cut, served.ranges, served.head, served.body = [], [], True, {}, None
        served.url = f"http://127.0.0.1:{served.server_port}/file.bin"
        Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
        yield served
        served.shutdown()


def test_a_broken_download_goes_on_where_it_ended(server, tmp_path):
    file = Download("file.bin", len(CONTENT), MD5, (server.url,))
    server.cut = [100_000, 50_000]
    for have in (100_000, 150_000):
        with pytest.raises(OSError, match=r"cannot download file.bin .*ended after .* try again to resume.*by hand"):
            fetch(file, tmp_path)
        assert os.listdir(tmp_path) == [".file.bin.part"]
        assert (tmp_path / ".file.bin.part").stat().st_size == have
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=150000-"]
    assert os.listdir(tmp_path) == ["file.bin"]


def test_the_next_address_goes_on_too(server, tmp_path):
    server.cut = [100_000]
    assert fetch(Download("file.bin", None, MD5, (server.url, server.url)), tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-"]


def test_a_server_without_ranges_begins_anew(server, tmp_path):
    server.cut, server.ranges = [100_000], False
    file = Download("file.bin", len(CONTENT), MD5, (server.url,))
    with pytest.raises(OSError, match="try again"):
        fetch(file, tmp_path)
    assert fetch(file, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("part", [CONTENT, CONTENT[:-1] + b"?", CONTENT + b"?"])
def test_a_part_that_needs_no_more(server, tmp_path, part):
    (tmp_path / ".file.bin.part").write_bytes(part)
    file = Download("file.bin", None, MD5, (server.url,))
    if part != CONTENT:  # a wrong part is removed, so that the next try begins anew
        with pytest.raises(OSError, match="corrupted: checksum"):
            fetch(file, tmp_path)
    assert fetch(file, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("length", ["abc", "-1", "1e3", "", None, "9" * 5000])
def test_a_length_that_is_none_is_passed_over(server, tmp_path, length):
    server.head = {"Content-Length": length}
    if length and len(length) > 4:
        with pytest.raises(OSError, match=r"^cannot download file.bin \(http"):
            fetch(Download("file.bin", None, MD5, (server.url,)), tmp_path)
    else:
        assert fetch(Download("file.bin", 10**6, MD5, (server.url,)), tmp_path).read_bytes() == CONTENT


def test_the_next_address_is_asked_whatever_the_first_answers(server, tmp_path):
    wrong = ["http://127.0.0.1:9/file.bin", "nothing://127.0.0.1/", "http://[/", server.url.replace("file.bin", "a b")]
    assert fetch(Download("file.bin", None, MD5, (*wrong, server.url)), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("size", [None, 1000])
@pytest.mark.parametrize("length", [None, str(10**12)])
def test_an_answer_that_never_ends_is_cut(server, tmp_path, monkeypatch, size, length):
    monkeypatch.setattr(archives, "_UNKNOWN", 5_000_000)
    monkeypatch.setattr(archives, "_CHUNK", 100_000)
    sent = []

    def endless():
        while True:
            sent.append(1)
            yield bytes(100_000)

    server.body, server.head = endless, {"Content-Length": length}
    with pytest.raises(OSError, match=r"it sends more than \d+ MB, which is not the file"):
        fetch(Download("file.bin", size, MD5, (server.url,)), tmp_path)
    assert len(sent) < 200  # some of it waits in buffers
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["file.tgz", "file.zip", "file.mat"])
def test_a_page_to_sign_in_does_not_harm_what_is_there(server, tmp_path, name):
    """Neither one that is sent in place of the file nor one that an older version has kept."""
    page = b"<html>Please sign in</html>"
    server.body, server.head, server.ranges = lambda: [page], {"Content-Length": str(len(page))}, False
    begin = {"file.tgz": b"\x1f\x8b\x08", "file.zip": b"PK\x03", "file.mat": b"MATLAB 5.0"}[name]
    part = tmp_path / f".{name}.part"
    part.write_bytes(begin)
    file = Download(name, None, MD5, (server.url,))
    with pytest.raises(OSError, match="it sent something else, such as a page to sign in"):
        fetch(file, tmp_path)
    assert part.read_bytes() == begin
    part.write_bytes(page)
    with pytest.raises(OSError, match="something else"):
        fetch(file, tmp_path)
    assert server.asked == ["bytes=3-" if name != "file.mat" else "bytes=10-", None]
    assert os.listdir(tmp_path) == []


def test_another_part_than_was_asked_for_is_refused(server, tmp_path):
    (tmp_path / ".file.bin.part").write_bytes(CONTENT[:100])
    server.head = {"Content-Range": f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}"}
    with pytest.raises(OSError, match="it sent another part of the file than was asked for"):
        fetch(Download("file.bin", None, MD5, (server.url,)), tmp_path)
    assert (tmp_path / ".file.bin.part").read_bytes() == CONTENT[:100]


def test_whole_digests_of_either_kind(server, tmp_path):
    good = Download("file.bin", None, hashlib.sha256(CONTENT).hexdigest(), (server.url,))
    assert fetch(good, tmp_path).read_bytes() == CONTENT
    wrong = good.checksum[:60] + "0000"
    with pytest.raises(OSError, match=f"corrupted: checksum {good.checksum}, expected {wrong}"):
        fetch(good._replace(checksum=wrong), tmp_path)


def test_an_interrupt_leaves_the_part_only(server, tmp_path, monkeypatch):
    class Stopped(archives.tqdm):
        def update(self, n=1):
            raise KeyboardInterrupt

    monkeypatch.setattr(archives, "tqdm", Stopped)
    with pytest.raises(KeyboardInterrupt):
        fetch(Download("file.bin", None, MD5, (server.url,)), tmp_path)
    assert os.listdir(tmp_path) == [".file.bin.part"]


def test_no_room(server, tmp_path):
    with pytest.raises(OSError, match=r"needs 1000000000.00 GB, .* GB free"):
        fetch(Download("file.bin", 10**18, MD5, (server.url,)), tmp_path)
    assert not server.asked


def tar(path, *members, mode="w:gz"):
    """Write a tar archive of (TarInfo or name, content)."""
    with tarfile.open(path, mode) as archive:
        for member, content in members:
            entry = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def zipped(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            if member:
                archive.writestr(member, content)
            else:  # writestr takes no empty name
                with archive.open(zipfile.ZipInfo(""), "w") as file:
                    file.write(content)
    return path


WRITERS = {"tgz": tar, "zip": zipped}


@pytest.mark.parametrize("kind", WRITERS)
def test_unpack(tmp_path, kind):
    path = WRITERS[kind](tmp_path / f"a.{kind}", ("top/a/b.txt", b"b"), ("top/c.txt", CONTENT), ("else.txt", b"no"))
    assert unpack(path, tmp_path, "top", most=10**6) == tmp_path / "top"
    found = {file.relative_to(tmp_path / "top").as_posix() for file in (tmp_path / "top").rglob("*") if file.is_file()}
    assert found == {"a/b.txt", "c.txt"}
    assert (tmp_path / "top" / "c.txt").read_bytes() == CONTENT
    assert sorted(os.listdir(tmp_path)) == [f"a.{kind}", "top"]


def special(name, kind, target=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


HOSTILE = {
    "parent": ("../evil", r"leads out of its folder"),
    "deep parent": ("top/../../evil", r"leads out of its folder"),
    "absolute": ("/tmp/evil", r"leads out of its folder"),
    "drive": ("C:/evil", r"leads out of its folder"),
    "backslash": ("top\\..\\..\\evil", r"leads out of its folder"),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", HOSTILE)
def test_paths_that_lead_out_are_refused(tmp_path, kind, name):
    inside = tmp_path / "inside"
    inside.mkdir()
    member, message = HOSTILE[name]
    path = WRITERS[kind](inside / f"a.{kind}", ("top/good.txt", b"good"), (member, b"evil"))
    with pytest.raises(OSError, match=message):
        unpack(path, inside, "top", most=10**6)
    assert os.listdir(inside) == [f"a.{kind}"]
    assert os.listdir(tmp_path) == ["inside"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_what_is_no_file_is_refused(tmp_path, kind):
    path = tar(tmp_path / "a.tgz", ("top/good.txt", b"good"), (special("top/link", kind, "/etc/passwd"), b""))
    with pytest.raises(OSError, match=r"'top/link', which is not a regular file: refused"):
        unpack(path, tmp_path, "top", most=10**6)
    assert os.listdir(tmp_path) == ["a.tgz"]


def test_a_link_in_a_zip_is_refused(tmp_path):
    link = zipfile.ZipInfo("top/link")
    link.external_attr = 0o120777 << 16
    path = zipped(tmp_path / "a.zip", (link, b"/etc/passwd"))
    with pytest.raises(OSError, match="not a regular file"):
        unpack(path, tmp_path, "top", most=10**6)


@pytest.mark.parametrize("kind", WRITERS)
def test_limits(tmp_path, kind):
    path = WRITERS[kind](tmp_path / f"a.{kind}", *((f"top/{i}", bytes(10**6)) for i in range(5)))
    assert path.stat().st_size < 10**5  # a bomb
    with pytest.raises(OSError, match=r"more than 0.0 GB of files: refused"):
        unpack(path, tmp_path, "top", most=4 * 10**6)
    with pytest.raises(OSError, match="holds no folder other"):
        unpack(path, tmp_path, "other", most=10**7)
    assert os.listdir(tmp_path) == [f"a.{kind}"]


@pytest.mark.parametrize("kind", WRITERS)
def test_too_many_files_are_refused(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(archives, "_ENTRIES", 20)
    path = WRITERS[kind](tmp_path / f"a.{kind}", *((f"top/{i}", b"") for i in range(20)))
    assert len(os.listdir(unpack(path, tmp_path, "top", most=0))) == 20
    shutil.rmtree(tmp_path / "top")
    path = WRITERS[kind](tmp_path / f"a.{kind}", *((f"{'top' if i < 5 else 'else'}/{i}", b"") for i in range(21)))
    with pytest.raises(OSError, match=r"holds more than 20 files and folders: refused"):
        unpack(path, tmp_path, "top", most=10**6)
    assert os.listdir(tmp_path) == [f"a.{kind}"]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", [".", "./", "", "top", "./."])
def test_members_without_a_name_are_passed_over(tmp_path, kind, name):
    path = WRITERS[kind](tmp_path / f"a.{kind}", (name, b""), ("./top/a", b"1"))
    assert (unpack(path, tmp_path, "top", most=100) / "a").read_bytes() == b"1"


def test_what_killed_unpackings_left_goes_with_the_next(tmp_path):
    path = tar(tmp_path / "a.tgz", ("top/a", b"1"))
    (tmp_path / ".top.01234567.part" / "top").mkdir(parents=True)
    other = tmp_path / ".other.01234567.part"
    other.mkdir()
    unpack(path, tmp_path, "top", most=100)
    assert sorted(os.listdir(tmp_path)) == [other.name, "a.tgz", "top"]


def test_two_processes_unpack_once(tmp_path, monkeypatch):
    path = tar(tmp_path / "a.tgz", ("top/a", CONTENT))
    members, begun = archives._members, []
    monkeypatch.setattr(archives, "_members", lambda archive: begun.append(1) or members(archive))
    threads = [Thread(target=unpack, args=(path, tmp_path, "top", 10**6)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert begun == [1]
    assert sorted(os.listdir(tmp_path)) == ["a.tgz", "top"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", WRITERS)
def test_a_name_twice_is_refused(tmp_path, kind):
    path = WRITERS[kind](tmp_path / f"a.{kind}", ("top/a", b"1"), ("top/a", b"2"))
    with pytest.raises(OSError, match="twice: refused"):
        unpack(path, tmp_path, "top", most=100)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("cut", [0, 10, 0.5, 0.99])
def test_a_damaged_archive(tmp_path, kind, cut):
    path = WRITERS[kind](tmp_path / f"a.{kind}", ("top/a", CONTENT), ("top/b", CONTENT))
    whole = path.read_bytes()
    path.write_bytes(whole[: cut if cut == 0 or cut >= 1 else int(len(whole) * cut)])
    with pytest.raises(OSError, match=r"is damaged .*replace it with an intact copy"):
        unpack(path, tmp_path, "top", most=10**7)
    assert os.listdir(tmp_path) == [f"a.{kind}"]
