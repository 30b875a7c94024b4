"""Pictures at the paper's scale, from the disk to a batch: ``python -m tests.benchmarks loader``, two minutes."""

import os
import tempfile
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from sstutils.datasets import Folder, StanfordOnlineProducts, batches
from sstutils.photos.cache import cache_resized
from tests.benchmarks.bench_sampling import row

SIDE, BATCH, WORKERS = 256, 200, 2
PHOTOS, NAMES = 400, 5  # pictures, and the files that each is linked to: 2,000 images, of which the cache takes 393 MB


def photographs(folder: Path) -> None:
    """Write JPEG files of 500x375, of noise so smooth that they have about the bytes of photographs (100 KB)."""
    random = np.random.default_rng(0)
    for i in range(PHOTOS):
        coarse = Image.fromarray(random.integers(0, 256, (47, 63, 3), dtype=np.uint8)).resize((500, 375))
        fine = np.asarray(coarse, np.int16) + random.integers(-12, 13, (375, 500, 3), dtype=np.int16)
        path = folder / f"class{i % 20:02d}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(fine.clip(0, 255).astype(np.uint8)).save(path, quality=90)
        for name in range(1, NAMES):
            os.link(path, path.with_name(f"{i}-{name}.jpg"))


def products(root: Path) -> None:
    """Lay out Stanford Online Products at its true number of files, each a link to one tiny picture."""
    folder, last = root / "Stanford_Online_Products", 0
    for kind in range(12):
        (folder / f"kind{kind}_final").mkdir(parents=True)
    Image.new("RGB", (1, 1)).save(root / "0.jpg")
    for split, (classes, images) in StanfordOnlineProducts.counts.items():
        lines = ["image_id class_id super_class_id path"]
        for i in range(images):
            label = last + 1 + i % classes
            name = f"kind{label % 12}_final/{label}_{i // classes}.JPG"
            lines.append(f"{i + 1} {label} {label % 12 + 1} {name}")
            if i % 30_000 == 0:  # file systems allow so many links to one file
                picture = root / f"{split}{i}.jpg"
                picture.write_bytes((root / "0.jpg").read_bytes())
            os.link(picture, folder / name)
        last += classes
        (folder / f"Ebay_{split}.txt").write_text("\n".join(lines))


def seconds(loaded: Iterable) -> float:
    """Return the seconds that a batch takes, the median after the first two (in which processes start)."""
    moments = [time.perf_counter() for _ in loaded]
    return float(np.median([end - start for start, end in pairwise(moments[1:])]))


def rows() -> list[dict]:
    """Measure."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        photographs(root / "photographs")
        photos = Folder(root / "photographs", "all")
        cached = cache_resized(photos, SIDE, root, workers=WORKERS, progress=False)
        random = np.random.default_rng(1)
        order = [random.permutation(len(photos))[:BATCH].tolist() for _ in range(60)]
        scale = v2.Compose([v2.Resize((SIDE, SIDE), antialias=True), v2.PILToTensor()])
        peer = DataLoader(ImageFolder(photos.root, scale), batch_sampler=order[:12], num_workers=WORKERS)
        ours, theirs = [], []
        for _ in range(3):  # in turn, so that what else runs on the machine meets both alike
            ours.append((seconds(batches(cached, order, SIDE)), seconds(batches(photos, order[:12], SIDE, WORKERS))))
            theirs.append(seconds(peer))
        mapped, files = np.median(ours, axis=0)
        theirs = float(np.median(theirs))
        started = time.perf_counter()
        cache_resized(photos, SIDE, root, progress=False)
        opened = time.perf_counter() - started
        products(root)
        listed = []
        for split in StanfordOnlineProducts.splits:
            started = time.perf_counter()
            if StanfordOnlineProducts(root, split).fingerprint:
                listed.append(time.perf_counter() - started)
    peer = f"torchvision's ImageFolder, {WORKERS} workers ({BATCH / theirs:,.0f}/s)"
    size = f"{BATCH} images of {SIDE}x{SIDE}"
    return [
        row(f"{size} from the cache ({BATCH / mapped:,.0f}/s)", float(mapped), peer, theirs, least=10),
        row(f"{size} from JPEG files ({BATCH / files:,.0f}/s)", float(files), peer, theirs, least=1 / 1.5),
        row(f"opening and checking a cache of {cached.data.nbytes / 1e9:.2f} GB", opened, most=5),
        *(
            row(f"listing {images:,} products ({split}) and their fingerprint", took, most=10)
            for (split, (_, images)), took in zip(StanfordOnlineProducts.counts.items(), listed, strict=True)
        ),
    ]
