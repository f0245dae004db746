"""ours.py - this project's programs for the tests beside it: BUILD, build/release without it; and its ids of many texts."""
import os
import struct
import subprocess

BUILD = os.path.abspath(os.environ.get("BUILD") or "build/release")


def run(program, *words):
    done = subprocess.run([f"{BUILD}/{program}", *words], capture_output=True, timeout=900)
    return done.returncode, done.stderr.decode().strip(), done.stdout


def say(fine, name, why=""):
    """A line of a test.  say.bad: one was not fine."""
    say.bad |= not fine
    print(f"ok {name}" if fine else f"not ok {name}: {why}"[:600], flush=True)


say.bad = False


def ids(vocabulary, texts, special="allow"):
    out = subprocess.run([BUILD + "/peer_ids", vocabulary, special], capture_output=True,
                         input=b"".join(struct.pack("<I", len(t)) + t for t in (x.encode() for x in texts)))
    if out.returncode:
        raise ValueError(out.stderr.decode().strip())
    at, lists = 0, []
    while at < len(out.stdout):
        n = struct.unpack_from("<I", out.stdout, at)[0]
        lists.append(list(struct.unpack_from(f"<{n}i", out.stdout, at + 4)))
        at += 4 + 4 * n
    assert len(lists) == len(texts)
    return lists


def compare(name, vocabulary, texts, theirs, special="allow"):
    """Prints one line; true when all ids are the same."""
    try:
        mine = ids(vocabulary, texts, special)
    except ValueError as e:
        print(f"not ok {name}: {e}")
        return False
    bad = [(t, a, b) for t, a, b in zip(texts, mine, theirs) if a != b]
    if not bad:
        print(f"ok {name}: {len(texts)} texts, {sum(map(len, theirs))} ids")
        return True
    t, a, b = min(bad, key=lambda x: len(x[0]))
    print(f"not ok {name}: {len(bad)} of {len(texts)} texts, such as {t!r}\n    ours   {a}\n    theirs {b}")
    return False
