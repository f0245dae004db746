#!/usr/bin/python3
"""Golden values for augmentation by fixed parameters: Pillow's and torchvision's bytes.

    test/golden/augment.py [FILE]        writes augment.txt

Needs Pillow, torch and torchvision.  The picture is 13 x 17, colours, byte j is hash(40, j) mod 256; grey
is the first plane of them.  RandAugment's is 20 x 24 (Equalize does nothing for 255 pixels), the left half darker
and all of it within 40 .. 210, so that there is a range to stretch.

Crops are such that Pillow 13 takes the passes in the order of all before it, across and then down
(findings/pillow_resize_order.sh): that is the order here.

Records: colours, grey (height, width, bytes);
  KIND.WHAT.FACTOR    ImageEnhance's brightness, contrast, saturation (Color)
  crop.T.L.H.W.SIDE.KERNEL    torchvision's resized_crop to SIDE x SIDE
  rand (height, width, bytes); rand.KIND.OPERATION.MAGNITUDE: the CRC-32 of what RandAugment makes of it
  magnitudes.OPERATION.SIDE   RandAugment's table for magnitudes 0 .. 30 and SIDE x SIDE pixels
"""
import sys
import zlib

sys.dont_write_bytecode = True
from golden import Writer, hash32  # noqa: E402

import numpy as np  # noqa: E402
import PIL  # noqa: E402
import torchvision  # noqa: E402
from PIL import Image, ImageEnhance  # noqa: E402
from torchvision.transforms import InterpolationMode, RandAugment, autoaugment, functional as F  # noqa: E402


def rand_augment(out):
    a = (hash32(40, np.arange(20 * 24 * 3)) % 256).reshape(20, 24, 3)
    a[:, :12] //= 2
    a = (a * 2 // 3 + 40).astype(np.uint8)
    out.record("rand", [20, 24, *a.reshape(-1).tolist()], "%d")
    table = RandAugment()._augmentation_space(31, (20, 24))
    for kind, image in ("colours", Image.fromarray(a)), ("grey", Image.fromarray(a[:, :, 0].copy())):
        for what, (values, signed) in table.items():
            if what == "Identity" or (kind == "grey" and what == "Color"):
                continue
            for magnitude in (-9, 9, 30) if signed else (9, 16) if values.ndim else (9,):
                value = values[abs(magnitude)].item() * (1 if magnitude > 0 else -1) if values.ndim else 0
                made = autoaugment._apply_op(image, what, value, InterpolationMode.NEAREST, None)
                out.record(f"rand.{kind}.{what}.{magnitude}", [zlib.crc32(made.tobytes())], "%d")
    for side in 32, 224:
        for what, (values, _) in RandAugment()._augmentation_space(31, (side, side)).items():
            if values.ndim:
                out.record(f"magnitudes.{what}.{side}", values.tolist(), "%.9g")


def main():
    out = Writer("augment.txt", f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}")
    a = (hash32(40, np.arange(13 * 17 * 3)) % 256).astype(np.uint8).reshape(13, 17, 3)
    images = {"colours": Image.fromarray(a), "grey": Image.fromarray(a[:, :, 0].copy())}

    def record(name, image):
        x = np.asarray(image)
        out.record(name, [x.shape[0], x.shape[1], *x.reshape(-1).tolist()], "%d")

    for kind, image in images.items():
        record(kind, image)
        for what, enhance in (("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast),
                              ("saturation", ImageEnhance.Color)):
            if kind == "grey" and what == "saturation":
                continue
            for factor in 0.0, 0.35, 0.8, 1.0, 1.25, 1.9:
                record(f"{kind}.{what}.{factor:g}", enhance(image).enhance(factor))
    for box in (0, 0, 13, 17), (2, 3, 7, 9), (5, 1, 1, 16), (4, 0, 9, 17):
        for kernel, mode in ("bilinear", InterpolationMode.BILINEAR), ("bicubic", InterpolationMode.BICUBIC):
            record("crop.%d.%d.%d.%d" % box + f".8.{kernel}",
                   F.resized_crop(images["colours"], *box, [8, 8], mode))
    rand_augment(out)
    out.close()


if __name__ == "__main__":
    main()
