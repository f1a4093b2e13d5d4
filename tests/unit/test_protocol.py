"""Malformed requests: each is told what is wrong, and what to send instead."""

import pytest

from ml_target.errors import MalformedRequest
from ml_target.runtime.protocol import MAX_ENTRIES, USUAL, parse_entries


@pytest.mark.parametrize(
    ("entries", "reason", "remedy"),
    [
        ("{", "entries is not JSON", "Send entries as Immich does"),
        ("[1]", "entries is not a JSON object", "Send entries as Immich does"),
        ('{"clip": {}}', "clip asks for nothing", "Name its types, or leave the task out."),
        ('{"clip": 1}', "Invalid request format: clip", "Send entries as Immich does"),
        (" " * (MAX_ENTRIES + 1), "entries has more than 65,536 characters", "Send entries as Immich does"),
        ("{}", "No model task requested", "Ask for"),
    ],
)
def test_reason_and_remedy(entries: str, reason: str, remedy: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        parse_entries(entries)
    assert reason in caught.value.reason
    assert not caught.value.reason.endswith(".")
    assert caught.value.remedy.startswith(remedy)


def test_what_is_asked_for_again_is_the_same_and_refusals_stay() -> None:
    """The jobs of usual `entries` are kept; who gets them may change the list."""
    entries = '{"clip": {"textual": {"modelName": "ViT-B-32__openai"}}}'
    first = parse_entries(entries)
    expected = list(first)
    first.clear()
    assert parse_entries(entries) == expected
    assert parse_entries(entries + " " * USUAL) == expected
    for _ in range(2):
        with pytest.raises(MalformedRequest, match="is not JSON"):
            parse_entries(entries + "}")
