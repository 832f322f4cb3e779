"""Reads and writes data sets with the original libraries and compares; see oracle-data."""

import hashlib
import io
import pathlib
import subprocess
import sys
import tarfile
import tempfile

import datasets
import numpy
import pyarrow
import webdataset
from PIL import Image

program = sys.argv[1]
root = pathlib.Path(__file__).resolve().parent.parent
datasets.disable_progress_bars()


def run(*words):
    subprocess.run([program, "data", *map(str, words)], check=True, capture_output=True)


def folder_rows(root, split):
    """(label, file name, bytes) in ImageFolder's order."""
    classes = sorted(path.name for path in (root / split).iterdir())
    for label, name in enumerate(classes):
        for path in sorted((root / split / name).iterdir()):
            yield label, path.name, path.read_bytes()


def store_rows(root, split):
    """Rows of a store, by pyarrow."""
    for shard in sorted(root.glob(f"{split}-*.arrow")):
        with pyarrow.ipc.open_stream(shard) as stream:
            yield from stream.read_all().to_pylist()


def content(store, split):
    """Label and hash of each picture, sorted: what does not depend on order or names."""
    return sorted((r["label"], hashlib.sha256(r["image"]["bytes"]).hexdigest())
                  for r in store_rows(store, split))


def pixels(jpeg):
    return numpy.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def write_webdataset(folder, out):
    for split in ["train", "val"]:
        (out / split).mkdir(parents=True)
        with webdataset.ShardWriter(str(out / split / "%04d.tar"), maxcount=25, verbose=0) as sink:
            for i, (label, _, jpeg) in enumerate(folder_rows(folder, split)):
                sink.write({"__key__": f"{i:06d}", "jpg": jpeg, "cls": label,
                            "json": {"label": label}})


def datasets_splits(folder):
    names = sorted(path.name for path in (folder / "train").iterdir())
    features = datasets.Features({"label": datasets.ClassLabel(names=names),
                                  "image": datasets.Image(decode=False)})
    splits = {}
    for split, other in [("train", "train"), ("val", "validation")]:
        rows = list(folder_rows(folder, split))
        columns = {"label": [row[0] for row in rows],
                   "image": [{"bytes": row[2], "path": row[1]} for row in rows]}
        splits[other] = datasets.Dataset.from_dict(columns, features=features)
    return splits


def write_datasets(folder, out):
    datasets.DatasetDict(datasets_splits(folder)).save_to_disk(out)


def write_parquet(folder, out):
    """As the Hugging Face hub keeps it."""
    (out / "data").mkdir(parents=True)
    for split, rows in datasets_splits(folder).items():
        rows.to_parquet(out / "data" / f"{split}-00000-of-00001.parquet")


def write_ilsvrc(folder, out):
    """The two archives of ILSVRC2012, by Python's own tarfile, in its pax format."""
    out.mkdir()
    with tarfile.open(out / "ILSVRC2012_img_train.tar", "w") as outer:
        for path in sorted((folder / "train").iterdir()):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as archive:
                for picture in sorted(path.iterdir()):
                    archive.add(picture, picture.name)
            info = tarfile.TarInfo(f"{path.name}.tar")
            info.size = inner.tell()
            inner.seek(0)
            outer.addfile(info, inner)
    with (tarfile.open(out / "ILSVRC2012_img_val.tar", "w", format=tarfile.PAX_FORMAT) as archive,
          open(out / "val_labels.txt", "w") as labels):
        for path in sorted((folder / "val").rglob("*.JPEG")):
            archive.add(path, path.name)
            labels.write(f"{path.name} {path.parent.name}\n")


with tempfile.TemporaryDirectory() as scratch:
    scratch = pathlib.Path(scratch)
    folder = scratch / "folder"
    run("synth", "--out", folder, "--num-classes", 4, "--num-train", 80, "--num-eval", 40,
        "--size", 96)
    store = scratch / "store"
    run("import", folder, "--out", store)
    run("verify", store)

    for split in ["train", "val"]:
        rows = {row["image"]["path"].split("/")[-1]: row for row in store_rows(store, split)}
        source = list(folder_rows(folder, split))
        assert len(rows) == len(source) > 0
        for label, name, jpeg in source:
            row = rows[name]
            picture = pixels(row["image"]["bytes"])
            assert row["label"] == label
            assert (row["height"], row["width"]) == picture.shape[:2]
            assert numpy.array_equal(picture, pixels(jpeg)), name
        shards = datasets.Dataset.from_file(str(next(store.glob(f"{split}-*.arrow"))))
        assert isinstance(shards.features["label"], datasets.ClassLabel)
        assert shards.features["label"].names == sorted(p.name for p in (folder / split).iterdir())
        assert shards[0]["image"].size == (shards[0]["width"], shards[0]["height"])
    loaded = datasets.load_dataset("arrow", data_files=str(store / "train-*.arrow"),
                                   cache_dir=str(scratch / "cache"))
    assert loaded["train"].num_rows == 80
    print("stores open in datasets and pyarrow with the pixels of their source")

    for write in [write_webdataset, write_datasets, write_parquet, write_ilsvrc]:
        name = write.__name__.removeprefix("write_")
        write(folder, scratch / name)
        run("import", scratch / name, "--out", scratch / f"{name}-store")
        for split in ["train", "val"]:
            found = content(scratch / f"{name}-store", split)
            assert found == content(store, split), f"{name} {split}"
        print(f"{name}: the same pictures and labels")

    # FFCV compresses pictures anew: only their number and labels can be the same.
    written = scratch / "written"
    subprocess.run([root / "scripts/make-format-fixtures", folder, written], check=True,
                   capture_output=True)
    for name in ["tfrecord", "tfds", "recordio", "mds", "mds_bytes", "beton"]:
        run("import", written / name, "--out", scratch / f"{name}-store")
        for split in ["train", "val"]:
            found, expected = content(scratch / f"{name}-store", split), content(store, split)
            if name == "beton":
                found, expected = [row[0] for row in found], [row[0] for row in expected]
            assert found == expected, f"{name} {split}"
        print(f"{name}: the same pictures and labels")
