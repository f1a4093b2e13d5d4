"""Which CLIP backends a setting means, and which of them answers for a name that Immich asks for."""

from itertools import combinations

import pytest

from ml_target.catalogue.immich import WIDTHS
from ml_target.catalogue.needs import EngineName, chosen, needs, settled
from ml_target.catalogue.networks import (
    CLIP_BACKENDS,
    SIGLIP,
    SIGLIP2,
    TINYCLIP,
    VIT_B_16,
    VIT_B_32,
    clashing,
    with_baked,
)
from ml_target.catalogue.types import ClipBackend, ModelFile
from ml_target.config import Settings
from ml_target.diagnostics.change import told
from ml_target.diagnostics.names import lines
from ml_target.errors import SettingsError, UnusableInput
from ml_target.tasks.clip.names import backend_for


def settings(backend: str) -> Settings:
    return Settings.from_environment({"CLIP_BACKEND": backend})


def towers(choice: Settings) -> list[str]:
    return [network.variant for network in chosen(choice) if network.stage == "visual"]


# ------------------------------------------------------------------ setting


@pytest.mark.parametrize(
    ("value", "backends"),
    [("vit_b_32", ["vit_b_32"]), ("Siglip, vit_b_16", ["vit_b_16", "siglip"]), ("siglip siglip", ["siglip"])],
)
def test_one_or_several(value: str, backends: list[str]) -> None:
    assert towers(settings(value)) == backends


def test_without_a_setting_it_is_tinyclip_as_ever() -> None:
    assert towers(Settings.from_environment({})) == ["tinyclip"]


@pytest.mark.parametrize("value", ["vit_b_64", "tinyclip,auto", "tinyclip;siglip", " , "])
def test_what_is_none_is_refused_with_what_there_is(value: str) -> None:
    with pytest.raises(SettingsError, match=r"one of tinyclip, vit_b_32, vit_b_16, siglip, siglip2 or auto"):
        settings(value)


def test_two_that_would_answer_for_one_name_are_refused_with_the_choices() -> None:
    with pytest.raises(SettingsError, match=r"tinyclip and vit_b_32 would both answer for ViT-B-32__openai") as refused:
        settings("tinyclip,siglip,vit_b_32")
    assert "CLIP_BACKEND=tinyclip,siglip or CLIP_BACKEND=siglip,vit_b_32" in refused.value.remedy


# --------------------------------------------------------------------- auto


def found(engine: EngineName, files: list[str]) -> str:
    """What `auto` is with these files."""
    return settled(settings("auto"), engine, "hailo8", lambda file: file.name in files).clip_backend


def there(*backends: str) -> set[ModelFile]:
    return {CLIP_BACKENDS[name].visual.onnx[0] for name in backends}


@pytest.mark.parametrize("backends", ["siglip,siglip2", "vit_b_32", "tinyclip,vit_b_16"])
def test_auto_is_what_is_there(backends: str) -> None:
    files = [file.name for file in there(*backends.split(","))]
    assert found("cpu", files) == backends
    assert found("hailo", files) == "tinyclip", "no HEF is there"


def test_auto_refuses_to_choose_between_two_spaces_of_one_name() -> None:
    files = [file.name for file in there("tinyclip", "vit_b_32")]
    with pytest.raises(SettingsError, match="CLIP_BACKEND=auto: tinyclip and vit_b_32"):
        found("cpu", files)


# -------------------------------------------------------------------- names


@pytest.mark.parametrize("backend", CLIP_BACKENDS.values(), ids=str)
def test_alone_a_backend_answers_for_every_name_of_its_width_and_no_other(backend: object) -> None:
    served = [b for b in CLIP_BACKENDS.values() if b is backend]
    for name, width in WIDTHS.items():
        if width == served[0].width:
            assert backend_for(name, served) is served[0]
        else:
            with pytest.raises(UnusableInput, match="numbers"):
                backend_for(name, served)


