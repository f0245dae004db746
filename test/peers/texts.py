"""texts.py - generated texts on which tokenizers differ, the same for every seed.

    texts(seed, n, special) -> n strings; `special` are contents of added tokens, which go in now and then
"""
import random
import unicodedata

WORDS = ["the", "The", "cat", "sat", "HAT", "naïve", "Straße", "слово", "λόγος", "文字", "かな", "カナ", "한글", "ไทย", "हिन्दी", "שלום",
         "مرحبا", "🙂", "👩‍👩‍👧", "🇫🇷", "e\u0301", "Å", "A\u030a", "don't", "I'M", "you're", "we'LL", "he's", "o'clock", "'S", "ſ", "x", "3.14",
         "12345", "2024", "٣٤", "½", "²", "Ⅷ", "一二三", "foo(bar)", "a_b", "==", "->", "...", "!?", "\u00a0", "\u200b", "<0x41>", "▁", "▁▁",
         "camelCase", "HTTPServer", "if(x){", "};", "/*", "//", "#!/", "\u0301", "\ufb01", "\u1e9e", "ǅ", "ʰ", "$100", "£5", "©", "C++", "\x00",
         "\x1b[0m", "\ufeff", "\u180e", "\u2028", "\u0085", "Ⓐ", "\U00010400", "\U0002000b", "\U000e0041", "\u3007", "々", "ー", "…", "。", "、"]
SPACES = [" ", " ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n", "\n ", "\n\n\n ", "\u00a0", "\u3000", "\u2003", "", "", "        ", "\t\t "]
assigned = [c for c in [*range(0x20, 0xD800), *range(0xF900, 0x323B0)] if unicodedata.category(chr(c)) not in ("Cn", "Co", "Cs")]


def one(r, special):
    kind = r.random()
    if kind < 0.15:  # any characters that this Python's Unicode has
        return "".join(chr(r.choice(assigned)) for _ in range(r.randrange(1, 30)))
    if kind < 0.25:  # ASCII
        return "".join(chr(r.randrange(1, 127)) for _ in range(r.randrange(0, 60)))
    parts = []
    for _ in range(r.randrange(1, 20)):
        parts += [r.choice(WORDS), r.choice(SPACES)]
        if special and r.random() < 0.15:
            parts += [r.choice(special), r.choice(SPACES)]
    if r.random() < 0.3:
        parts.insert(0, r.choice(SPACES))
    return "".join(parts)


def texts(seed, n, special=()):
    r = random.Random(seed)
    return ["", " ", "\n", "a"] + [one(r, special) for _ in range(n - 4)]
