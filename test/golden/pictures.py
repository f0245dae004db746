#!/usr/bin/python3
"""Golden values for pictures: small files, and what Pillow and torchvision make of them.

    test/golden/pictures.py [FILE]        writes pictures.txt

Needs Pillow, torch and torchvision.  Files are made here, PNG chunk by chunk, so that each has what
Pillow would not write itself: 16 bits, gAMA, two and four bits, lines interlaced, EXIF, a JPEG in YCCK,
bytes too many, an odd revision of JFIF, an end too early.
WebP is written by Pillow's libwebp.  Pixels are hashes (golden.py).

Records of each picture NAME:
  NAME.file       its bytes
  NAME.rgb        height, width, then Image.open(...).convert("RGB"); of 16 bits of grey, which that
                  would cut off at 255, the upper 8
  NAME.l          height, width, then .convert("L")
  NAME.upright    the RGB of ImageOps.exif_transpose(...), where there is EXIF
or NAME.refused   1: Pillow refuses it (and so do we)
Of sizes: `resize` (height, width), its pixels `resize.rgb`; then for each size and kernel
  resize.ROWSxCOLUMNS.bilinear, .bicubic    Image.resize
and eval.HEIGHT.PERCENT.KERNEL    torchvision's Resize(HEIGHT * 100 / PERCENT), CenterCrop(HEIGHT)
"""
import io
import math
import struct
import sys
import zlib

sys.dont_write_bytecode = True
from golden import Writer, hash32  # noqa: E402

import numpy as np  # noqa: E402
import PIL  # noqa: E402
import torchvision  # noqa: E402
from PIL import Image, ImageOps  # noqa: E402
from torchvision import transforms  # noqa: E402

H, W = 9, 11


def pixels(k, *shape):
    """Bytes that change slowly, so that JPEG has something to keep."""
    count = int(np.prod(shape))
    noise = hash32(k, np.arange(count)).astype(np.int64).reshape(shape) % 48
    y, x = np.indices(shape[:2])
    slope = (y * 17 + x * 13) % 200
    return (slope.reshape(shape[:2] + (1,) * (len(shape) - 2)) + noise).astype(np.uint8)


# ---- PNG ----

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(samples, bits):
    """samples: (rows, numbers) of `bits` each -> rows of bytes, each behind filter type 0."""
    out = b""
    for row in samples:
        if bits == 16:
            line = row.astype(">u2").tobytes()
        elif bits == 8:
            line = row.astype(np.uint8).tobytes()
        else:
            line = np.packbits(
                ((row[:, None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8).reshape(-1)).tobytes()
        out += b"\0" + line
    return out


def png(samples, bits, color, before=(), interlaced=False):
    """samples: (height, width, channels)"""
    h, w = samples.shape[:2]
    passes = [(0, 0, 1, 1)]
    if interlaced:  # Adam7: first row, first column, steps
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    data = b""
    for top, left, down, across in passes:
        part = samples[top::down, left::across]
        if part.size:
            data += packed(part.reshape(part.shape[0], -1), bits)
    head = struct.pack(">IIBBBBB", w, h, bits, color, 0, 0, interlaced)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(before) +
            chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b""))


GAMA = chunk(b"gAMA", struct.pack(">I", 100000))


def png_files():
    wide = (pixels(1, H, W, 4).astype(np.uint32) * 256 + pixels(2, H, W, 4)).astype(np.uint16)
    palette = chunk(b"PLTE", pixels(3, 16, 3).tobytes())
    yield "png_grey", png(pixels(4, H, W, 1), 8, 0)
    yield "png_grey_gama", png(pixels(4, H, W, 1), 8, 0, [GAMA])
    for bits in 1, 2, 4:
        yield f"png_grey_{bits}", png(pixels(5, H, W, 1) % (1 << bits), bits, 0)
    yield "png_grey_16", png(wide[..., :1], 16, 0)
    yield "png_grey_16_gama", png(wide[..., :1], 16, 0, [GAMA])
    yield "png_rgb", png(pixels(6, H, W, 3), 8, 2)
    yield "png_rgb_gama", png(pixels(6, H, W, 3), 8, 2, [GAMA])
    yield "png_rgb_16", png(wide[..., :3], 16, 2)
    yield "png_palette", png(pixels(7, H, W, 1) % 16, 4, 3, [palette])
    yield "png_palette_clear", png(pixels(7, H, W, 1) % 16, 8, 3, [palette, chunk(b"tRNS", bytes(range(0, 160, 10)))])
    yield "png_grey_alpha", png(pixels(8, H, W, 2), 8, 4)
    yield "png_rgb_alpha", png(pixels(9, H, W, 4), 8, 6)
    yield "png_rgb_alpha_16", png(wide, 16, 6)
    yield "png_rgb_clear", png(pixels(6, H, W, 3), 8, 2, [chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))])
    yield "png_interlaced", png(pixels(10, H, W, 3), 8, 2, interlaced=True)
    yield "png_exif", png(pixels(11, H, W, 3), 8, 2, [chunk(b"eXIf", exif(6))])
    yield "png_cut", png(pixels(6, H, W, 3), 8, 2)[:-120]


# ---- JPEG ----

def exif(orientation, big=True):
    """The smallest EXIF: a TIFF header and one directory, with another entry before the one."""
    e = ">" if big else "<"
    return ((b"MM\0*" if big else b"II*\0") + struct.pack(e + "IH", 8, 2) +
            struct.pack(e + "HHII", 0x0100, 4, 1, 77) + struct.pack(e + "HHIHH", 0x0112, 3, 1, orientation, 0) +
            struct.pack(e + "I", 0))