def test_an_upgrade_keeps_every_name_where_it_was() -> None:
    """What three backends answered for is answered by the same of them; two of one width no longer guess."""
    before = [TINYCLIP, SIGLIP, SIGLIP2]
    for name, width in WIDTHS.items():
        if width == 512:
            assert backend_for(name, before) is TINYCLIP
        elif name in (SIGLIP.immich_name, SIGLIP2.immich_name):
            assert backend_for(name, before).immich_name == name
        else:
            with pytest.raises(UnusableInput):
                backend_for(name, before)


SETS = [
    names
    for count in range(1, 6)
    for names in combinations(CLIP_BACKENDS, count)
    if clashing(CLIP_BACKENDS[name] for name in names) is None
]


@pytest.mark.parametrize("names", SETS, ids=",".join)
def test_auto_with_whatever_is_there_gives_every_name_to_its_own_space_or_refuses_it(names: tuple[str, ...]) -> None:
    """All names of Immich's catalogue; the same as with those backends listed, in whatever order."""
    files = [file.name for file in there(*names)]
    auto = Settings(clip_backend="auto")
    found = settled(auto, "cpu", "hailo8", lambda file: file.name in files)
    assert found.clip_backend == ",".join(names)
    served = [CLIP_BACKENDS[name] for name in names]
    own = {b.immich_name: b for b in served}
    for name, width in WIDTHS.items():
        wide = [b for b in served if b.width == width]
        right = own.get(name) or (TINYCLIP if TINYCLIP in wide else wide[0] if len(wide) == 1 else None)
        for order in (served, served[::-1]):
            if right:
                assert backend_for(name, order) is right
            else:
                with pytest.raises(UnusableInput) as refused:
                    backend_for(name, order)
                assert served[0].immich_name in refused.value.remedy


@pytest.mark.parametrize("before", ["tinyclip", "siglip", "siglip2"])
def test_an_upgrade_from_one_backend_moves_no_name_and_asks_nothing(before: str) -> None:
    """With the setting as it was, and with what an image for a card holds besides, should it be `auto` now."""
    kept = {"CLIP_BACKEND": before}
    assert Settings.from_environment(kept).clip_backend == before
    assert told(kept, kept) == []
    held = [CLIP_BACKENDS[name] for name in with_baked(before)]
    for name, width in WIDTHS.items():
        if width == CLIP_BACKENDS[before].width:
            assert backend_for(name, [CLIP_BACKENDS[before]]).name == before
    assert backend_for(CLIP_BACKENDS[before].immich_name, held).name == before


def test_the_name_picks_among_several_of_one_width() -> None:
    served = [TINYCLIP, VIT_B_16]
    assert backend_for("ViT-B-16__openai", served) is VIT_B_16
    assert backend_for("ViT-B-32__openai", served) is TINYCLIP
    assert backend_for("RN101__yfcc15m", served) is TINYCLIP
    with pytest.raises(UnusableInput, match="2 models that it could mean"):
        backend_for("RN101__yfcc15m", [VIT_B_32, VIT_B_16])


@pytest.mark.parametrize("other", [VIT_B_16, SIGLIP])
def test_a_name_that_nobody_knows_may_mean_any_of_several(other: ClipBackend) -> None:
    """A newer Immich's, of whatever width: nothing tells whose vectors its library has."""
    assert backend_for("ViT-B-16-Newer__made-up", [TINYCLIP]) is TINYCLIP
    with pytest.raises(UnusableInput, match="2 models that it could mean") as refused:
        backend_for("ViT-B-16-Newer__made-up", [TINYCLIP, other])
    assert other.immich_name in refused.value.remedy


def test_what_to_type_into_immich() -> None:
    assert lines("vit_b_32") == ["CLIP model  ViT-B-32__openai  (512 numbers)"], "its own name: nothing is hidden"
    assert lines("vit_b_16,siglip") == ["CLIP model  ViT-B-16__openai or ViT-B-16-SigLIP__webli: the name decides"]


def test_immich_s_own_file_is_the_processor_s_first_choice() -> None:
    need = next(n for n in needs(settings("vit_b_32"), "cpu") if n.service == "clip.visual (vit_b_32)")
    assert [file.name for file in need.files] == ["vit_b_32_openai_visual.onnx", "clip_vit_b_32_image_encoder.onnx"]
    assert need.files[0].sha256
