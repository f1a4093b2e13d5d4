"""Fetches bytes from web servers; httpx2 speaks HTTP.

Our own code: errors in plain words, what httpx2 fails on (a SOCKS proxy in ALL_PROXY), and what it lets pass
(a redirect away from https).
"""

import re
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

import httpx2

from ml_target import __version__
from ml_target.errors import WorkerError
from ml_target.log.private import without_login

CONNECT_S = 10.0
READ_S = 60.0
REMEMBER_S = 300.0
TRIES = 4
PAUSE_S = 1.0
"""Before the second try; before each further one twice as long."""

BUSY = (408, 425, 429)
BROKEN = (500, 502, 503, 504)
CHUNK = 1 << 20

LATER = "try again later"
LATER_OR_MIRROR = f"{LATER} or use a mirror"
NETWORK = "check the network, or use a mirror"

Answer = httpx2.Response
Sleep = Callable[[float], object]


class SourceError(WorkerError):
    """This source cannot provide the file; another one may.

    The remedy is what helps with this source, as part of a sentence: "" where only another one does.
    """

    separator = "; "


class CutError(SourceError):
    """The transfer was cut off, or the server had a transient problem: worth another try."""


class PastEndError(CutError):
    """The requested range is beyond the end of the file: the part on disk is of another edition."""


class NoRangesError(SourceError):
    """The server sends whole files only."""


@dataclass(frozen=True, slots=True)
class Version:
    """Which edition of a file a server sends: its strong ETag or its date ("" for neither), and its size in bytes.

    `promised`: the hash that a Hugging Face hub announces: SHA-256, or for small files the Git blob id (SHA-1).
    """

    tag: str
    size: int | None
    promised: str = ""

    @classmethod
    def of(cls, answer: Answer) -> "Version":
        """From the headers of a whole or a partial answer, and of the redirects to it."""
        etag = answer.headers.get("ETag", "")
        tag = etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")
        if answer.status_code == httpx2.codes.PARTIAL_CONTENT:
            _, _, total = answer.headers.get("Content-Range", "").rpartition("/")
        else:
            total = answer.headers.get("Content-Length", "")
        return cls(tag, int(total) if total.isdigit() else None, _promised(answer))


class Retries:
    """Lets attempts fail with CutError, up to TRIES in a row without progress. `pause`: waits for so many seconds."""

    def __init__(self, pause: Sleep) -> None:
        self._pause = pause
        self._failed = 0

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """One attempt. Swallows CutError after a growing pause; the last failure raises it."""
        try:
            yield
        except CutError:
            self._failed += 1
            if self._failed == TRIES:
                raise
            self._pause(PAUSE_S * 2 ** (self._failed - 1))

    def progressed(self) -> None:
        """Resets the count: some bytes have arrived."""
        self._failed = 0


@cache
def _tls_context() -> ssl.SSLContext:
    """With the certificates of this system, or of SSL_CERT_FILE. Reading them takes a moment, so it is done once."""
    return ssl.create_default_context()


class _ProxyTransport(httpx2.BaseTransport):
    """Sends each request through the proxy that the environment names for it, read as pip and urllib do.

    httpx2 itself also reads ALL_PROXY, and fails at once if that is a SOCKS proxy.
    """

    def __init__(self) -> None:
        self._known: dict[str | None, httpx2.HTTPTransport] = {}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        proxy = urllib.request.getproxies().get(request.url.scheme) or None
        if proxy and urllib.request.proxy_bypass(request.url.netloc.decode()):
            proxy = None
        if proxy and "://" not in proxy:
            proxy = f"http://{proxy}"
        if proxy and not proxy.startswith(("http://", "https://")):
            raise httpx2.ProxyError(f"{proxy.partition(':')[0]} proxies are not supported")
        if proxy not in self._known:
            self._known[proxy] = httpx2.HTTPTransport(verify=_tls_context(), proxy=proxy)
        return self._known[proxy].handle_request(request)


class Web:
    """Opens URLs, through the proxy that the environment names, if any.

    A server that could not be reached is not tried again for some minutes, so that a run without
    internet fails once instead of once for each file. `clock`: in seconds; `sleep`: how it waits between two tries.
    """

    def __init__(
        self,
        transport: httpx2.BaseTransport | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._client = httpx2.Client(
            transport=transport or _ProxyTransport(),
            follow_redirects=True,
            headers={"User-Agent": f"immich-ml-hailo/{__version__}", "Accept-Encoding": "identity"},
            event_hooks={"response": [_refuse_downgrade]},
        )
        self._out_of_reach: dict[str, tuple[float, SourceError]] = {}
        self._clock, self._sleep = clock, sleep

    def open(self, url: str, first: int = 0, last: int | None = None, tag: str | None = None) -> Answer:
        """The answer to GET, from byte `first` to byte `last` (included); status 200 or 206.

        With `tag`, a file that has changed since is sent whole (200). The caller closes the answer.
        Raises SourceError; CutError where another try may help.
        """
        server = server_of(url)
        at, known = self._out_of_reach.get(server, (0.0, None))
        if known is not None and self._clock() - at < REMEMBER_S:
            raise SourceError(known.reason, known.remedy)
        headers = {}
        if first or last is not None:
            headers["Range"] = f"bytes={first}-{'' if last is None else last}"
            if tag:
                headers["If-Range"] = tag
        try:
            timeout = httpx2.Timeout(READ_S, connect=CONNECT_S)
            answer = self._client.send(
                self._client.build_request("GET", url, headers=headers, timeout=timeout), stream=True
            )
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            away = _out_of_reach(server, error)
            self._out_of_reach[server] = (self._clock(), SourceError(away.reason, away.remedy))
            raise away from error
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, ValueError) as error:
            raise _unusable(url, error) from None
        except httpx2.TooManyRedirects as error:
            raise SourceError(f"{server} redirects without end", LATER_OR_MIRROR) from error
        except httpx2.TransportError as error:
            raise CutError(f"{server} broke off before it answered ({_words(error)})", LATER) from error
        if not answer.is_success:
            answer.close()
            raise _refusal(answer.status_code, server)
        return answer

    def retries(self) -> Retries:
        """For one transfer."""
        return Retries(self._sleep)


