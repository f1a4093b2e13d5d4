"""How the pages on hosts start containers."""

import shlex


def options_of(line: str) -> dict[str, list[str]]:
    """The options of a docker run: each with its values, the image under ""."""
    words = shlex.split(line.removeprefix("docker run "))
    found: dict[str, list[str]] = {}
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if word == "-d":
            continue
        if word == "--read-only":
            found[word] = []
        elif not word.startswith("-"):
            found[""] = [word]
        else:
            found.setdefault(name, []).append(value if equals else words.pop(0))
    return found
