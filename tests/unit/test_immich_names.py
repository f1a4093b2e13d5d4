"""Model names as they come from Immich's settings, where people paste them."""

import json

import pytest

from ml_target.catalogue.immich import WIDTHS, clean_name
from ml_target.catalogue.networks import CLIP_BACKENDS, TINYCLIP
from ml_target.errors import UnusableInput
from ml_target.runtime.protocol import parse_entries
from ml_target.tasks.clip.names import backend_for

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
