"""Writes data sets in other libraries' formats, with those libraries; see make-format-fixtures."""

import io
import pathlib
import shutil
import sys
import types
from unittest.mock import MagicMock

import cv2
import mxnet
import numpy
import tfrecord
from PIL import Image, JpegImagePlugin

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".peers/formats"))

# Writing needs neither torch nor FFCV's C++ part, but both libraries import them.
for name in ["torch", "torch.distributed", "torch.nn", "torch.nn.functional", "torch.utils",
             "torch.utils.data", "torchvision", "ffcv.libffcv"]:
    sys.modules[name] = MagicMock(__spec__=MagicMock())
streaming = pathlib.Path(mxnet.__file__).parents[1] / "streaming"
for name, folder in [("ffcv", ROOT / ".peers/formats/ffcv"), ("streaming", streaming),
                     ("streaming.base", streaming / "base")]:
    # Without the package's __init__, which imports its loader.
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package

from ffcv import writer as ffcv_writer  # noqa: E402
from ffcv.fields import IntField, RGBImageField  # noqa: E402
from streaming.base.format.mds.writer import MDSWriter  # noqa: E402

SPLITS = {"train": "train", "val": "validation"}


def rows(folder, split):
    """(label, class, path) in ImageFolder's order."""
    classes = sorted(path.name for path in (folder / split).iterdir())
    for label, name in enumerate(classes):
        for path in sorted((folder / split / name).iterdir()):
            yield label, name, path


def write_tfrecord(folder, out, shards=2):
    """Features and names of files as TensorFlow's build_imagenet_data.py writes them."""
    out.mkdir(parents=True)
    for split, name in SPLITS.items():
        samples = list(rows(folder, split))
        for shard in range(shards):
            writer = tfrecord.TFRecordWriter(str(out / f"{name}-{shard:05}-of-{shards:05}"))
            for label, synset, path in samples[shard::shards]:
                jpeg = path.read_bytes()
                width, height = Image.open(io.BytesIO(jpeg)).size
                writer.write({
                    "image/height": (height, "int"), "image/width": (width, "int"),
                    "image/colorspace": (b"RGB", "byte"), "image/channels": (3, "int"),
                    "image/class/label": (label + 1, "int"),
                    "image/class/synset": (synset.encode(), "byte"),
                    "image/object/bbox/xmin": ([0.25, 0.5], "float"),
                    "image/object/bbox/label": ([label + 1, label + 1], "int"),
                    "image/format": (b"JPEG", "byte"),
                    "image/filename": (path.name.encode(), "byte"),
                    "image/encoded": (jpeg, "byte")})
            writer.close()


def write_tfds(folder, out):
    """Features and names of files of TensorFlow Datasets."""
    out.mkdir(parents=True)
    for split, name in SPLITS.items():
        writer = tfrecord.TFRecordWriter(str(out / f"set-{name}.tfrecord-00000-of-00001"))
        for label, _, path in rows(folder, split):
            writer.write({"image": (path.read_bytes(), "byte"), "label": (label, "int"),
                          "file_name": (path.name.encode(), "byte")})
        writer.close()


def write_recordio(folder, out):
    """As im2rec --pass-through; a picture in three has two labels, the first training picture the
    format's magic in it, which splits its record."""
    out.mkdir(parents=True)
    for split in SPLITS:
        record = mxnet.recordio.MXIndexedRecordIO(
            str(out / f"{split}.idx"), str(out / f"{split}.rec"), "w")
        for number, (label, _, path) in enumerate(rows(folder, split)):
            jpeg = path.read_bytes()
            if number == 0 and split == "train":
                # A comment right after the start of the picture, the magic on a word's boundary.
                magic = (0xced7230a).to_bytes(4, "little")
                jpeg = jpeg[:2] + b"\xff\xfe\x00\x10xx" + 3 * magic + jpeg[2:]
            labels = [label, 7.5] if number % 3 == 1 else label
            header = mxnet.recordio.IRHeader(0, labels, number, 0)
            record.write_idx(number, mxnet.recordio.pack(header, jpeg))
        record.close()


def write_mds(folder, out, limit):
    for split in SPLITS:
        columns = {"image": "jpeg", "label": "int", "name": "str"}
        with MDSWriter(out=str(out / split), columns=columns, size_limit=limit) as writer:
            for label, name, path in rows(folder, split):
                writer.write({"image": Image.open(path), "label": label, "name": name})


def write_mds_bytes(folder, out):
    for split in SPLITS:
        columns = {"x": "bytes", "y": "uint16"}
        with MDSWriter(out=str(out / split), columns=columns) as writer:
            for label, _, path in rows(folder, split):
                writer.write({"x": path.read_bytes(), "y": numpy.uint16(label)})


class Pictures:
    """Of a split, in its order."""

    def __init__(self, folder, split):
        self.rows = list(rows(folder, split))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        label, _, path = self.rows[i]
        return numpy.asarray(Image.open(path).convert("RGB")), label


def write_beton(folder, out, page_size, mode="jpg", splits=SPLITS):
    out.mkdir(parents=True)
    numpy.random.seed(0)
    ffcv_writer.MIN_PAGE_SIZE = 1 << 12  # Its own 2 MiB are too much for a small fixture.
    for split in splits:
        fields = {"image": RGBImageField(write_mode=mode, jpeg_quality=90), "label": IntField()}
        writer = ffcv_writer.DatasetWriter(
            str(out / f"{split}_32_0.50_90.beton"), fields, page_size=page_size, num_workers=1)
        writer.from_indexed_dataset(Pictures(folder, split))


def write_folder(out):
    """Six training and two validation pictures of two classes, less than a kilobyte each."""
    for split, count in [("train", 3), ("val", 1)]:
        for label, name in enumerate(["n01440764", "n02102040"]):
            (out / split / name).mkdir(parents=True)
            for i in range(count):
                width, height = 32 + 4 * i, 28 - 2 * i
                y, x = numpy.mgrid[:height, :width]
                wave = numpy.sin((x * (1 + label) + y * (2 - label)) / 4 + i)
                pixels = 128 + 80 * numpy.stack([wave, wave * (1 - label), -wave], axis=-1)
                picture = Image.fromarray(pixels.astype(numpy.uint8))
                picture.save(out / split / name / f"{name}_{i}.JPEG", quality=85)


if len(sys.argv) > 1:
    folder, out = map(pathlib.Path, sys.argv[1:])
    page_size = 1 << 21
else:
    out = ROOT / "tests/fixtures/formats"
    shutil.rmtree(out, ignore_errors=True)
    folder, page_size = out / "folder", 1 << 12
    write_folder(folder)
assert JpegImagePlugin and cv2
write_tfrecord(folder, out / "tfrecord")
write_tfds(folder, out / "tfds")
write_recordio(folder, out / "recordio")
write_mds(folder, out / "mds", page_size)
write_mds_bytes(folder, out / "mds_bytes")
write_beton(folder, out / "beton", page_size)
write_beton(folder, out / "beton_mixed", page_size, "proportion", ["train"])
