"""Removes personal details from a text that will be pasted into an issue. Works on the text alone.

Removed: passwords and tokens, what comes before the @ and after the ? in URLs, servers that are not publishers',
IP and hardware addresses, serial numbers, mail addresses, host and user names, home folders. When in doubt, a detail is
removed: a missing word can be asked for, a published password cannot be taken back.
Kept: what describes a machine without saying whose it is (PCI addresses, versions, hashes, ports).
"""

import ipaddress
import re
from collections.abc import Collection, Iterable

MASK = "***"
LONGEST_LINE = 2000
LONGEST_WORD = 160
"""A hash has 64 characters; anything longer without a space is data, such as a vector or an encoded picture."""

PUBLISHERS = ("huggingface.co", "hf.co", "hailo.ai", "amazonaws.com", "github.com", "immich.app")
"""Public servers, which say nothing about the user."""

COMMON = frozenset(
    (
        "localhost", "localdomain", "host", "server", "root", "user", "admin", "home", "linux", "debian", "ubuntu",
        "raspberry", "raspberrypi", "unraid", "truenas", "synology", "docker", "container", "immich", "hailo",
        "worker", "machine-learning", "ml", "card", "cpu", "python", "python3", "app", "tmp", "none", "unknown",
    )
)  # fmt: skip
"""Common names of hosts and users: they identify nobody, and the report needs them as words."""

_SECRET = r"(?:token|passw(?:or)?d|passphrase|pwd|secret|api[_-]?key|credentials?|authorization|cookie|signature|auth)"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", re.DOTALL)
_NAMED = re.compile(
    rf"""((?:^|(?<![A-Za-z0-9]))["']?[\w.-]*(?:{_SECRET}|(?<![A-Za-z0-9])key|[_-]key)["']?\s*[:=]\s*)"""
    r"""(?:(?:bearer|basic|digest|token)\s+\S+|"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|[^\s,;]+)""",
    re.IGNORECASE | re.MULTILINE,
)
_OPTION = re.compile(rf"(--?[\w-]*(?:{_SECRET}|key)\s+)(?!-)\S+", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
_KNOWN_TOKENS = re.compile(
    r"\b(?:hf_\w{8,}|gh[pousr]_\w{8,}|github_pat_\w{8,}|glpat-[\w-]{8,}|sk-[\w-]{12,}|xox[abprs]-[\w-]{8,}"
    r"|AKIA[A-Z0-9]{12,}|eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]+)?)"
)
_ADDRESS = re.compile(r"\b([a-z][a-z0-9+.-]*)://([^\s\"'<>`]+)", re.IGNORECASE)
_BEFORE_AT = re.compile(r"\b([a-z][a-z0-9+.-]*://)\S*@", re.IGNORECASE)
"""Up to the last @ before a space: a password may contain any character."""

_TRAILING = ".,;:)]}!"
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_AT_HOST = re.compile(r"(?<![\w/])[\w.-]+:[^\s@/]+@[\w.-]+")
_HARDWARE = re.compile(r"(?<![0-9A-Za-z:-])(?:[0-9A-Fa-f]{2}[:-]){5,7}[0-9A-Fa-f]{2}(?![0-9A-Za-z]|[:-][0-9A-Fa-f])")
_UUID = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])")
_MACHINE_ID = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{32}(?![0-9A-Za-z])")
_SERIAL = re.compile(
    r"(serial(?:[ _-]?(?:number|no\.?|nr\.?))?[\"']?\s*[:=]?\s+|serial\w*[:=])[\"']?[\w-]+", re.IGNORECASE
)
_IPV6 = re.compile(
    r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?:(?<=:)\d{1,3}(?:\.\d{1,3}){3})?(?:%[\w.-]+)?(?!\w)"
)
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_VERSION_BEFORE = re.compile(r"\b(?:opencv[\w-]*|libjpeg_turbo|version)[ =:]+$", re.IGNORECASE)
"""Versions of these have three dots, like an IP address."""

_LOCAL_NAME = re.compile(
    r"(?<![\w.-])[a-z0-9][\w-]*(?:\.[\w-]+)*\.(?:home\.arpa|fritz\.box|ts\.net|lan|local|home|internal|intranet|localdomain)\b",
    re.IGNORECASE,
)
_HOME = re.compile(r"(?:/var|/export|/usr)?/(?:home|Users)/(?!hailo/|immich/)[^/\s\"'`,;:)\]}>]+")
_ROOT = re.compile(r"(?<![\w/])/(?:var/)?root(?=[/\s\"'`,;:)\]}>]|$)", re.MULTILINE)
_WINDOWS_HOME = re.compile(r"\b[A-Za-z]:\\+Users\\+[^\\\s\"']+", re.IGNORECASE)
_MEDIA = re.compile(r"(/(?:run/)?media/)[^/\s\"']+")
_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")


