"""Asks web servers for bytes: timeouts, faults in words, and hosts known to be out of reach."""

import base64
import http.client
import socket
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from ml_target import __version__
from ml_target.log.private import without_login
from ml_target.store.faults import CutError, PastEndError, SourceError
from ml_target.store.patience import Patience

CONNECT_S = 10.0
READ_S = 60.0
REMEMBER_S = 300.0
PASSING = (408, 425, 429, 500, 502, 503, 504)

Answer = http.client.HTTPResponse


@dataclass(frozen=True, slots=True)
class Version:
    """Which edition of a file a server sends: its strong ETag or its date ("" for neither), and bytes in all."""

    tag: str
    size: int | None


class _Plain(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(READ_S)


class _Secure(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(READ_S)


class _PlainHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Answer:
        return self.do_open(_Plain, req)


class _SecureHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Answer:
        return self.do_open(_Secure, req, context=ssl.create_default_context())


class Web:
    """Opens addresses, through the proxy that the environment names if it names one.

    A host that could not be reached is not tried again for some minutes, so that a run without
    internet fails once and not once a file.
    """

    def __init__(self, pause_s: float = 1.0) -> None:
        self._opener = urllib.request.build_opener(_PlainHandler, _SecureHandler)
        self._out_of_reach: dict[str, tuple[float, str]] = {}
        self._pause_s = pause_s

    def open(self, url: str, first: int = 0, last: int | None = None, tag: str | None = None) -> Answer:
        """The answer to GET, from byte `first` to byte `last` (included); status 200 or 206.

        With `tag`, a file that has changed since comes whole (200). The caller closes the answer.
        Raises SourceError; CutError where another try may help.
        """
        host = host_of(url)
        at, reason = self._out_of_reach.get(host, (0.0, ""))
        if reason and time.monotonic() - at < REMEMBER_S:
            raise SourceError(reason)
        try:
            answer = self._opener.open(self._request(url, first, last, tag), timeout=CONNECT_S)
        except urllib.error.HTTPError as error:
            error.close()
            raise _refusal(error.code, host) from error
        except urllib.error.URLError as error:
            reason = _out_of_reach(host, error.reason)
            self._out_of_reach[host] = (time.monotonic(), reason)
            raise SourceError(reason) from error
        except (http.client.InvalidURL, ValueError) as error:
            raise _unusable(url, error) from None
        except (OSError, http.client.HTTPException) as error:
            raise CutError(f"{host} broke off before it answered ({_words(error)}); try again later") from error
        assert isinstance(answer, Answer)
        return answer

    def patience(self) -> Patience:
        """For one transfer."""
        return Patience(self._pause_s)

    @staticmethod
    def _request(url: str, first: int, last: int | None, tag: str | None) -> urllib.request.Request:
        parts = urlsplit(url)
        login, _, server = parts.netloc.rpartition("@")
        request = urllib.request.Request(parts._replace(netloc=server).geturl())
        if login:
            # Not passed on to where a redirect leads.
            coded = base64.b64encode(unquote(login).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {coded}")
        request.add_header("User-Agent", f"immich-ml-hailo/{__version__}")
        request.add_header("Accept-Encoding", "identity")
        if first or last is not None:
            request.add_header("Range", f"bytes={first}-{'' if last is None else last}")
            if tag:
                request.add_header("If-Range", tag)
        return request


def host_of(url: str) -> str:
    """The server in an address. Raises SourceError for what is no address."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError as error:
        raise _unusable(url, error) from None


def _unusable(url: str, error: Exception) -> SourceError:
    # What is wrong with an address may be its password, or the proxy's, which the error then quotes.
    secrets = any("@" in address for address in (url, *urllib.request.getproxies().values()))
    reason = "" if secrets else f" ({error})"
    return SourceError(f"{without_login(url)} is not a usable address{reason}; correct it")


def version_of(answer: Answer) -> Version:
    """Edition and total size, from the headers of a whole or a partial answer."""
    etag = answer.headers.get("ETag", "")
    tag = etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")
    if answer.status == http.client.PARTIAL_CONTENT:
        _, _, total = answer.headers.get("Content-Range", "").rpartition("/")
    else:
        total = answer.headers.get("Content-Length", "")
    return Version(tag, int(total) if total.isdigit() else None)


def first_byte(answer: Answer) -> int:
    """Where in the file the answer begins. Raises SourceError for a partial answer that does not say."""
    if answer.status != http.client.PARTIAL_CONTENT:
        return 0
    start = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if not start.isdigit():
        raise SourceError("the server sent a part without saying which; try again later or use a mirror")
    return int(start)


def read_block(answer: Answer, size: int, host: str) -> bytes:
    """Up to `size` more bytes, as soon as there are any; b"" at the end. Raises CutError."""
    try:
        return answer.read1(size)
    except (OSError, http.client.HTTPException) as error:
        raise CutError(f"{host} broke off ({_words(error)}); try again later, what has come is kept") from error


def shown(url: str) -> str:
    """The address without what may be secret in it: password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return without_login(url)
    if "@" in url and "@" not in parts.netloc:
        return without_login(url)  # a password with / in it, which leaves the @ to the path
    if "@" not in parts.netloc and not parts.query:
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _refusal(code: int, host: str) -> SourceError:
    """An HTTP status in words."""
    match code:
        case 404 | 410:
            return SourceError(f"{host} does not have it (HTTP {code}); it may have moved, a mirror may help")
        case 401 | 403:
            return SourceError(
                f"{host} refuses it (HTTP {code}): it wants a login, or something between here and there blocks it"
            )
        case 407:
            return SourceError("the proxy wants a login (HTTP 407); set HTTPS_PROXY=http://user:password@proxy:port")
        case 416:
            return PastEndError(f"{host} has less of it than there should be (HTTP 416); try again")
        case _ if code in PASSING:
            return CutError(f"{host} has a problem of its own (HTTP {code}); try again later")
    return SourceError(f"{host} answered HTTP {code}; try again later or use a mirror")


def _out_of_reach(host: str, reason: object) -> str:
    """Why no connection came about, in words."""
    match reason:
        case socket.gaierror():
            return f"{host} cannot be found: no internet connection, or the name server does not answer"
        case ssl.SSLCertVerificationError():
            return (
                f"{host} shows a certificate that is not trusted ({reason.verify_message}): "
                "check the clock, and SSL_CERT_FILE if a proxy re-signs connections"
            )
        case TimeoutError():
            return f"{host} did not answer within {CONNECT_S:.0f} s: no internet connection, or a firewall drops it"
        case ConnectionRefusedError():
            return f"{host} refuses connections: is the address right, is the server up?"
        case OSError():
            return f"{host} cannot be reached ({_words(reason)}): check the network and HTTPS_PROXY"
    return f"{host} cannot be reached ({reason}): check the network and HTTPS_PROXY"


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no byte for too long"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
