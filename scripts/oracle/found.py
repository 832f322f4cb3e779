"""Compares sets with oddities that people have met with their own libraries, for `scripts/oracle/data`."""

import hashlib
import importlib.util
import io
import json
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

import datasets
import numpy
import pyarrow
import webdataset
from PIL import Image, ImageOps

program = sys.argv[1]
datasets.disable_progress_bars()


def run(*words):
    done = subprocess.run([program, "data", *map(str, words)], check=True, capture_output=True, text=True)
    return done.stdout


def content(folder, scratch, split="train"):
    """Class and hash of each image of a split, as `data import` reads it."""
    store = scratch / f"{folder.name}-store"
    if not store.exists():
        run("import", folder, "--out", store)
    names = json.loads((store / "manifest.json").read_text())["classes"]
    rows = []
    for shard in sorted(store.glob(f"{split}-*.arrow")):
        with pyarrow.ipc.open_stream(shard) as stream:
            rows += stream.read_all().to_pylist()
    return sorted((names[row["label"]], pixel_hash(row["image"]["bytes"])) for row in rows)


def pixel_hash(file):
    """An import rewrites the file of an image, but not its pixels."""
    return hashlib.sha256(Image.open(io.BytesIO(file)).convert("RGB").tobytes()).hexdigest()


def jpeg(number, **how):
    image = Image.linear_gradient("L").resize((48 + number, 40)).convert("RGB").rotate(7 * number)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90, **how)
    return out.getvalue()


def write_tars(out, members):
    """One shard a split, with the members that `members(number)` gives for each of 8 samples."""
    for split in ["train", "val"]:
        (out / split).mkdir(parents=True)
        with tarfile.open(out / split / "0000.tar", "w") as archive:
            for number in range(8):
                for name, data in members(number):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))


def webdataset_rows(path):
    """Class and hash of each sample by webdataset; of two images, the first of jpg, jpeg and png."""
    shards = webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False)
    for sample in shards:
        image = next(sample[kind] for kind in ["jpg", "jpeg", "png"] if kind in sample)
        yield sample["cls"].decode(), pixel_hash(image)


def label(number):
    return str(number % 2).encode()


def upper(number):
    return [(f"{number:04}.JPG", jpeg(number)), (f"{number:04}.CLS", label(number))]


def from_a_mac(number):
    fork = b"\0\5\26\7\0\2\0\0Mac OS X"
    return [(f"./._{number:04}.jpg", fork), (f"./{number:04}.jpg", jpeg(number)),
            (f"./._{number:04}.cls", fork), (f"./{number:04}.cls", label(number))]


def two_images(number):
    mask = io.BytesIO()
    Image.new("L", (48, 40), number).save(mask, "PNG")
    return [(f"{number:04}.jpg", jpeg(number)), (f"{number:04}.mask.png", mask.getvalue()),
            (f"{number:04}.cls", label(number))]


def dotted(number):
    return [(f"a.b/{number:04}.jpg", jpeg(number)), (f"a.b/{number:04}.cls", label(number))]


def check_webdataset(scratch):
    for members in [upper, from_a_mac, two_images, dotted]:
        folder = scratch / members.__name__
        write_tars(folder, members)
        expected = sorted(webdataset_rows(folder / "train/0000.tar"))
        found = content(folder, scratch)
        assert found == expected and len(found) == 8, (members.__name__, found, expected)
        print(f"webdataset, {members.__name__}: the same images and labels")


def check_turned(scratch):
    """`data inspect` must count the images that datasets would turn."""
    names = ["cat", "dog"]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    exif = Image.Exif()
    exif[0x0112] = 6
    rows = [{"bytes": jpeg(i, **({"exif": exif} if i % 3 == 0 else {})), "path": f"{i}.jpg"} for i in range(8)]
    split = datasets.Dataset.from_dict({"image": rows, "label": [i % 2 for i in range(8)]}, features=features)
    datasets.DatasetDict({"train": split, "validation": split}).save_to_disk(scratch / "turned")
    turned = sum(row["image"].size != Image.open(io.BytesIO(file["bytes"])).size
                 for row, file in zip(split, rows, strict=True))
    said = run("inspect", scratch / "turned")
    found = re.findall(r"(\d+) with an Exif orientation", said)
    assert turned == 3 and found == [str(turned)] * 2, said
    print("datasets, Exif orientation: the same count of turned images")


def photo(kind, orientation):
    """A photo in a format, with an orientation if the format can have one, and its pixels by Pillow."""
    image = Image.linear_gradient("L").resize((61, 40)).convert("RGB").rotate(7 * orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    how = {"JPEG": {"quality": 95, "subsampling": "4:2:0"}, "WEBP": {"quality": 90}}.get(kind, {})
    image.save(out, kind, **({} if kind in ["BMP", "GIF"] else {"exif": exif}), **how)
    return out.getvalue()


def difference(file, expected):
    """Mean difference of a file's pixels from an image."""
    found = Image.open(io.BytesIO(file)).convert("RGB")
    assert found.size == expected.size, (found.size, expected.size)
    shift = numpy.asarray(found, int) - numpy.asarray(expected.convert("RGB"), int)
    return numpy.abs(shift).mean()


def check_formats(scratch):
    """Images of all formats and orientations, as Pillow reads them and as it turns them."""
    photos = {f"{orientation}.{kind}": photo(kind, orientation)
              for kind in ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"] for orientation in range(1, 9)}
    for split in ["train", "val"]:
        for name in ["cat", "dog"]:
            (scratch / "photos" / split / name).mkdir(parents=True)
            for path, file in photos.items():
                (scratch / "photos" / split / name / path).write_bytes(file)
    for option, turned in [("ignore", lambda image: image), ("apply", ImageOps.exif_transpose)]:
        store = scratch / f"photos-{option}"
        run("import", scratch / "photos", "--out", store, "--exif", option)
        with pyarrow.ipc.open_stream(store / "train-00000.arrow") as stream:
            rows = [row["image"] for row in stream.read_all().to_pylist()]
        assert len(rows) == 2 * len(photos)
        worst = max(difference(row["bytes"], turned(Image.open(io.BytesIO(photos[row["path"].split("/")[1]]))))
                    for row in rows)
        assert worst < 2, (option, worst)
        assert all(Image.open(io.BytesIO(row["bytes"])).getexif() == {} for row in rows)
        print(f"Pillow, {len(photos)} photos, --exif {option}: the same images, {worst:.2f} apart at most")


def check_folders(scratch):
    """Classes of nested folders, by torchvision's ImageFolder if it is installed."""
    if not all(map(importlib.util.find_spec, ["torch", "torchvision"])):
        print("torchvision, nested folders: left out; scripts/bench/setup-peers installs it")
        return
    from torchvision.datasets import ImageFolder
    folder = scratch / "nested"
    for split in ["train", "val"]:
        for number in range(8):
            path = folder / split / ["cat", "dog"][number % 2] / ["front", "side"][number // 4]
            path.mkdir(parents=True, exist_ok=True)
            (path / f"{number}.jpg").write_bytes(jpeg(number))
    peer = ImageFolder(folder / "train")
    expected = sorted((peer.classes[label], pixel_hash(pathlib.Path(path).read_bytes()))
                      for path, label in peer.samples)
    assert content(folder, scratch) == expected
    print("torchvision, nested folders: the same images and classes")


with tempfile.TemporaryDirectory() as scratch:
    scratch = pathlib.Path(scratch)
    check_webdataset(scratch)
    check_turned(scratch)
    check_formats(scratch)
    check_folders(scratch)
