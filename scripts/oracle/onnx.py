"""Runs an ONNX model in onnxruntime and prints logits and metadata as JSON.

    .peers/report/bin/python scripts/oracle/onnx.py MODEL IMAGES N C H W

IMAGES has N x C x H x W numbers in fp32.
"""

import json
import sys

import numpy
import onnxruntime

model, images, *shape = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
images = numpy.fromfile(images, dtype=numpy.float32).reshape([int(n) for n in shape])
(logits,) = session.run(None, {"images": images})
print(json.dumps({"logits": logits.flatten().tolist(), "metadata": session.get_modelmeta().custom_metadata_map}))