def jpeg(array, mode, **options):
    out = io.BytesIO()
    Image.fromarray(array, mode).save(out, "JPEG", quality=85, **options)
    return out.getvalue()


def jpeg_files():
    colours = jpeg(pixels(20, 21, 19, 3), "RGB")
    inks = jpeg(pixels(21, 18, 17, 4), "CMYK")
    adobe = inks.index(b"Adobe")
    yield "jpeg_grey", jpeg(pixels(22, 21, 19), "L")
    yield "jpeg_420", colours
    yield "jpeg_444", jpeg(pixels(20, 21, 19, 3), "RGB", subsampling=0)
    yield "jpeg_422", jpeg(pixels(20, 21, 19, 3), "RGB", subsampling=1)
    yield "jpeg_progressive", jpeg(pixels(20, 21, 19, 3), "RGB", progressive=True)
    yield "jpeg_rgb", jpeg(pixels(20, 21, 19, 3), "RGB", keep_rgb=True)
    yield "jpeg_cmyk", inks
    yield "jpeg_ycck", inks[:adobe + 11] + b"\2" + inks[adobe + 12:]
    yield "jpeg_extraneous", colours[:-2] + bytes(range(1, 60)) + colours[-2:]
    yield "jpeg_jfif_9", colours.replace(b"JFIF\0\1", b"JFIF\0\x09")
    yield "jpeg_trailing", colours + b"more"
    yield "jpeg_cut", colours[:len(colours) * 3 // 4]
    yield "jpeg_no_end", colours[:-2]
    for k in range(1, 9):
        yield f"jpeg_exif_{k}", jpeg(pixels(23, 10, 7, 3), "RGB", exif=b"Exif\0\0" + exif(k, k % 2))
    yield "jpeg_exif_9", jpeg(pixels(23, 10, 7, 3), "RGB", exif=b"Exif\0\0" + exif(9))


# ---- WebP ----

def webp(array, mode, **options):
    out = io.BytesIO()
    Image.fromarray(array, mode).save(out, "WEBP", **options)
    return out.getvalue()


def webp_files():
    colours, alpha = pixels(40, 21, 19, 3), pixels(41, 18, 17, 4)
    lossy = webp(colours, "RGB", quality=60)
    yield "webp_lossy", lossy
    yield "webp_lossless", webp(colours, "RGB", lossless=True)
    yield "webp_grey", webp(pixels(42, 21, 19), "L", quality=70)
    yield "webp_alpha", webp(alpha, "RGBA", quality=60)
    yield "webp_alpha_lossless", webp(alpha, "RGBA", lossless=True, exact=True)
    frames = [Image.fromarray(pixels(43 + k, 9, 11, 3)) for k in range(2)]
    out = io.BytesIO()
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=50)
    yield "webp_moving", out.getvalue()
    for k in 6, 9:
        yield f"webp_exif_{k}", webp(colours, "RGB", quality=60, exif=b"Exif\0\0" + exif(k))
    yield "webp_trailing", lossy + b"more"
    yield "webp_cut", lossy[:len(lossy) * 3 // 4]
    yield "webp_cut_head", lossy[:24]
    yield "webp_odd", lossy[:20] + bytes([lossy[20] | 1]) + lossy[21:]


def record_image(out, name, image):
    a = np.asarray(image)
    out.record(name, [a.shape[0], a.shape[1], *a.reshape(-1).tolist()], "%d")


def record_file(out, name, data):
    out.record(f"{name}.file", list(data), "%d")
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError):
        out.record(f"{name}.refused", [1], "%d")
        return
    if image.mode == "I;16":  # Pillow cuts it off at 255; what all others do is take the upper byte
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    record_image(out, f"{name}.rgb", image.convert("RGB"))
    record_image(out, f"{name}.l", image.convert("L"))
    if "exif" in name:
        record_image(out, f"{name}.upright", ImageOps.exif_transpose(image).convert("RGB"))


KERNELS = {"bilinear": (Image.Resampling.BILINEAR, transforms.InterpolationMode.BILINEAR),
           "bicubic": (Image.Resampling.BICUBIC, transforms.InterpolationMode.BICUBIC)}


def record_sizes(out):
    image = Image.fromarray(hash32(30, np.arange(23 * 37 * 3)).reshape(23, 37, 3).astype(np.uint8))
    record_image(out, "resize", image)
    for rows, columns in (23, 37), (23, 16), (12, 37), (16, 16), (5, 7), (40, 61), (1, 1), (46, 9):
        for kernel, (pil, _) in KERNELS.items():
            record_image(out, f"resize.{rows}x{columns}.{kernel}", image.resize((columns, rows), pil))
    for size, percent in (16, 100), (15, 100), (14, 87), (30, 90):
        for kernel, (_, ours) in KERNELS.items():
            steps = transforms.Compose([transforms.Resize(math.floor(size / (percent / 100)), ours),
                                        transforms.CenterCrop(size)])
            record_image(out, f"eval.{size}.{percent}.{kernel}", steps(image))


def main():
    out = Writer("pictures.txt", f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}")
    for name, data in [*png_files(), *jpeg_files(), *webp_files()]:
        record_file(out, name, data)
    record_sizes(out)
    out.close()


if __name__ == "__main__":
    main()
