"""The registers agree with each other: what stands in one of them is known to the others."""

import re
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from project import PROJECT

from ml_target.catalogue.needs import Choice, chosen
from ml_target.catalogue.networks import AUTO, CLIP_BACKENDS, NETWORKS, SIGLIP, TINYCLIP
from ml_target.catalogue.types import EITHER_CHIP, ClipBackend
from ml_target.config import Settings
from ml_target.diagnostics.checks.register import CHECKS
from ml_target.diagnostics.own_words import OWN_WORDS
from ml_target.tasks.clip.encoders import HALF_FROM
from ml_target.tasks.clip.resize import shortest_side_crop, squash
from ml_target.tasks.clip.task import CLIP
from ml_target.tasks.register import TASKS

USAGE = r"^  (--[a-z-]+) +NAME +(.*(?:\n {27}.*)*)"
"""An option of setup.sh that takes a name, and what it says of it."""


def test_every_task_has_networks_checks_and_words_of_predict() -> None:
    names = [task.name for task in TASKS]
    assert list(CHECKS) == names
    assert list(OWN_WORDS) == names
    assert list(dict.fromkeys(network.task for network in NETWORKS)) == names


def test_every_network_stands_there_once_and_is_chosen_by_a_setting_that_decides_about_files() -> None:
    assert len({network.name for network in NETWORKS}) == len(NETWORKS)
    deciding = {name for name, value in vars(Choice).items() if isinstance(value, property)}
    assert {network.setting for network in NETWORKS} - {""} <= deciding <= {item.name for item in fields(Settings)}
    for network in NETWORKS:
        named: dict[str, Any] = {network.setting: network.choice} if network.setting else {}
        assert network in chosen(Settings(**named))


def test_a_network_that_its_owner_compiles_says_what_takes_its_place_and_what_it_is_calibrated_on() -> None:
    own = [network for network in NETWORKS if network.template]
    assert own
    for network in own:
        assert network.calibrated_on
        assert network.twin is not None
        assert (network.twin.onnx, network.twin.hef, network.twin.setting) == (network.onnx, {}, network.setting)


@pytest.mark.parametrize("backend", CLIP_BACKENDS.values(), ids=lambda b: b.name)
def test_both_towers_of_a_backend_belong_to_it(backend: ClipBackend) -> None:
    for tower in (backend.visual, backend.textual):
        assert tower in NETWORKS
        assert (tower.variant, tower.space) == (backend.name, backend.name)
    assert backend.vocabulary
    assert backend.text_weights.name == f"{backend.name}_text_weights.npz"


def test_the_usage_of_setup_names_the_backends_and_chips_that_there_are() -> None:
    """By hand there, since the shell checks names by it before there is a planner."""
    text = (PROJECT / "setup.sh").read_text(encoding="utf-8")
    about = {option: " ".join(words.split()) for option, words in re.findall(USAGE, text, re.MULTILINE)}
    backends = ", ".join(name if name != Settings().clip_backend else f"{name} (the default)" for name in CLIP_BACKENDS)
    assert about["--clip-backend"].startswith(f"{backends}, several separated by commas, or {AUTO}: all ")
    assert about["--chip"].startswith(f"{EITHER_CHIP}, where ")


def _loading(backend: ClipBackend, settings: Settings) -> Any:
    """What a picture tower is loaded with: a network that takes its own size."""
    shape = (backend.visual.input.height, backend.visual.input.width, 3)  # type: ignore[union-attr]
    model = SimpleNamespace(network=backend.visual, intake=SimpleNamespace(shape=shape))
    return SimpleNamespace(settings=settings, pool=None, folder=Path(), model=lambda network: model)


@pytest.mark.parametrize(
    ("backend", "setting", "prepares"),
    [
        (SIGLIP, "squash", squash),
        (SIGLIP, "shortest", shortest_side_crop),
        (TINYCLIP, "squash", shortest_side_crop),
        (TINYCLIP, "shortest", shortest_side_crop),
    ],
)
def test_siglip_resize_is_about_the_siglip_family(backend: ClipBackend, setting: Any, prepares: Any) -> None:
    encoder, _ = CLIP.pictures(backend).load(_loading(backend, Settings(siglip_resize=setting)))
    assert encoder._resize is prepares


@pytest.mark.parametrize("backend", CLIP_BACKENDS.values(), ids=lambda b: b.name)
def test_decoding_is_scaled_where_the_setting_says_so(backend: ClipBackend) -> None:
    side = backend.visual.input.height  # type: ignore[union-attr]
    for settings, enough in ((Settings(), None), (Settings(clip_decoding="scaled"), round(HALF_FROM * side))):
        encoder, _ = CLIP.pictures(backend).load(_loading(backend, settings))
        assert CLIP.enough(encoder) == enough
