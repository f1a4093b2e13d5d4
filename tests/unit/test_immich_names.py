"""Model names as they come from Immich's settings, where people paste them."""

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from serving import FakeTasks, fake_services

from ml_target.catalogue.immich import WIDTHS, clean_name
from ml_target.catalogue.networks import (
    ARCFACE_R50,
    BUFFALO_DETECTOR,
    BUFFALO_RECOGNIZER,
    CLIP_BACKENDS,
    FACES_IMMICH_NAME,
    SCRFD_10G,
    SIGLIP,
    TINYCLIP,
    VIT_B_32,
)
from ml_target.catalogue.types import Network
from ml_target.errors import UnusableInput
from ml_target.runtime.names_seen import NamesSeen
from ml_target.runtime.overview import overview
from ml_target.runtime.protocol import parse_entries
from ml_target.tasks.clip.names import backend_for
from ml_target.tasks.contract import ImmichSetting, Job
from ml_target.tasks.faces.task import FACES
from ml_target.tasks.service import Service

BLANKS = (" {}", "{} ", "\t{}\n", " immich-app/{} ", "immich-app/ {}", "\u00a0{}\u3000")


@pytest.mark.parametrize("form", BLANKS)
def test_blanks_around_a_name_are_none_of_it(form: str) -> None:
    assert clean_name(form.format("ViT-B-32__openai")) == "ViT-B-32__openai"
    for name in WIDTHS:
        assert clean_name(form.format(name)) == name


def test_what_is_inside_of_a_name_stays() -> None:
    assert clean_name("my own/ViT B.32:x\\y ") == "ViT B32_x_y"


@pytest.mark.parametrize("form", BLANKS)
@pytest.mark.parametrize("name", ["ViT-B-32__openai", "ViT-B-16-SigLIP__webli", "ViT-B-32-SigLIP2-256__webli"])
def test_auto_takes_the_backend_of_the_name_without_them(name: str, form: str) -> None:
    assert backend_for(form.format(name), list(CLIP_BACKENDS.values())).immich_name == name


@pytest.mark.parametrize("form", BLANKS)
def test_a_name_of_another_width_is_refused_with_or_without_them(form: str) -> None:
    with pytest.raises(UnusableInput, match="Immich asks for ViT-B-16-SigLIP__webli, whose vectors have 768 numbers"):
        backend_for(form.format("ViT-B-16-SigLIP__webli"), [TINYCLIP])


def test_every_task_gets_its_name_without_them() -> None:
    """So that one model is announced once, by one name."""
    clip, faces, ocr = ({"modelName": f" {name}\n"} for name in ("ViT-B-32__openai", "buffalo_l", "PP-OCRv5_mobile"))
    asked = {
        "clip": {"visual": clip},
        "facial-recognition": {"detection": faces, "recognition": faces},
        "ocr": {"detection": ocr, "recognition": ocr},
    }
    jobs = parse_entries(json.dumps(asked))
    assert [job.model_name for job in jobs] == ["ViT-B-32__openai", "buffalo_l", "PP-OCRv5_mobile"]


@pytest.mark.parametrize(
    ("asked", "served", "first"),
    [
        ("ViT-B-16-SigLIP__webli", TINYCLIP, "Start the worker with CLIP_BACKEND=siglip; to choose"),
        ("ViT-B-32__openai", SIGLIP, "Start the worker with CLIP_BACKEND=tinyclip or CLIP_BACKEND=vit_b_32, whichever"),
        (
            "ViT-L-14__openai",
            TINYCLIP,
            "Choose ViT-B-32__openai (tinyclip) in Immich's smart search settings, which deletes",
        ),
    ],
)
def test_a_refusal_names_first_what_keeps_the_vectors(asked: str, served: Any, first: str) -> None:
    """Somebody with a whole library under that name reads it, who has only forgotten the setting."""
    with pytest.raises(UnusableInput) as refused:
        backend_for(asked, [served])
    assert refused.value.remedy.startswith(first)
    assert "deletes all search vectors" in refused.value.remedy


@pytest.mark.parametrize(
    ("backend", "asked", "fits"),
    [
        (TINYCLIP, "ViT-B-32__openai", True),
        (TINYCLIP, "RN101__yfcc15m", True),
        (TINYCLIP, "ViT-B-16__openai", False),
        (VIT_B_32, "ViT-B-32__openai", True),
        (VIT_B_32, "RN101__yfcc15m", False),
    ],
)
def test_the_page_sends_nobody_away_from_the_name_that_was_recommended(backend: Any, asked: str, fits: bool) -> None:
    """And says of every other that a change deletes all vectors."""
    names = NamesSeen()
    names.note("clip.visual", asked, backend.name)
    (row,) = overview(fake_services(FakeTasks(), backend=backend.name), names, ImmichSetting("URL", "http://h:1"))[
        "names"
    ]
    assert (row["fits"], row["choose"]) == (fits, ["ViT-B-32__openai"])
    assert "a change of name deletes all of them" in row["costs"]


@pytest.mark.parametrize(
    ("networks", "name"),
    [
        ((BUFFALO_DETECTOR, BUFFALO_RECOGNIZER), FACES_IMMICH_NAME),
        ((SCRFD_10G, BUFFALO_RECOGNIZER), "scrfd_10g + buffalo_l_recognition"),
        ((SCRFD_10G, ARCFACE_R50), "scrfd_10g + arcface_r50"),
    ],
)
def test_only_immich_s_own_networks_go_by_immich_s_name_for_faces(networks: tuple[Network, ...], name: str) -> None:
    """So nothing is logged of a name that is right."""
    models = tuple(SimpleNamespace(network=network) for network in networks)
    service: Service[Any] = Service("facial-recognition", models=cast(Any, models))
    assert FACES.served_by(Job(FACES, "facial-recognition", "buffalo_l"), service) == name
