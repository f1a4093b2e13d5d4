"""What has to run again in Immich after a change of settings: told from the catalogue, for setup.sh."""

import pytest

from ml_target.catalogue.networks import CLIP_BACKENDS, FACE_RECOGNIZERS
from ml_target.catalogue.types import Network
from ml_target.diagnostics.change import main, told

CARD: dict[str, str] = {}
CPU = {"ENGINE": "cpu"}
TINY, SIGLIP, VIT = ({"CLIP_BACKEND": name} for name in ("tinyclip", "siglip", "vit_b_32"))
BUFFALO = {"FACE_RECOGNIZER": "buffalo_l"}
MOBILE = {"FACE_RECOGNIZER": "arcface_mobilefacenet"}
OWN = {"FACE_RECOGNIZER": "w600k_r50"}
R50 = {"FACE_RECOGNIZER": "arcface_r50"}
SEARCH, DUPLICATES, FACES = "Smart Search → All", "Duplicate Detection", "Face Detection → Reset"


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (TINY, TINY),
        (TINY, {}),
        (TINY | {"SIGLIP_RESIZE": "shortest"}, TINY),
        (SIGLIP, SIGLIP | {"SIGLIP_RESIZE": "squash"}),
        (TINY, TINY | {"FACE_RECOGNIZER": "arcface_r50"}),
        (TINY, TINY | {"FACE_DETECTOR": "scrfd_10g", "HAILO_BATCH": "4"}),
        (VIT | BUFFALO, VIT | BUFFALO | {"FACE_DETECTOR": "buffalo_l"}),
        (TINY | BUFFALO | CPU, TINY | OWN | CPU),
        (TINY | OWN | CPU, TINY | BUFFALO | CPU),
        (SIGLIP, SIGLIP | {"CLIP_TEXT_ENGINE": "cpu"}),
        (TINY | {"HAILO_BATCH": "64"}, TINY),
    ],
)
def test_what_leaves_all_that_is_stored_alone(before: dict[str, str], now: dict[str, str]) -> None:
    assert told(before, now) == []


@pytest.mark.parametrize(
    ("before", "now", "jobs"),
    [
        (SIGLIP, TINY, {SEARCH}),
        (TINY, VIT, {SEARCH}),
        (SIGLIP | {"SIGLIP_RESIZE": "shortest"}, SIGLIP, {SEARCH}),
        (TINY | MOBILE, TINY, {FACES}),
        (TINY, TINY | BUFFALO, {FACES}),
        (TINY | BUFFALO, TINY, {FACES}),
        (TINY, TINY | CPU, {SEARCH, DUPLICATES, FACES}),
        (TINY | MOBILE | CPU, TINY | MOBILE, {SEARCH, DUPLICATES, FACES}),
        (VIT | BUFFALO, VIT | BUFFALO | CPU, {SEARCH, DUPLICATES}),
        (VIT | BUFFALO | CPU, VIT | BUFFALO, {SEARCH, DUPLICATES}),
        (VIT | BUFFALO | CPU, SIGLIP | BUFFALO, {SEARCH}),
        ({"CLIP_BACKEND": "siglip,vit_b_16"}, SIGLIP, {SEARCH}),
        ({"CLIP_BACKEND": "clip"}, SIGLIP, {SEARCH}),
    ],
)
def test_what_has_to_run_again(before: dict[str, str], now: dict[str, str], jobs: set[str]) -> None:
    """With Immich's recogniser, which the processor runs on every host, people stay on a move to a card and back."""
    words = " ".join(told(before, now))
    assert {job for job in (SEARCH, DUPLICATES, FACES) if job in words} == jobs, words
    assert ("People stay" in words) == (before.get("ENGINE") != now.get("ENGINE") and FACES not in jobs)


