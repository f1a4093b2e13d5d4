"""Full-width Latin letters, which the recogniser reads where letters are far apart and a window shows few of them.

Chinese and Japanese texts have them (from U+FF21); a headline has not, and would then not be found by its words.
"""

FULL_WIDTH = frozenset(chr(0xFEE0 + ord(c)) for c in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
FIRST_IDEOGRAM = "\u2e80"  # scripts whose own letters are as wide as they are high begin here
OTHERS = 0.25
"""A line with more letters of such a script than this share may well have full-width ones among them."""


def seems_letter_spaced(text: str) -> bool:
    """Whether the text has full-width Latin letters or digits among letters that belong to no full-width script."""
    letters = text.replace(" ", "")
    others = sum(letter >= FIRST_IDEOGRAM and letter not in FULL_WIDTH for letter in letters)
    return not FULL_WIDTH.isdisjoint(letters) and others <= OTHERS * len(letters)
