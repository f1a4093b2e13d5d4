"""The page as one self-contained document, and the headers that keep everything else out of it."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = ("words.js", "graphs.js", "moment.js", "worker.js", "drawing.js", "tryit.js", "main.js")
"""In the order in which they build upon each other."""


@dataclass(frozen=True, slots=True)
class Document:
    """The finished page. `headers`: those of its answer, without length and type."""

    html: bytes
    headers: dict[str, str]


def build(folder: Path = HERE) -> Document:
    """Style and scripts put into the page; the policy allows exactly these, by their hashes."""
    style = (folder / "page.css").read_text(encoding="utf-8")
    script = "\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    html = (folder / "page.html").read_text(encoding="utf-8")
    html = html.replace("/* page.css */", style).replace("/* scripts */", script)
    content = html.encode()
    return Document(
        content,
        {
            "Content-Security-Policy": _policy(style, script),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-cache",
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        },
    )


def _policy(style: str, script: str) -> str:
    """Nothing but this style, this script, this worker, and pictures that the script made.

    Trusted types make the browser refuse to take a text for markup, wherever it came from.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "connect-src 'self'",
            "img-src 'self' blob: data:",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
