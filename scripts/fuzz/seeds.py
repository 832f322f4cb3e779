"""Writes the seeds of the fuzz targets, one folder per target, for `scripts/fuzz/run`. The seeds are the
tests' fixtures, logs and recipes in the form that each target reads.

    seeds.py PROGRAM SCRATCH OUT"""

import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
FORMATS = ROOT / "tests/fixtures/formats"
PROGRAM, SCRATCH, OUT = (pathlib.Path(name).resolve() for name in sys.argv[1:])


def seed(target, name, *parts):
    folder = OUT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"\n--next--\n".join(parts))


def program(*words):
    subprocess.run([PROGRAM, *words], check=True, capture_output=True)


def archive(members, form):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def containers():
    for path in FORMATS.glob("beton*/*"):
        seed("beton", f"{path.parent.name}-{path.name}", path.read_bytes())
    for path in FORMATS.glob("tf*/*"):
        seed("tfrecord", path.name, path.read_bytes())
    for split in ["train", "val"]:
        parts = [FORMATS / f"recordio/{split}.{end}" for end in ["rec", "idx"]]
        seed("recordio", split, *(path.read_bytes() for path in parts))
        for folder in FORMATS.glob(f"mds*/{split}"):
            shards = sorted(folder.glob("*.mds"))
            parts = [path.read_bytes() for path in [folder / "index.json", *shards]]
            seed("mds", f"{folder.parent.name}-{split}", *parts)


def archives():
    classes = {}
    for path in sorted(FORMATS.glob("folder/train/*/*")):
        classes.setdefault(path.parent.name, []).append((path.name, path.read_bytes()))
    inner = [(f"{name}.tar", archive(files, tarfile.USTAR_FORMAT)) for name, files in classes.items()]
    seed("archive", "archives", archive(inner, tarfile.USTAR_FORMAT))
    pairs = []
    for label, files in enumerate(classes.values()):
        pairs += [(f"{label}.jpg", files[0][1]), (f"{label}.cls", b"%d\n" % label), (f"{label}.json", b"{}")]
    seed("archive", "webdataset", archive(pairs, tarfile.GNU_FORMAT))
    long = [(f"{name}/{'x' * 120}{i}.jpg", content) for name, files in classes.items() for i, (_, content) in enumerate(files[:1])]
    for form in [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]:
        seed("archive", f"folders-{form}", archive(long, form))
    seed("labels", "caffe", b"".join(b"ILSVRC2012_val_%08d.JPEG %d\n" % (i, i % 2) for i in [1, 2, 3]))
    seed("labels", "in-order", b"n01440764\nn02102040\nn02102040\n")
    rows = b"".join(b"ILSVRC2012_val_%08d,n02102040 1 2 3 4\n" % i for i in [1, 2, 3])
    seed("labels", "kaggle", b"ImageId,PredictionString\n" + rows)


def stores():
    """Writes seeds from a store and the cached indexes that the program itself writes."""
    program("data", "import", FORMATS / "folder", "--out", SCRATCH / "store")
    for path in (SCRATCH / "store").glob("*.arrow"):
        seed("arrow", path.name, path.read_bytes())
    seed("manifest", "manifest", (SCRATCH / "store/manifest.json").read_bytes())
    for name in ["beton", "folder", "mds", "recordio", "tfrecord"]:
        program("data", "inspect", FORMATS / name)
    for path in pathlib.Path(os.environ["MLPERF_RUN_CACHE"]).glob("index-*.bin"):
        seed("index_cache", path.name, path.read_bytes())


def images():
    for path in [*FORMATS.glob("folder/train/*/*_0.JPEG"), *ROOT.glob("tests/fuzz/seeds/*.[jp]*g")]:
        seed("folder", path.name, path.read_bytes())
        # The last bytes say where to crop: half of the image from its first quarter on.
        seed("jpeg", path.name, path.read_bytes() + bytes([64, 64, 170, 170, 1]))
    # Formats that only an import reads, and orientations.
    for path in (ROOT / "tests/fixtures/images").glob("*.[!p]*"):
        seed("jpeg", path.name, path.read_bytes() + bytes([64, 64, 170, 170, 1]))


def pixels_and_pages():
    """Writes images as pixels, and Parquet files that Hugging Face's `datasets` and pyarrow wrote."""
    seed("jpeg", "pixmap", b"P6 5 4 255\n" + bytes(range(60)) + bytes([64, 64, 170, 170, 1]))
    for path in ROOT.glob("tests/fuzz/seeds/*.parquet"):
        seed("parquet", path.name, path.read_bytes())


def texts():
    for path in ROOT.glob("tests/logs/*.txt"):
        # Longer logs repeat the same records and are slow.
        if path.stat().st_size < 10_000:
            seed("log", path.name, path.read_bytes())
    for path in ROOT.glob("configs/**/*.toml"):
        if "systems" not in path.parts:
            seed("recipe", f"{path.parent.name}-{path.name}", path.read_bytes())
    seed("recipe", "overrides", b'extends = "optimized"', b"train.batch_size=64\nalgorithms.ema=false\n")
    for path in ROOT.glob("src/compliance/rules/*.toml"):
        seed("rules", path.name, path.read_bytes())
    toml = (ROOT / "configs/systems/example.toml").read_bytes()
    description = json.dumps(tomllib.loads(toml.decode()), indent=1).encode()
    hashes = b"%s  systems/box.json\n" % (b"0" * 64)
    for name, division in [("open", b"open"), ("closed", b"closed")]:
        parts = [text.replace(b'"open"', b'"%s"' % division) for text in [description, hashes]]
        seed("submission", name, *parts, b"rcp-bypass\nseed-checker-bypass", toml)
    manifest = {
        "ruleset": "4.0.0", "division": "open", "recipe": {"name": "optimized", "sha256": "0"},
        "seed": 1234, "world_size": 2, "device": "cpu", "libtorch": "2.11.0", "commit": None,
        "data_set": {"path": "x", "num_train": 100, "num_eval": 10, "num_classes": 2,
                     "listing_sha256": "0", "store_division": "closed-safe"},
        "program": {"path": "x", "sha256": "0"}, "host": "box", "argv": [], "started": "",
    }
    recipe = (ROOT / "configs/optimized.toml").read_bytes()
    seed("run", "run", json.dumps(manifest, indent=1).encode(), recipe)


containers()
archives()
stores()
images()
pixels_and_pages()
texts()
