"""Reads and writes data sets with the original libraries and compares them, for `scripts/oracle/data`."""

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
read_batches = pathlib.Path(program).parent / "examples/read_batches"
root = pathlib.Path(__file__).resolve().parents[2]
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
    """Label and hash of each image, sorted, so that neither order nor names matter."""
    return sorted((r["label"], hashlib.sha256(r["image"]["bytes"]).hexdigest())
                  for r in store_rows(store, split))


def pixels(jpeg):
    return numpy.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def encodings(jpeg):
    """(name, file) of one image in every form that training reads."""
    rgb = Image.open(io.BytesIO(jpeg)).convert("RGB")
    alpha = rgb.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(rgb.size))
    forms = {f"jpeg{subsampling}{'p' * progressive}": (rgb, "JPEG", dict(
        quality=90, subsampling=subsampling, progressive=progressive))
        for subsampling in [0, 1, 2] for progressive in [False, True]}
    forms |= {"grey.jpeg": (rgb.convert("L"), "JPEG", dict(quality=90)),
              "cmyk.jpeg": (rgb.convert("CMYK"), "JPEG", dict(quality=90)),
              "rgb.png": (rgb, "PNG", {}), "rgba.png": (alpha, "PNG", {}),
              "palette.png": (rgb.quantize(200), "PNG", dict(transparency=bytes(range(200)))),
              "four_bit.png": (rgb.quantize(16), "PNG", {}),
              "bilevel.png": (rgb.convert("1"), "PNG", {}),
              "grey.png": (rgb.convert("L"), "PNG", {}),
              "grey_alpha.png": (alpha.convert("LA"), "PNG", {})}
    for name, (image, kind, how) in forms.items():
        out = io.BytesIO()
        image.save(out, kind, **how)
        yield name, out.getvalue()


def write_encodings(folder, out):
    """Writes an Arrow set of them that includes their sizes, and returns the files by name."""
    out.mkdir()
    files = {}
    for number, (_, _, jpeg) in enumerate(list(folder_rows(folder, "train"))[:12]):
        files |= {f"{number}-{name}": file for name, file in encodings(jpeg)}
    sizes = [Image.open(io.BytesIO(file)).size for file in files.values()]
    rows = {"label": [i % 2 for i in range(len(files))],
            "image": [{"bytes": file, "path": name} for name, file in files.items()],
            "width": [width for width, _ in sizes], "height": [height for _, height in sizes]}
    table = pyarrow.table(rows)
    for split in ["train", "val"]:
        with pyarrow.ipc.new_stream(out / f"{split}-0.arrow", table.schema) as stream:
            stream.write_table(table)
    return files


def check_crops(folder, scratch, side):
    """Crops against Pillow's `crop` and `resize`, of which torchvision's `resized_crop` consists."""
    files = write_encodings(folder, scratch / f"crops-{side}")
    out = scratch / f"crops-{side}.rgb"
    lines = subprocess.run([read_batches, scratch / f"crops-{side}", str(side), out], check=True,
                           capture_output=True, text=True).stdout.splitlines()
    rows = numpy.fromfile(out, numpy.uint8).reshape(len(lines), side, side, 3)
    worst = 0
    for line, row in zip(lines, rows, strict=True):
        _, box, path = line.split("\t")
        top, left, height, width = map(int, box.split())
        name = path.rsplit("/", 1)[1]
        image = Image.open(io.BytesIO(files[name])).convert("RGB")
        crop = image.crop((left, top, left + width, top + height))
        expected = numpy.asarray(crop.resize((side, side), Image.Resampling.BILINEAR))
        difference = numpy.abs(row.astype(int) - expected).max()
        assert difference <= 2, f"{name}, {box}: difference {difference}"
        worst = max(worst, difference)
    print(f"{len(lines)} crops at {side} px equal Pillow's within {worst} levels")


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
    """Writes Parquet as the Hugging Face hub stores it."""
    (out / "data").mkdir(parents=True)
    for split, rows in datasets_splits(folder).items():
        rows.to_parquet(out / "data" / f"{split}-00000-of-00001.parquet")


def write_ilsvrc(folder, out):
    """Writes the two archives of ILSVRC2012 with Python's tarfile, in its pax format."""
    out.mkdir()
    with tarfile.open(out / "ILSVRC2012_img_train.tar", "w") as outer:
        for path in sorted((folder / "train").iterdir()):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as archive:
                for file in sorted(path.iterdir()):
                    archive.add(file, file.name)
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
            stored = pixels(row["image"]["bytes"])
            assert row["label"] == label
            assert (row["height"], row["width"]) == stored.shape[:2]
            assert numpy.array_equal(stored, pixels(jpeg)), name
        shards = datasets.Dataset.from_file(str(next(store.glob(f"{split}-*.arrow"))))
        assert isinstance(shards.features["label"], datasets.ClassLabel)
        assert shards.features["label"].names == sorted(p.name for p in (folder / split).iterdir())
        assert shards[0]["image"].size == (shards[0]["width"], shards[0]["height"])
    loaded = datasets.load_dataset("arrow", data_files=str(store / "train-*.arrow"),
                                   cache_dir=str(scratch / "cache"))
    assert loaded["train"].num_rows == 80
    print("stores open in datasets and pyarrow with the pixels of their source")
    for side in [176, 64]:
        check_crops(folder, scratch, side)

    for write in [write_webdataset, write_datasets, write_parquet, write_ilsvrc]:
        name = write.__name__.removeprefix("write_")
        write(folder, scratch / name)
        run("import", scratch / name, "--out", scratch / f"{name}-store")
        for split in ["train", "val"]:
            found = content(scratch / f"{name}-store", split)
            assert found == content(store, split), f"{name} {split}"
        print(f"{name}: the same images and labels")

    # FFCV recompresses images, so only their number and labels can be equal.
    written = scratch / "written"
    subprocess.run([root / "scripts/fixtures/formats", folder, written], check=True,
                   capture_output=True)
    for name in ["tfrecord", "tfds", "recordio", "mds", "mds_bytes", "beton"]:
        run("import", written / name, "--out", scratch / f"{name}-store")
        for split in ["train", "val"]:
            found, expected = content(scratch / f"{name}-store", split), content(store, split)
            if name == "beton":
                found, expected = [row[0] for row in found], [row[0] for row in expected]
            assert found == expected, f"{name} {split}"
        print(f"{name}: the same images and labels")