def server_of(url: str) -> str:
    """The server's name in a URL. Raises SourceError for an invalid URL."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError as error:
        raise _unusable(url, error) from None


def first_byte(answer: Answer) -> int:
    """The offset in the file at which the answer begins. Raises SourceError for a partial answer that does not say."""
    if answer.status_code != httpx2.codes.PARTIAL_CONTENT:
        return 0
    start = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if not start.isdigit():
        raise SourceError("the server sent a part without saying which", LATER_OR_MIRROR)
    return int(start)


def blocks_of(answer: Answer, server: str, *, counted: bool) -> Iterator[bytes]:
    """The answer's bytes as they arrive. Raises CutError.

    `counted`: the caller counts them and has a better message when fewer arrive than were announced.
    """
    try:
        yield from answer.iter_raw()
    except httpx2.TransportError as error:
        if counted and isinstance(error, httpx2.RemoteProtocolError):
            return
        raise CutError(f"{server} broke off ({_words(error)})", f"{LATER}, what has come is kept") from error


def shown(url: str) -> str:
    """The URL without its secrets: password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return without_login(url)
    if "@" in url and "@" not in parts.netloc:
        return without_login(url)  # a password that contains /, so the @ is parsed as part of the path
    if "@" not in parts.netloc and not parts.query:
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _refuse_downgrade(answer: Answer) -> None:
    """Raises SourceError for a redirect from https to http: anybody on the way could change the file."""
    if answer.url.scheme == "https" and answer.has_redirect_location:
        with suppress(httpx2.InvalidURL):  # httpx2 reports that itself
            target = answer.url.join(answer.headers["Location"])
            if target.scheme != "https":
                raise SourceError(
                    f"{answer.url.host} leads from https to {target.scheme}://{target.host}, where the file could be "
                    "changed on its way: refused",
                    "use a mirror, or an address that stays with https",
                )


def _promised(answer: Answer) -> str:
    """The hash that a hub announces, beside the commit; a redirect to its storage of large files has it too."""
    for step in (*answer.history, answer):
        if "X-Repo-Commit" in step.headers or "X-Linked-Etag" in step.headers:
            told: str = step.headers.get("X-Linked-Etag") or step.headers.get("ETag") or ""
            if found := re.fullmatch(r'(?:W/)?"?([0-9a-f]{64}|[0-9a-f]{40})"?', told):
                return found[1]
    return ""


def _unusable(url: str, error: Exception) -> SourceError:
    # The fault may be in a password, of this URL or of the proxy, and the error would quote it.
    secrets = any("@" in address for address in (url, *urllib.request.getproxies().values()))
    reason = "" if secrets else f" ({error})"
    return SourceError(f"{without_login(url)} is not a usable address{reason}", "correct it")


def _refusal(code: int, server: str) -> SourceError:
    """An HTTP status in words."""
    match code:
        case 404 | 410:
            return SourceError(f"{server} does not have it (HTTP {code})", "it may have moved, a mirror may help")
        case 401:
            return SourceError(f"{server} refuses it (HTTP 401): it wants a login", "a mirror may help")
        case 403:  # what a storage bucket says of a file that it does not have
            return SourceError(
                f"{server} refuses it (HTTP 403): the file may not be there any more, it may want a login, "
                "or something between here and there blocks it",
                "a mirror may help",
            )
        case 407:
            return SourceError("the proxy wants a login (HTTP 407)", "set HTTPS_PROXY=http://user:password@proxy:port")
        case 416:
            return PastEndError(f"{server} has less of it than there should be (HTTP 416)", "try again")
        case _ if code in BUSY:
            return CutError(f"{server} does not answer this now (HTTP {code})", LATER)
        case _ if code in BROKEN:
            return CutError(f"{server} reports a server error (HTTP {code})", LATER)
    return SourceError(f"{server} answered HTTP {code}", LATER_OR_MIRROR)


def _out_of_reach(server: str, error: BaseException) -> SourceError:
    """Why there is no connection, in words; the system's own error is at the end of the chain of causes."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    match error:
        case socket.gaierror():
            reason = f"{server} cannot be found: no internet connection, or the name server does not answer"
            return SourceError(reason, NETWORK)
        case ssl.SSLCertVerificationError():
            return SourceError(
                f"{server} shows a certificate that is not trusted ({error.verify_message})",
                "check the clock, and SSL_CERT_FILE if a proxy re-signs connections",
            )
        case TimeoutError():
            reason = f"{server} did not answer within {CONNECT_S:.0f} s: no internet connection, or a firewall drops it"
            return SourceError(reason, NETWORK)
        case ConnectionRefusedError():
            return SourceError(f"{server} refuses connections", "check that the address is right and the server is up")
    if str(error).startswith("407"):  # the proxy's answer to CONNECT
        return _refusal(407, server)
    return SourceError(f"{server} cannot be reached ({_words(error)})", "check the network and HTTPS_PROXY")


def _words(error: BaseException) -> str:
    if isinstance(error, (TimeoutError, httpx2.TimeoutException)):
        return "no byte for too long"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
