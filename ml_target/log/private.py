"""What messages must not reveal: passwords in URLs, and addresses in memory."""

import re

_LOGIN = re.compile(r"(?<=://)(?!/)\S*@")
_PLACE = re.compile(r"\s?<[\w.]+(?: object| [\w.]+)? at 0x[0-9a-fA-F]+>|\sat 0x[0-9a-fA-F]{6,}")


def without_logins(text: str) -> str:
    """The text with user and password cut from every URL: `https://***@files.lan/models`.

    Cut up to the last @ of the word: a password that is not escaped as it should be may hold / or #.
    """
    return _LOGIN.sub("***@", text)


def without_login(address: str) -> str:
    """One URL without user and password, as above; blanks are part of it."""
    scheme, separator, rest = address.partition("://")
    if not separator or "@" not in rest:
        return address
    return f"{scheme}://***@{rest.rpartition('@')[2]}"


def without_addresses(text: str) -> str:
    """The text without memory addresses, such as `<_io.BytesIO object at 0x7f…>` in errors of libraries."""
    return _PLACE.sub("", text)
