"""The index: embeddings of pictures in one file, searched exactly."""

import shutil
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import sstutils as sst
from sstutils import cli
from sstutils.index import Index, index_pictures, load_pictures, nearest
from sstutils.index.page import render_page


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of JPEGs as people have them: odd sizes, upper-case suffixes, a class of one, one without a class."""
    root, rng = tmp_path_factory.mktemp("index") / "my photos", np.random.default_rng(0)
    for number, (name, count) in enumerate({"ant": 6, "bee": 6, "cow $x$": 6, "dodo": 1}.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            noise = rng.integers(0, 40, (20 + 3 * i, 41 - i, 3))
            Image.fromarray((60 * number + noise).astype(np.uint8)).save(
                root / name / f"{i}.{'JPG' if i % 2 else 'png'}"
            )
    Image.new("L", (30, 30), 200).save(root / "loose.png")
    (root / "bee" / "broken.jpg").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def checkpoint(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("network") / "net.pt"
    recipe = sst.Recipe(epochs=1, batch_size=8, dim=16, sampler="shuffled", size=16)
    rng = np.random.default_rng(1)
    data = sst.datasets.ArrayDataset(rng.integers(0, 255, (16, 16, 16, 3), np.uint8), [0, 1] * 8, ["a", "b"])
    sst.fit(data, recipe, out=out, progress=False, where="cpu")
    return out


def test_a_folder_is_indexed_saved_and_searched(photos, checkpoint, tmp_path):
    out = tmp_path / "photos.index"
    with pytest.warns(UserWarning, match=r"broken\.jpg cannot be read .*; it is left out"):
        index = index_pictures(f"folder:{photos}", checkpoint, out)
    assert (len(index), index.added, index.removed, index.unreadable) == (20, 20, 0, 1)
    assert set(index.labels) == {"ant", "bee", "cow $x$", "dodo", ""}
    loaded = Index.load(out)
    assert torch.equal(loaded.embeddings, index.embeddings)
    assert (loaded.names, loaded.labels) == (index.names, index.labels)
    # Each picture is nearest to itself, whatever it is given as; as a file of the index it is left out.
    item = loaded.names.index("bee/2.png")
    image = Image.open(loaded.path(item)).convert("RGB")
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    for query in (image, array, tensor, tensor / 255):
        distances, items = loaded.search(query, 3)
        assert items[0, 0] == item
        assert distances[0, 0] == pytest.approx(0, abs=1e-4)
    distances, items = loaded.search([loaded.path(item), image], 19)
    assert item not in items[0]
    assert items[1, 0] == item
    copied = shutil.copy(loaded.path(item), tmp_path / "copy.png")
    assert loaded.search(copied, 1)[1].item() == item


def test_only_what_changed_is_embedded_again(photos, checkpoint, tmp_path, monkeypatch):
    root, out = shutil.copytree(photos, tmp_path / "photos"), tmp_path / "photos.index"
    (root / "bee" / "broken.jpg").unlink()
    before = index_pictures(f"folder:{root}", checkpoint, out)
    embedded = []
    monkeypatch.setattr(
        "sstutils.index.embed", lambda model, data, **how: embedded.append(len(data)) or sst.embed(model, data, **how)
    )
    assert index_pictures(f"folder:{root}", checkpoint, out).added == 0
    assert embedded == []
    (root / "ant" / "0.png").unlink()
    Image.new("RGB", (9, 9), "red").save(root / "ant" / "1.JPG")
    Image.new("RGB", (9, 9), "blue").save(root / "new.png")
    after = index_pictures(f"folder:{root}", checkpoint, out)
    assert (embedded, after.added, after.removed, len(after)) == ([2], 2, 1, 20)
    fresh = Index.build(checkpoint, load_pictures(f"folder:{root}"))
    torch.testing.assert_close(after.embeddings, fresh.embeddings)
    assert not torch.equal(before.embeddings[1], after.embeddings[after.names.index("ant/1.JPG")])


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 6), st.randoms(use_true_random=False))
def test_nearest_is_a_full_sort(count, width, queries, random):
    x = torch.tensor([[random.randint(-3, 3) / 2 for _ in range(width)] for _ in range(count)])
    q = torch.tensor([[random.randint(-3, 3) / 2 for _ in range(width)] for _ in range(queries)])
    k = random.randint(1, count)
    distances, items = nearest(x, q, k)
    expected = torch.cdist(q.double(), x.double(), compute_mode="donot_use_mm_for_euclid_dist").sort(dim=1, stable=True)
    torch.testing.assert_close(distances.double(), expected.values[:, :k], atol=1e-6, rtol=1e-6)
    if k == count:
        assert torch.equal(items, expected.indices)  # of equal distances the first item comes first


def test_nearest_works_in_blocks_and_leaves_out(monkeypatch):
    monkeypatch.setattr("sstutils.index._ROWS", 7)
    generator = torch.Generator().manual_seed(0)
    x, without = torch.randn(50, 8, generator=generator), torch.tensor([3, -1, 49])
    distances, items = nearest(x, x[[3, 4, 49]], 5, without)
    d = torch.cdist(x[[3, 4, 49]], x)
    d[0, 3] = d[2, 49] = torch.inf
    expected = d.topk(5, largest=False)
    assert torch.equal(items, expected.indices)
    torch.testing.assert_close(distances, expected.values, atol=1e-5, rtol=1e-5)


def test_an_index_of_data_in_memory_and_a_network_of_ones_own(tmp_path):
    data = sst.load("digits", part=100)
    model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten())
    index = Index.build(lambda_free(model), data)
    index.save(tmp_path / "digits.index")
    with pytest.raises(ValueError, match="does not say where its network is"):
        Index.load(tmp_path / "digits.index").search(data[0][0])
    loaded = Index.load(tmp_path / "digits.index", index.model)
    distances, items = loaded.search(data[5][0], 4)
    assert (items[0, 0], distances[0, 0]) == (5, 0)
    label, share = loaded.vote(items[0])
    assert share == sum(loaded.labels[i] == label for i in items[0]) / 4


def lambda_free(model):
    """A network of floats in 0..1 takes the uint8 images that embed gives it."""
    return torch.nn.Sequential(ToFloat(), model)


class ToFloat(torch.nn.Module):
    def forward(self, x):
        return x.float() / 255


def test_a_vote_of_equals_goes_to_the_nearest():
    index = Index(embeddings=torch.zeros(4, 1), labels=["b", "a", "a", "b"], names=list("0123"))
    assert index.vote([1, 0, 2, 3]) == ("a", 0.5)
    assert index.vote(torch.tensor([0, 1, 2])) == ("a", 2 / 3)
    for wrong in ([True, False], [0.5], [-1], [4]):
        with pytest.raises(ValueError, match=r"^items must be (between 0 and 3|a one-dimensional)"):
            index.vote(wrong)
        with pytest.raises(ValueError, match=r"^item must be (between 0 and 3|an integer), got"):
            index.path(wrong[0])


def test_what_cannot_be_searched_is_said_in_one_line(photos, checkpoint, tmp_path):
    (tmp_path / "good").mkdir()
    shutil.copy(photos / "loose.png", tmp_path / "good" / "a.png")
    shutil.copy(photos / "ant" / "0.png", tmp_path / "good" / "b.png")
    out = tmp_path / "good.index"
    index = index_pictures(f"folder:{tmp_path / 'good'}", checkpoint, out)
    one = photos / "loose.png"
    for query, k, message in [
        (one, 3, "k must be between 1 and 2, got 3"),
        (index.path(0), 2, "k must be between 1 and 1, got 2"),
        (np.zeros((5, 5, 7), np.uint8), 1, r"got uint8 of shape \(5, 5, 7\)"),
        (np.full((5, 5, 3), -9.0), 1, r"got float64 of shape"),
        (7, 1, "a query must be a path or an image"),
        ([], 1, "there is nothing to embed|no picture"),
    ]:
        with pytest.raises(ValueError, match=message):
            index.search(query, k)
    for path, message in [(tmp_path / "none.png", "no picture at"), (photos / "bee" / "broken.jpg", "cannot be read")]:
        with pytest.raises(OSError, match=message):
            index.search(path, 1)
    with pytest.raises(FileNotFoundError, match=r"no index at .*; make one with `sst index`"):
        Index.load(tmp_path / "none.index")
    with pytest.raises(ValueError, match="is not a valid index"):
        Index.load(checkpoint)
    with pytest.raises(ValueError, match=r"is the index of .*good; choose another file for"):
        index_pictures(f"folder:{photos}", checkpoint, out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"pictures not found in .*empty"):
        index_pictures(f"folder:{tmp_path / 'empty'}", checkpoint, tmp_path / "empty.index")
    assert not (tmp_path / "empty.index").exists()
    with pytest.raises(ValueError, match="made with another network"):
        Index.load(out, sst.EmbeddingNet(dim=16))


def test_an_index_whose_network_was_trained_again_is_refused(photos, checkpoint, tmp_path):
    network, out = tmp_path / "net.pt", tmp_path / "a.index"
    shutil.copy(checkpoint, network)
    data = sst.load("digits", part=100)
    Index.build(network, data).save(out)
    sst.fit(data, sst.Recipe(epochs=1, batch_size=20, dim=8), out=network, progress=False, where="cpu")
    with pytest.raises(
        ValueError, match=r"net.pt holds another network than .*a.index was made with; remove that file"
    ):
        Index.load(out).search(data[0][0])
    with pytest.raises(ValueError, match=r"a.index was made with another network; remove it, or choose another file"):
        Index.build(network, data, known=Index.load(out))


def test_a_flipped_bit_is_found_or_harmless(photos, checkpoint, tmp_path):
    data, path = sst.load("digits", part=100), tmp_path / "a.index"
    index = Index.build(checkpoint, data)
    index.save(path)
    raw, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for place in rng.integers(0, len(raw), 60):
        flipped = bytearray(raw)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            loaded = Index.load(path)
        except ValueError as error:
            assert "is not a valid index" in str(error)
            refused += 1
        else:
            assert torch.equal(loaded.embeddings, index.embeddings)
            assert (loaded.names, loaded.labels, loaded.network) == (index.names, index.labels, index.network)
    assert refused > 30


def test_what_is_found_is_described_and_rendered_with_names_as_they_are(photos, checkpoint, tmp_path):
    root = shutil.copytree(photos, tmp_path / "<b>photos &")
    (root / "bee" / "broken.jpg").unlink()
    (root / "cow $x$").rename(root / "<script>alert(1)</script>".replace("/", "_"))
    index = Index.build(checkpoint, load_pictures(f"folder:{root}"))
    copy = shutil.copy(root / "ant" / "2.png", tmp_path / "<i>.png")
    queries = [copy, str(root / "ant" / "2.png")]
    first, second = index.describe(queries, *index.search(queries, 18))
    assert first["found"][0]["file"] == str(root / "ant" / "2.png")
    assert [entry["same"] for entry in first["found"]] == [True] + [False] * 17
    assert not any(entry["same"] for entry in second["found"])
    page = render_page([first, second])
    assert page.count("data:image/jpeg") == 2 + 2 * 18
    assert "<i>.png" not in page
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;_script&gt;" in page
    (root / "ant" / "3.JPG").unlink()  # gone since: the page is made without it
    assert render_page([first]).count("data:image/jpeg") == 18


@pytest.mark.parametrize(
    "change",
    [
        {"embeddings": torch.full((19, 16), torch.nan)},
        {"embeddings": torch.zeros(19, 16, dtype=torch.float16)},
        {"targets": torch.full((19,), -1)},
        {"size": 10**9},
        {"folder": "\0"},
        {"checkpoint": "x" * 10**6},
    ],
    ids=str,
)
def test_an_index_from_a_stranger_is_checked(change, tmp_path):
    index = Index(embeddings=torch.zeros(19, 16), names=["x"] * 19, labels=["a"] * 19, network="")
    index.stamps = np.zeros((19, 2), np.int64)
    index.save(tmp_path / "a.index")
    assert len(Index.load(tmp_path / "a.index")) == 19
    torch.save(torch.load(tmp_path / "a.index") | change, tmp_path / "a.index")
    with pytest.raises(ValueError, match=r"is not a valid index of sstutils .*remove a damaged one first"):
        Index.load(tmp_path / "a.index")


def test_a_search_writes_over_nothing_that_it_reads(photos, checkpoint, tmp_path, capsys):
    root, network, out = tmp_path / "日本 $x$", tmp_path / "net.pt", tmp_path / "a.index"
    (root / "ant").mkdir(parents=True)
    shutil.copy(checkpoint, network)
    query = shutil.copy(photos / "ant" / "0.png", tmp_path / "query.png")
    for i in (1, 2, 4):
        name = f"{i}.{'JPG' if i == 1 else 'png'}"
        picture = shutil.copy(photos / "ant" / name, root / "ant" / name)
    assert cli.main(["index", f"folder:{root}", "--checkpoint", str(network), "--out", str(out)]) == 0
    search = ["search", str(query), "--index", str(out)]
    for option in ("--html", "--png"):
        for path in (network, out, query, picture):
            before = path.read_bytes()
            assert cli.main([*search, option, str(path)]) == 2
            assert path.read_bytes() == before
        assert cli.main([*search, option, "-"]) == 2
    assert cli.main([*search, "--html", str(tmp_path / "x"), "--png", str(tmp_path / "x")]) == 2
    capsys.readouterr()
    # Without -k, of a small index as many as there are.
    picture.unlink()
    with pytest.warns(UserWarning, match="1 images could not be read"):
        assert cli.main([*search, "--png", str(tmp_path / "found.png")]) == 0
    assert "ant (100% of the 2 nearest)" in capsys.readouterr().out
    with cli._warning_in_a_line():
        assert warnings.formatwarning("two\nlines", UserWarning, "a.py", 1) == "sst: warning: two lines\n"


def test_data_in_memory_are_indexed_by_the_command(checkpoint, tmp_path, capsys):
    out = tmp_path / "digits.index"
    assert cli.main(["index", "digits", "--checkpoint", str(checkpoint), "--out", str(out)]) == 0
    assert "896 pictures (896 embedded, 0 removed, 0 unreadable)" in capsys.readouterr().out
