"""What words must not carry out: passwords in addresses, and where something lies in memory."""

import re

_LOGIN = re.compile(r"(?<=://)(?!/)\S*@")
_PLACE = re.compile(r"\s?<[\w.]+(?: object| [\w.]+)? at 0x[0-9a-fA-F]+>|\sat 0x[0-9a-fA-F]{6,}")


def without_logins(text: str) -> str:
    """Every address in the text without user and password: `https://***@files.lan/models`.

    As far as the last @ of the word: a password that is not written as it should be may hold / or #.
    """
    return _LOGIN.sub("***@", text)


def without_login(address: str) -> str:
    """One address without user and password, as above; blanks belong to it."""
    scheme, separator, rest = address.partition("://")
    if not separator or "@" not in rest:
        return address
    return f"{scheme}://***@{rest.rpartition('@')[2]}"


def without_addresses(text: str) -> str:
    """The text without `<_io.BytesIO object at 0x7f…>`, which libraries put into their errors."""
    return _PLACE.sub("", text)
