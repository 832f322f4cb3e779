#!/usr/bin/env python3
"""Writes tests/golden/randaugment.json: bytes that the operations of RandAugment must reproduce.

    .peers/torch/bin/python scripts/oracle/golden_randaugment.py > tests/golden/randaugment.json

torchvision's operations by torchvision, at each of its 31 strengths. Composer's by Pillow, with Composer's
strengths (composer/algorithms/utils/augmentation_primitives.py, as of 0.7.0) at several levels. A result is
written as the first 16 digits of the SHA-256 of its bytes. Needs torchvision and Pillow
(scripts/bench/setup-peers).
"""

import hashlib
import json
import random

import PIL
import torchvision
from PIL import Image, ImageEnhance, ImageOps
from torchvision.transforms import InterpolationMode, RandAugment
from torchvision.transforms.autoaugment import _apply_op

SEED = 2404
SIZES = [24, 31]
LEVELS = [0.1, 0.7, 1.9, 3.3, 4.5, 5.05, 6.6, 7.9, 8.999, 9.999]
FACTORS = [0.0, 0.19, 1.0, 2.5, 6.75, 9.0]
BILINEAR = Image.Resampling.BILINEAR


def image(rng, size):
    """A ramp and noise, which leave out the ends of the range and one channel's low values."""
    def byte(channel, y, x):
        ramp = (40 + 4 * x, 200 - 3 * y, 90 + 2 * (x + y))[channel]
        return max(9 + 20 * channel, min(240, ramp + rng.randrange(-30, 31)))
    return bytes(byte(c, y, x) for y in range(size) for x in range(size) for c in range(3))


def digest(image):
    return hashlib.sha256(image.tobytes()).hexdigest()[:16]


def composer(image, kind, level, sign):
    """Composer's operation, once its level and sign are drawn."""
    size = image.size[0]
    def affine(*matrix):
        return image.transform(image.size, Image.Transform.AFFINE, matrix, resample=BILINEAR)
    shear = sign * level * 0.3 / 10
    shift = sign * int(level * (size / 3) / 10)
    factor = level * 1.8 / 10 + 0.1
    return {
        "auto_contrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "posterize": lambda: ImageOps.posterize(image, 4 - int(level * 4 / 10)),
        "rotate": lambda: image.rotate(sign * int(level * 30 / 10), resample=BILINEAR),
        "solarize": lambda: ImageOps.solarize(image, 256 - int(level * 256 / 10)),
        "shear_x": lambda: affine(1, shear, 0, 0, 1, 0),
        "shear_y": lambda: affine(1, 0, 0, shear, 1, 0),
        "translate_x": lambda: affine(1, 0, shift, 0, 1, 0),
        "translate_y": lambda: affine(1, 0, 0, 0, 1, shift),
        "color": lambda: ImageEnhance.Color(image).enhance(factor),
        "contrast": lambda: ImageEnhance.Contrast(image).enhance(factor),
        "brightness": lambda: ImageEnhance.Brightness(image).enhance(factor),
        "sharpness": lambda: ImageEnhance.Sharpness(image).enhance(factor),
    }[kind]()


KINDS = ["auto_contrast", "equalize", "posterize", "rotate", "solarize", "shear_x", "shear_y", "translate_x"]
KINDS += ["translate_y", "color", "contrast", "brightness", "sharpness"]


def of_torchvision(image, kind, sign):
    """Results at each strength."""
    name = "".join(part.capitalize() for part in kind.split("_"))
    magnitudes, signed = RandAugment()._augmentation_space(31, image.size[::-1])[name]
    strengths = [float(m) for m in magnitudes] if magnitudes.ndim else [0.0] * 31
    sign = sign if signed else 1
    nearest = InterpolationMode.NEAREST
    return [digest(_apply_op(image, name, sign * strength, nearest, None)) for strength in strengths]


def main():
    rng = random.Random(SEED)
    images = []
    for size in SIZES:
        pixels = image(rng, size)
        shown = Image.frombytes("RGB", (size, size), pixels)
        results = []
        for sign in (1, -1):
            for kind in KINDS:
                by_level = [digest(composer(shown, kind, level, sign)) for level in LEVELS]
                results.append({"set": "original", "kind": kind, "sign": sign, "results": by_level})
            for kind in KINDS[-4:]:
                enhance = getattr(ImageEnhance, kind.capitalize())(shown).enhance
                by_factor = [digest(enhance(factor)) for factor in FACTORS]
                results.append({"set": "all", "kind": kind, "sign": sign, "results": by_factor})
            for kind in ["identity"] + KINDS:
                by_bin = of_torchvision(shown, kind, sign)
                results.append({"set": "torchvision", "kind": kind, "sign": sign, "results": by_bin})
        images.append({"image_size": size, "pixels": pixels.hex(), "operations": results})
    made_with = {"pillow": PIL.__version__, "torchvision": torchvision.__version__}
    print(json.dumps({"made_with": made_with, "levels": LEVELS, "factors": FACTORS, "images": images}, indent=1))


main()
