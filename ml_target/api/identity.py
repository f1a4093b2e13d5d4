"""The id of a request: in its answer, its log line and the page's list. It is made here; none is taken from outside."""

import os

from starlette.types import Scope

HEADER = b"x-request-id"

_KEY = "ml_target.id"


def give_id(scope: Scope) -> str:
    """A new one for this request."""
    scope[_KEY] = given = os.urandom(5).hex()
    return given


def id_of(scope: Scope) -> str:
    """The request's id; "" where the application is called without its outermost layer."""
    return str(scope.get(_KEY, ""))
