"""Who asks: a browser that wants a page, a program that wants JSON, or another site's page that is to get nothing."""

from collections.abc import Mapping


def prefers_html(accept: str) -> bool:
    """Whether a page is asked for: by its own name, and JSON not more so. `*/*` is a program's."""
    html, json = _quality(accept, "text/html"), _quality(accept, "application/json")
    return html > 0 and html >= json


def from_another_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser sends this request for a page that is not this worker's.

    A browser says so itself in Sec-Fetch-Site, but only over https and on the machine itself. Otherwise the address
    of the page, which it sends with every POST, has to be the address asked. Programs send neither. (Immich's server
    sends Sec-Fetch-Mode, which tells nothing.)
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return False
    address = origin.partition("://")[2].lower()
    return not address or address != headers.get("host", "").lower()


def _quality(accept: str, wanted: str) -> float:
    """The weight that an Accept header gives to a media type by its name, 0 where it is not named."""
    for part in accept.lower().split(","):
        kind, *parameters = (word.strip() for word in part.split(";"))
        if kind == wanted:
            weights = [word[2:] for word in parameters if word.startswith("q=")]
            try:
                return float(weights[0]) if weights else 1.0
            except ValueError:
                return 0.0
    return 0.0
