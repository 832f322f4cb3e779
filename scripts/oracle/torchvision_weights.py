"""Writes a ResNet-18 of torchvision's as safetensors and prints its class probabilities for an image.

    .peers/torch/bin/python scripts/oracle/torchvision_weights.py FOLDER IMAGE
"""

import json
import pathlib
import sys

import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torchvision import transforms

folder, image = sys.argv[1:]
torch.manual_seed(5)
model = torchvision.models.resnet18(num_classes=7).eval()
with torch.no_grad():
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.uniform_(-0.1, 0.1)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, pathlib.Path(folder) / "resnet18.safetensors")
prepare = transforms.Compose([
    transforms.Resize(64),
    transforms.CenterCrop(56),
    transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
])
with torch.no_grad():
    logits = model(prepare(Image.open(image).convert("RGB")).unsqueeze(0))
print(json.dumps(logits.double().softmax(-1).flatten().tolist()))
