"""Who asks: a browser that wants a page, a program that wants JSON, or another site's page that is to get nothing."""

from collections.abc import Collection, Mapping
from ipaddress import ip_address

from ml_target.errors import AnotherSite

HOME = ("local", "lan", "home", "home.arpa", "internal", "localhost")
"""Domains that nobody can have on the internet: by RFC 6761, 6762 and 8375, or because ICANN gives them to nobody."""


def prefers_html(accept: str) -> bool:
    """Whether a page is asked for: by its own name, and JSON not more so. `*/*` is a program's."""
    html, json = _quality(accept, "text/html"), _quality(accept, "application/json")
    return html > 0 and html >= json


def refuse_other_sites(headers: Mapping[str, str], own: Collection[str] = ()) -> None:
    """Raises AnotherSite where a browser sends this POST for a page that is not this worker's. `own`: as in `at_home`.

    A browser says so itself in Sec-Fetch-Site, but only over https and on the machine itself. Otherwise the address
    of the page, which it sends as Origin with every POST, has to be the address asked, and one that no stranger's
    page can have. Programs send neither. (Immich's server sends Sec-Fetch-Mode, which tells nothing.)
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site in ("same-origin", "none") or (site is None and origin is None):
        return
    scheme, _, address = (origin or "").lower().partition("://")
    if site is not None or not address or address != headers.get("host", "").lower():
        raise AnotherSite(
            "This request comes from another site's page",
            "Open the worker's own page; a proxy before it has to pass Host on, with its port.",
        )
    if scheme != "https" and not at_home(address, own):
        raise AnotherSite(
            "This page was opened over http by a name on the internet, whose owner may be another site",
            f"Open it over https, by the worker's IP address, or by a name of the home network (without a dot, or in "
            f"{', '.join(f'.{domain}' for domain in HOME)}). If the name is yours, set PAGE_HOSTS={_host(address)}.",
        )


def at_home(address: str, own: Collection[str] = ()) -> bool:
    """Whether the host of an address (`name:port`) cannot be a stranger's name that leads here: DNS rebinding.

    Over http, the owner of a name may let it lead to his page first and to this worker then: for the browser both are
    one site. That takes a name on the internet; `own`: those that are the worker's own. (Over https the worker would
    need the name's certificate.)
    """
    host = _host(address)
    try:
        ip_address(host)
    except ValueError:
        return "." not in host or host in own or host.endswith(tuple(f".{domain}" for domain in HOME))
    return True


def _host(address: str) -> str:
    """An address without its port, in small letters."""
    name, _, port = address.lower().rpartition(":")
    return (name if port.isdigit() else address.lower()).strip("[]").rstrip(".")


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
