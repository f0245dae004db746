#!/usr/bin/env python3
"""against_tokenizers.py - every kind of tokenizer.json that is read, against PyPI's tokenizers on generated texts.

    test/peers/against_tokenizers.py [N]     N texts for each kind (10,000); run by test/peers/run.sh
"""
import os
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(here, "..", "golden"), here]
sys.path = [p for p in sys.path if p]
from kinds import CONTENTS, kinds, without_settings  # noqa: E402
from ours import compare  # noqa: E402
from texts import texts  # noqa: E402

n = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
bad = 0
with tempfile.TemporaryDirectory() as directory:
    for name, t in kinds().items():
        path = os.path.join(directory, "tokenizer.json")
        with open(path, "w", encoding="utf-8") as f:
            f.write(t.to_str())
        t = without_settings(t)
        chosen = texts(3, n, CONTENTS)
        bad += not compare(name, path, chosen, [t.encode(x, add_special_tokens=False).ids for x in chosen])
sys.exit(bad > 0)