def test_of_several_backends_that_become_fewer_those_that_stay_cost_nothing() -> None:
    """Nobody is sent to index again what its own backend goes on serving; of `auto` nobody knows which one did."""
    both = {"CLIP_BACKEND": "siglip,vit_b_16"}
    words = " ".join(told(both, SIGLIP))
    assert "Where siglip answered for the library's name, nothing has to run. Where vit_b_16 did" in words
    for before, now in (
        (both | CPU, SIGLIP),
        (both, SIGLIP | {"SIGLIP_RESIZE": "shortest"}),
        ({"CLIP_BACKEND": "auto"}, TINY),
    ):
        assert "nothing has to run" not in " ".join(told(before, now))


@pytest.mark.parametrize(
    ("before", "now"),
    [(BUFFALO, OWN), (OWN, BUFFALO), (OWN, OWN | CPU), (OWN | CPU, OWN), (BUFFALO | CPU, OWN), (OWN, BUFFALO | CPU)],
)
def test_people_can_stay_where_the_card_computes_the_network_that_the_processor_has(
    before: dict[str, str], now: dict[str, str]
) -> None:
    """`w600k_r50` is `buffalo_l`'s network from a file of the owner's own, which the selfcheck has held near it."""
    words = " ".join(told(before, now))
    assert "it is one network, on the card in 8 bits. People can stay" in words
    assert "measure it on your photos before the change" in words
    assert "Reset" not in words
    assert "People stay" not in words


@pytest.mark.parametrize("was", FACE_RECOGNIZERS.values(), ids=FACE_RECOGNIZERS)
@pytest.mark.parametrize("will", FACE_RECOGNIZERS.values(), ids=FACE_RECOGNIZERS)
def test_people_are_named_again_where_the_spaces_of_two_networks_differ(was: Network, will: Network) -> None:
    """On one device, as the catalogue has the spaces."""
    words = " ".join(told(*(CPU | {"FACE_RECOGNIZER": each.choice} for each in (was, will))))
    assert (FACES in words) == (was.space != will.space), words


@pytest.mark.parametrize(("before", "now"), [(CPU, CPU | R50), (CPU | R50, CPU)])
def test_a_stand_in_that_may_have_served_is_told(before: dict[str, str], now: dict[str, str]) -> None:
    words = " ".join(told(before, now))
    assert words.startswith("Where face_embedder_112_512.onnx is in the models folder and arcface_r50.onnx is not, ")
    assert FACES in words
    assert told(CPU, CPU) == told(CARD, R50) == []


def test_the_name_to_choose_is_told() -> None:
    assert "change choose ViT-B-16-SigLIP__webli or ViT-B-16__openai in Immich," in told(
        TINY, {"CLIP_BACKEND": "siglip,vit_b_16"}
    )


def test_a_name_that_moves_to_another_backend_is_told_though_all_are_still_served() -> None:
    words = " ".join(told(TINY, {"CLIP_BACKEND": "tinyclip,vit_b_16"}))
    assert "tinyclip answered for ViT-B-16__openai, and it would no longer" in words
    assert told({"CLIP_BACKEND": "tinyclip,siglip"}, {"CLIP_BACKEND": "siglip,tinyclip"}) == []


@pytest.mark.parametrize("backend", CLIP_BACKENDS)
def test_every_backend_stays_what_it_is_and_no_two_are_one_space(backend: str) -> None:
    for other in CLIP_BACKENDS:
        words = " ".join(told({"CLIP_BACKEND": backend}, {"CLIP_BACKEND": other}))
        assert (SEARCH in words) == (other != backend)


def test_as_setup_asks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the words of a container's label; those that are no settings do not matter."""
    monkeypatch.setenv("CLIP_BACKEND", "tinyclip")
    assert main(["IMMICH_PORT=3003", "CLIP_BACKEND=siglip", "LIMIT=4g", "DEVICE=/dev/hailo0", "GROUP=0"]) == 0
    assert capsys.readouterr().out.startswith("Until now it had CLIP_BACKEND=siglip. ")
    assert main(["IMMICH_PORT=3003", "CLIP_BACKEND=tinyclip"]) == 0
    assert capsys.readouterr().out.strip() == ""
