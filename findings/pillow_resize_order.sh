#!/usr/bin/env bash
# pillow_resize_order.sh - Pillow 13.0.0's Image.resize gives other bytes than 12.3.0 for the same picture, size
# and filter.
#
# Until 12 the first pass is across and the second down, each rounded to bytes.  13 goes down first for some
# shapes (seen: a picture that becomes less high and wider, or less high by more than twice of what it
# becomes narrower), and as each pass rounds, the result is another one.  torchvision's and timm's transforms
# of PIL pictures go through it, so that what a data loader yields depends on Pillow's version.
#
# Installs both versions from PyPI in a temporary folder, resizes the same pictures, and fails if what was
# seen on 2026-11-29 is no more so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/resize.py" <<'END'
import sys
from PIL import Image, __version__

for h, w, rows, columns in ((13, 3, 8, 8), (300, 100, 224, 224), (100, 100, 10, 99), (500, 375, 224, 224), (120, 200, 224, 224)):
    data = bytes((i * i * 31 + i * 7) >> 3 & 255 for i in range(h * w))
    image = Image.frombytes("L", (w, h), data)

    def size(image, columns, rows):
        return image.resize((columns, rows), Image.Resampling.BILINEAR)
    whole = size(image, columns, rows).tobytes()
    across = size(size(image, columns, h), columns, rows).tobytes()
    down = size(size(image, w, rows), columns, rows).tobytes()
    order = "both" if across == down else "across" if whole == across else "down" if whole == down else "neither"
    print(f"{h}x{w} to {rows}x{columns}: first {order}; {sum(a != b for a, b in zip(across, down))} of {len(whole)} bytes depend on it")
END
for version in 12.3.0 13.0.0; do
    python3 -m venv "$work/$version"
    "$work/$version/bin/pip" install -q "pillow==$version"
    "$work/$version/bin/python" "$work/resize.py" >"$work/$version.txt"
    echo "Pillow $version"
    sed 's/^/    /' "$work/$version.txt"
done
first() { grep -c "first $2" "$work/$1.txt" || true; }
[ "$(first 12.3.0 across)" = 5 ] && [ "$(first 13.0.0 down)" = 3 ] && [ "$(first 13.0.0 across)" = 2 ] ||
    { echo 'this is not what was seen' && exit 1; }
echo 'as seen: the order of the passes, and with it the result, changed between 12.3.0 and 13.0.0'