class Redactor:
    """Removes details from texts; an address gets the same number in all of them.

    `hosts`, `users`, `homes`: the names and folders of this machine and of who runs this.
    """

    def __init__(self, hosts: Iterable[str] = (), users: Iterable[str] = (), homes: Iterable[str] = ()) -> None:
        self._homes = sorted({home.rstrip("/") for home in homes} - {"", "/tmp", "/app"}, key=len, reverse=True)
        self._hosts = _names(_with_short(hosts), re.IGNORECASE)
        self._users = _names(users, re.RegexFlag(0))
        self._numbers: dict[str, int] = {}

    def clean(self, text: str) -> str:
        """The text without personal details, escape sequences and invisible characters."""
        text = _CONTROL.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))
        text = _PEM.sub(MASK, text)
        text = "\n".join(map(_shorter, text.split("\n")))
        text = _ADDRESS.sub(self._url, _BEFORE_AT.sub(rf"\g<1>{MASK}@", text))
        text = _NAMED.sub(rf"\g<1>{MASK}", text)
        text = _OPTION.sub(rf"\g<1>{MASK}", text)
        text = _BEARER.sub(rf"\g<1> {MASK}", text)
        text = _KNOWN_TOKENS.sub(MASK, text)
        text = self._without_homes(text)
        text = _AT_HOST.sub(f"{MASK}@<host>", _MAIL.sub("<mail>", text))
        text = _HARDWARE.sub("<hardware address>", text)
        text = _MACHINE_ID.sub("<id>", _UUID.sub("<id>", text))
        text = _SERIAL.sub(rf"\g<1>{MASK}", text)
        text = _IPV4.sub(self._ip, _IPV6.sub(self._ip, text))
        text = _LOCAL_NAME.sub("<host>", text)
        if self._hosts:
            text = self._hosts.sub("<host>", text)
        return self._users.sub("<user>", text) if self._users else text

    def _without_homes(self, text: str) -> str:
        for home in self._homes:
            text = re.sub(rf"{re.escape(home)}(?![\w-])", "~", text)
        text = _ROOT.sub("~", _HOME.sub("~", text))
        return _MEDIA.sub(r"\g<1><name>", _WINDOWS_HOME.sub("~", text))

    def _url(self, found: re.Match[str]) -> str:
        """Keeps scheme, server if it is a publisher's, port and path; nothing before the @ or after the ?."""
        scheme, rest = found.group(1), found.group(2)
        tail = rest[len(rest.rstrip(_TRAILING)) :]
        rest = rest[: len(rest) - len(tail)]
        secret, at, rest = rest.rpartition("@")
        rest, query, _ = _split(rest)
        host, port, path = _host_port_path(rest)
        shown = host if self._public(host) else self._named_host(host)
        return (
            f"{scheme}://{MASK + '@' if at or secret else ''}{shown}{port}{path}{query + MASK if query else ''}{tail}"
        )

    @staticmethod
    def _public(host: str) -> bool:
        name = host.lower()
        return name in ("", "localhost", "host") or any(
            name == each or name.endswith(f".{each}") for each in PUBLISHERS
        )

    def _named_host(self, host: str) -> str:
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return "<host>"
        return host if address.is_loopback or address.is_unspecified else self._number(f"{address}")

    def _ip(self, found: re.Match[str]) -> str:
        text = found.group()
        if text.endswith(":") and not text.endswith("::"):  # the sentence's own colon
            return self._ip_words(text[:-1]) + ":"
        if _VERSION_BEFORE.search(found.string[max(0, found.start() - 40) : found.start()]):
            return text
        return self._ip_words(text)

    def _ip_words(self, text: str) -> str:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return text
        if address.is_loopback or address.is_unspecified:
            return text
        return self._number(f"{address}")

    def _number(self, address: str) -> str:
        return f"<address {self._numbers.setdefault(address, len(self._numbers) + 1)}>"


def _shorter(line: str) -> str:
    line = _WORD.sub(lambda found: f"<{len(found.group())} characters>", line)
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} <{len(line) - LONGEST_LINE} more characters>"


def _split(rest: str) -> tuple[str, str, str]:
    """At the first ? or #."""
    found = re.search(r"[?#]", rest)
    return (rest[: found.start()], found.group(), rest[found.end() :]) if found else (rest, "", "")


def _host_port_path(rest: str) -> tuple[str, str, str]:
    found = re.match(r"(\[[^\]]*\]|[^/:]*)(:\d+)?(.*)", rest, re.DOTALL)
    assert found is not None
    return found.group(1), found.group(2) or "", found.group(3)


def _with_short(hosts: Iterable[str]) -> set[str]:
    """With the first part of each name that has several."""
    named = set(hosts)
    return named | {host.partition(".")[0] for host in named}


def _names(names: Collection[str] | Iterable[str], flags: re.RegexFlag) -> re.Pattern[str] | None:
    """A pattern for these names as whole words, without common ones."""
    told = {name for name in names if len(name) > 1 and name.lower() not in COMMON and not name.isdecimal()}
    if not told:
        return None
    either = "|".join(re.escape(name) for name in sorted(told, key=len, reverse=True))
    return re.compile(rf"(?<![\w-])(?:{either})(?![\w-])", flags)
