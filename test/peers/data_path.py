#!/usr/bin/python3
"""data_path - the data path alone, a core of ours against a core of torchvision's.

    test/peers/data_path.py PEER_DATA_PATH [--rounds N] [--seconds S] [--python PYTHON-WITH-TORCHVISION]

JPEGs of 500 x 375 pixels (made here: noise at all scales, which at quality 90 takes as many bytes as ImageNet's do) are
decoded, cropped as RandomResizedCrop does, to 224 x 224, flipped and normalized: by build/release/peer_data_path, by
torchvision's transforms of PIL images, and by those of tensors after its own decoder.  In turn, each in its own process
with one thread; images per second of processor time, medians.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile

PICTURES, SIZE = 48, 224


def make_pictures(place):
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(7)
    total = 0
    for i in range(PICTURES):
        folder = f"{place}/{i % 4}"
        os.makedirs(folder, exist_ok=True)
        picture = np.zeros((375, 500, 3))
        for scale in (1, 2, 4, 8, 16, 32, 64, 128, 256):
            noise = rng.normal(0, 9 * scale ** 0.5, (375 // scale + 2, 500 // scale + 2, 3))
            planes = [np.asarray(Image.fromarray(noise[:, :, k].astype("float32")).resize((500, 375), Image.BICUBIC)) for k in range(3)]
            picture += np.stack(planes, 2)
        Image.fromarray(np.clip(picture + 128, 0, 255).astype("uint8")).save(f"{folder}/{i}.jpg", quality=90)
        total += os.path.getsize(f"{folder}/{i}.jpg")
    print(f"{PICTURES} JPEGs of 500 x 375, {total / PICTURES / 1024:.0f} KiB each")


def peer(place, how, seconds):
    import time

    import torch
    from torchvision import datasets, io
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    steps = [v2.RandomResizedCrop(SIZE, antialias=True), v2.RandomHorizontalFlip()]
    steps += [v2.PILToTensor()] if how == "pil" else []
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    loader = {} if how == "pil" else {"loader": lambda path: io.decode_jpeg(io.read_file(path), mode=io.ImageReadMode.RGB)}
    data = datasets.ImageFolder(place, v2.Compose(steps), **loader)
    order = torch.randperm(len(data)).tolist()
    data[0]
    n, begun = 0, time.process_time()
    while time.process_time() - begun < seconds:
        data[order[n % len(order)]]
        n += 1
    print(f"{n / (time.process_time() - begun):.1f}")


def number(command):
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ours")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--peer", choices=["pil", "tensor"], help=argparse.SUPPRESS)
    opt = parser.parse_args()
    if opt.make:
        return make_pictures(opt.ours)
    if opt.peer:
        return peer(opt.ours, opt.peer, opt.seconds)
    with tempfile.TemporaryDirectory() as place:
        again = [opt.python, __file__, place, "--seconds", str(opt.seconds)]
        subprocess.run([*again, "--make"], check=True)
        found = {"ours": [], "pil": [], "tensor": []}
        for _ in range(opt.rounds):
            found["ours"].append(number([opt.ours, place, str(SIZE), str(opt.seconds)]))
            for how in ("pil", "tensor"):
                found[how].append(number([*again, "--peer", how]))
    mine, pil, tensor = (statistics.median(found[k]) for k in ("ours", "pil", "tensor"))
    print(f"images/s of a core: ours {mine:.0f}, torchvision with PIL {pil:.0f}, of tensors {tensor:.0f}; "
          f"ratio to the better {mine / max(pil, tensor):.2f}")


if __name__ == "__main__":
    main()
