"""What hf_vit.py and hf_convnext.py share: the loss of transformers' own model, by a configuration, of weights and images
that C can make again.

Tensor k is a hash (golden.py), amplitude 0.4 if it has more than one dimension, else 0.2, about 1 if the script says so.
Image i's byte j is hash(900 + i, j) mod 256, (channels, height, width), seen as byte / 127.5 - 1; its label is
hash(899, i) mod classes.
"""
import tempfile

from golden import hash32, values

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional as F


def made(k, shape, about_one):
    flat = values(k, int(np.prod(shape)), 0.4 if len(shape) > 1 else 0.2, 1.0 if about_one else 0.0)
    return torch.from_numpy(flat).reshape(shape)


def loss(kind, config, state, images):
    """Mean cross entropy in float64 of `images` images."""
    with tempfile.TemporaryDirectory() as directory:
        config.save_pretrained(directory)
        save_file(state, directory + "/model.safetensors", {"format": "pt"})
        model, told = kind.from_pretrained(directory, output_loading_info=True)
    assert not any(told.values()), told
    model = model.eval().double()
    shape = images, config.num_channels, config.image_size, config.image_size
    pixels = np.stack([hash32(900 + i, np.arange(np.prod(shape[1:]))) % 256 for i in range(images)])
    x = torch.from_numpy(pixels.astype(np.float64) / 127.5 - 1).reshape(shape)
    labels = torch.from_numpy((hash32(899, np.arange(images)) % config.num_labels).astype(np.int64))
    with torch.no_grad():
        return F.cross_entropy(model(x).logits, labels).item()
