#!/usr/bin/python3
"""Golden values for RandAugment's operations by fixed parameters: Pillow's bytes.

    test/golden/rand_augment.py [FILE]        writes rand_augment.txt

Needs Pillow.  The picture is 20 x 24, colours, byte j is 40 + 2 (hash(40, j) mod 256 div 3), of which the left half
is halved before (so that there is a range to stretch); grey is the first plane of them.  Each operation as torchvision's RandAugment calls it on a
Pillow image: shears and shifts are its AFFINE transform about the corner, the nearest pixel, black outside.

Records: colours, grey (height, width, bytes);  KIND.OPERATION.VALUE
"""
import sys

sys.dont_write_bytecode = True
from golden import Writer, hash32  # noqa: E402

import numpy as np  # noqa: E402
import PIL  # noqa: E402
from PIL import Image, ImageEnhance, ImageOps  # noqa: E402

VALUES = {
    "shear_x": (-0.3, 0.12), "shear_y": (-0.09, 0.3), "translate_x": (-7, 5), "translate_y": (-5, 3),
    "rotate": (-30, 4), "brightness": (-0.9, 0.27), "saturation": (-0.27, 0.9), "contrast": (-0.45, 0.63),
    "sharpness": (-0.9, 0.27), "posterize": (4, 6), "solarize": (127.5, 178.5), "autocontrast": (0,), "equalize": (0,),
}


def affine(image, *matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)


def apply(image, what, v):
    enhance = {"brightness": ImageEnhance.Brightness, "saturation": ImageEnhance.Color,
               "contrast": ImageEnhance.Contrast, "sharpness": ImageEnhance.Sharpness}
    if what in enhance:
        return enhance[what](image).enhance(1 + v)
    return {
        "shear_x": lambda: affine(image, 1, v, 0, 0, 1, 0),
        "shear_y": lambda: affine(image, 1, 0, 0, v, 1, 0),
        "translate_x": lambda: affine(image, 1, 0, -v, 0, 1, 0),
        "translate_y": lambda: affine(image, 1, 0, 0, 0, 1, -v),
        "rotate": lambda: image.rotate(v, Image.Resampling.NEAREST),
        "posterize": lambda: ImageOps.posterize(image, v),
        "solarize": lambda: ImageOps.solarize(image, v),
        "autocontrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
    }[what]()


def main():
    out = Writer("rand_augment.txt", f"Pillow {PIL.__version__}")
    a = (hash32(40, np.arange(20 * 24 * 3)) % 256).astype(np.uint8).reshape(20, 24, 3)
    a[:, :12] //= 2
    a = a // 3 * 2 + 40
    images = {"colours": Image.fromarray(a), "grey": Image.fromarray(a[:, :, 0].copy())}

    def record(name, image):
        x = np.asarray(image)
        out.record(name, [x.shape[0], x.shape[1], *x.reshape(-1).tolist()], "%d")

    for kind, image in images.items():
        record(kind, image)
        for what, values in VALUES.items():
            for v in values:
                if kind == "colours" or what != "saturation":
                    record(f"{kind}.{what}.{v:g}", apply(image, what, v))
    out.close()


if __name__ == "__main__":
    main()
