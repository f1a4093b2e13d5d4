"""The catalogue as a whole, what settings need of it, and the commands that list, fetch and verify."""

import argparse
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
from hef_container import container, message
from needed import needed_files

from ml_target.__main__ import main
from ml_target.catalogue import files
from ml_target.catalogue.needs import EngineName, Need, needs, whole_catalogue
from ml_target.catalogue.networks import CLIP_BACKENDS, NETWORKS
from ml_target.catalogue.types import CheckpointCut, Chip, ModelFile
from ml_target.config import PROJECT, Settings
from ml_target.store import Store, command
from ml_target.store.inventory import table, take_stock

CHIPS: tuple[Chip, ...] = ("hailo8", "hailo8l")


def everything() -> list[ModelFile]:
    return [value for value in vars(files).values() if isinstance(value, ModelFile)] + [
        file for value in vars(files).values() if isinstance(value, dict) for file in value.values()
        if isinstance(file, ModelFile)
    ]  # fmt: skip


# ------------------------------------------------------------------- catalogue


@pytest.mark.parametrize("file", everything(), ids=lambda f: f"{f.name} {f.chip or ''}")
def test_every_entry_is_complete(file: ModelFile) -> None:
    assert file.licence
    assert file.sources or file.note, "a file that nobody publishes says what it is"
    assert (file.chip is not None) == file.name.endswith(".hef")
    assert file.sha256 is None or (len(file.sha256) == 64 and file.size)
    assert file.name not in file.aliases
    for source in file.sources:
        if isinstance(source, CheckpointCut):
            assert set(source.mapped) <= set(source.tensors)
            assert not any(name.startswith("T:") for array in source.mapped for name in source.tensors[array])


def test_names_and_aliases_are_unique() -> None:
    names = [(name, file.chip) for file in everything() for name in (file.name, *file.aliases)]
    assert len(names) == len(set(names))


def test_every_network_has_its_files_and_every_file_its_network() -> None:
    for network in NETWORKS:
        assert network.onnx
        assert set(network.hef) in (set(CHIPS), set())
        for chip, file in network.hef.items():
            assert (file.name, file.chip) == (f"{network.name}.hef", chip)
    for chip in CHIPS:
        listed = {need.files[0].name for need in whole_catalogue(chip)}
        assert listed == {file.name for file in everything()}


# ----------------------------------------------------------------------- needs


def names(settings: Settings, engine: EngineName, **more: Any) -> list[str]:
    return [file.name for _, file in needed_files(settings, engine, **more)]


def test_what_the_cpu_needs() -> None:
    tiny = "tinyclip_vit_39m_16_text_19m_yfcc15m"
    assert needed_files(Settings(), "cpu") == [
        ("clip tinyclip", files.TINYCLIP_IMAGE_ONNX),
        ("clip tinyclip", files.TINYCLIP_TEXT_ONNX),
        ("clip tinyclip", files.CLIP_VOCABULARY),
        ("faces", files.SCRFD_2_5G_ONNX),
        ("faces", files.ARCFACE_R50_ONNX),
        ("ocr", files.OCR_DETECTION_FREE),
        ("ocr", files.OCR_RECOGNITION_FREE),
        ("ocr", files.OCR_DICTIONARY),
    ]
    assert names(Settings(), "hailo")[:4] == [
        f"{tiny}_image_encoder.hef",
        f"{tiny}_text_encoder.hef",
        "bpe_simple_vocab_16e6.txt.gz",
        "tinyclip_text_weights.npz",
    ]


@pytest.mark.parametrize("chip", CHIPS)
def test_what_a_card_needs(chip: Chip) -> None:
    wanted = needed_files(Settings(clip_backend="siglip2"), "hailo", chip)
    assert {file.chip for _, file in wanted if file.name.endswith(".hef")} == {chip}
    assert files.SIGLIP2_TEXT_WEIGHTS in [file for _, file in wanted]
    assert files.SIGLIP2_TOKENIZER_CONFIG in [file for _, file in wanted]
    assert not any(file.name.endswith(".onnx") for _, file in wanted)


def test_what_a_card_needs_with_queries_on_the_processor() -> None:
    wanted = needed_files(Settings(clip_text_engine="cpu"), "hailo")
    assert files.TINYCLIP_IMAGE_HEF["hailo8"] in [file for _, file in wanted]
    assert files.TINYCLIP_TEXT_ONNX in [file for _, file in wanted]
    assert files.TINYCLIP_TEXT_HEF["hailo8"] not in [file for _, file in wanted]
    assert files.TINYCLIP_TEXT_WEIGHTS not in [file for _, file in wanted], "of use to a card only"


def test_a_later_alternative_that_is_there_will_do() -> None:
    fixed = files.OCR_DETECTION_FIXED
    assert fixed.name in names(Settings(), "cpu", present=lambda file: file == fixed)
    both = (files.OCR_DETECTION_FREE, fixed)
    assert fixed.name not in names(Settings(), "cpu", present=lambda file: file in both)


def test_the_stand_in_is_for_who_chose_nothing() -> None:
    stand_in = files.STAND_IN_EMBEDDER
    assert stand_in.name in names(Settings(), "cpu", present=lambda file: file == stand_in)
    assert stand_in.name not in names(Settings(), "cpu")
    chosen = Settings(face_recognizer="arcface_r50")
    assert stand_in.name not in names(chosen, "cpu", present=lambda file: file == stand_in)
    assert stand_in.name not in names(Settings(), "hailo", present=lambda file: file == stand_in)


def test_the_chosen_networks_are_the_ones_needed() -> None:
    settings = Settings(face_detector="scrfd_10g", face_recognizer="arcface_mobilefacenet", clip_backend="auto")
    got = names(settings, "cpu")
    assert {"scrfd_10g.onnx", "arcface_mobilefacenet.onnx", "spiece.model", "siglip2_tokenizer.json"} <= set(got)
    assert {need.label for need in needs(settings, "cpu")} == {f"clip {b}" for b in CLIP_BACKENDS} | {"faces", "ocr"}


# ----------------------------------------------------------------------- table


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty MODELS_DIR with no spare folder, and no network."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setattr(command, "PROJECT", tmp_path / "project")
    monkeypatch.setenv("MODELS_DIR", str(folder))
    monkeypatch.setattr("ml_target.store.sources._pip_download", lambda requirement, room: "No matching distribution")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "MODELS_MIRROR", "ENGINE", "CLIP_BACKEND"):
        monkeypatch.delenv(name, raising=False)

    def nobody(*args: object, **more: object) -> object:
        import socket

        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", nobody)
    return folder


def state(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"{name} "))


def test_the_table_tells_verified_present_damaged_and_missing(models: Path) -> None:
    (models / "scrfd_2.5g.hef").write_bytes(container(2))
    (models / "scrfd_10g.hef").write_bytes(container(2, message(103)))
    (models / "ppocrv5_dict.txt").write_bytes(b"not it")
    (models / "tokenizer.json").write_bytes(b"{}")
    text = table(take_stock(Store(models)))
    digest = hashlib.sha256(container(2)).hexdigest()[:12]
    assert state(text, "scrfd_2.5g.hef").split()[1:7] == ["faces", "hailo8", "verified", "1.3", "kB", digest]
    assert "damaged" in state(text, "scrfd_10g.hef")
    assert "a Hailo-8 cannot run it" in text
    assert "damaged" in state(text, "ppocrv5_dict.txt")
    assert "is not the published ppocrv5_dict.txt" in text
    assert " present " in state(text, "tokenizer.json"), "under the name it has there"
    assert " missing " in state(text, "arcface_r50.onnx")
    assert "missing (optional)" in state(text, "face_embedder_112_512.onnx")
    assert "non-commercial research" in state(text, "arcface_r50.onnx")
    assert text.index("ppocrv5_mobile_det.onnx") < text.index("paddle_ocr_v5_mobile_detection.onnx"), "best first"


def test_the_table_for_the_other_chip(models: Path) -> None:
    (models / "scrfd_2.5g.hef").write_bytes(container(2))
    text = table(take_stock(Store(models), "hailo8l"))
    assert "damaged" in state(text, "scrfd_2.5g.hef")
    assert "compiled for Hailo-8, a Hailo-8L cannot run it" in text


def test_the_note_of_a_file_is_said(models: Path, face_models: Path) -> None:
    shutil.copy(face_models / "face_embedder_112_512.onnx", models)
    text = table(take_stock(Store(models)))
    assert "verified" in state(text, "face_embedder_112_512.onnx")
    assert "note on face_embedder_112_512.onnx: stand-in embedder for tests" in text


def test_inspect_models(models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (models / "ppocrv5_dict.txt").write_bytes(b"not it")
    assert main(["models", "--chip", "hailo8l", "--fresh"]) == 0
    assert " damaged " in state(capsys.readouterr().out, "ppocrv5_dict.txt")
    (models / "checksums.json").write_text("{")
    assert main(["models"]) == 0
    assert "checksums.json cannot be read" in capsys.readouterr().out
    monkeypatch.setenv("CLIP_BACKEND", "none")
    assert main(["models"]) == 1
    assert "CLIP_BACKEND=none: it takes one of" in capsys.readouterr().err


# --------------------------------------------------------------------- command


def run(*words: str, **settings: Any) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    folder = Settings.from_environment()
    return command.run(parser.parse_args(list(words)), Settings(**{"models_dir": folder.models_dir, **settings}))


def test_list_is_the_default_and_never_fails(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models / "ppocrv5_dict.txt").write_bytes(b"not it")
    for words in ((), ("list",), ("list", "--chip", "hailo8l")):
        assert run(*words) == 0
        assert " damaged " in state(capsys.readouterr().out, "ppocrv5_dict.txt")


def test_verify_reads_again_and_fails_on_damage(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = models / "scrfd_2.5g.hef"
    path.write_bytes(container(2))
    assert run("verify") == 0
    stat = path.stat()
    flipped = bytearray(container(2))
    flipped[-1] ^= 1
    path.write_bytes(flipped)
    import os

    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run("list") == 0
    assert " verified " in state(capsys.readouterr().out, "scrfd_2.5g.hef"), "size and time are the same"
    assert run("verify") == 1
    assert "scrfd_2.5g.hef is damaged: its XXH3" in capsys.readouterr().out


def test_pin_records_what_no_checksum_is_published_for(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a build of the image does; a HEF is recorded for the chips that can run it."""
    (models / "scrfd_2.5g.hef").write_bytes(container(2, message(3)))
    (models / "arcface_r50.hef").write_bytes(container(2))
    (models / "tokenizer.json").write_bytes(b"{}")
    assert run("pin") == 0
    on_record = json.loads((models / "checksums.json").read_text())
    assert set(on_record) == {
        "scrfd_2.5g.hef (hailo8)",
        "scrfd_2.5g.hef (hailo8l)",
        "arcface_r50.hef (hailo8)",
        "tokenizer.json",
    }
    assert on_record["tokenizer.json"]["sha256"] == hashlib.sha256(b"{}").hexdigest()
    (models / "tokenizer.json").write_bytes(b'{"a": 1}')
    (models / "scrfd_10g.hef").write_bytes(b"")
    (models / "ppocrv5_dict.txt").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert run("pin") == 1
    err = capsys.readouterr().err
    assert err.count("scrfd_10g.hef") == 1, "said once, though both chips have such a file"
    assert "tokenizer.json is not the file that was first used" in err
    assert "a Git LFS pointer instead of the file itself. Fetch the content with git lfs pull, or download it\n" in err
    assert "models fetch" not in err, "that would be a command inside the build; scripts/bake_models.py says what to do"
    assert json.loads((models / "checksums.json").read_text()) == on_record


def mirror_with(folder: Path, face_models: Path, wheel_models: Path) -> Path:
    folder.mkdir()
    for source in (*wheel_models.iterdir(), *face_models.glob("*.onnx")):
        if source.is_file():
            shutil.copyfile(source, folder / source.name)
    return folder


def test_fetch_goes_on_past_failures_and_sums_up(
    models: Path, tmp_path: Path, face_models: Path, wheel_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror = mirror_with(tmp_path / "mirror", face_models, wheel_models)
    assert run("fetch", models_mirror=str(mirror), engine="cpu") == 1
    out, err = capsys.readouterr()
    assert "files for ENGINE=cpu, CLIP_BACKEND=tinyclip" in err
    assert "image_encoder.onnx could not be fetched:" in err
    assert "cannot be found: no internet connection" in err
    assert {"faces: complete", "ocr: complete", "clip tinyclip: incomplete"} <= set(out.splitlines())
    assert "face_embedder_112_512.onnx (faces): stand-in embedder for tests" in out
    assert f"there (6 of 8), in {models}" in out
    assert (models / "scrfd_2.5g.onnx").is_file()
    assert run("fetch", "--best-effort", models_mirror=str(mirror), engine="cpu") == 0


def test_fetch_by_name_and_its_exit_codes(
    models: Path, small_face_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror = str(small_face_models)
    assert run("fetch", "scrfd_2.5g_bnkps.onnx", models_mirror=mirror) == 0
    assert (models / "scrfd_2.5g.onnx").is_file()
    assert run("fetch", "arcface_r50.onnx", models_mirror=mirror) == 1
    assert run("fetch", "nonsense.onnx") == 2
    assert "nonsense.onnx: not in the catalogue, which has tinyclip_vit" in capsys.readouterr().err


def test_fetch_does_not_hide_damage(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models / "ppocrv5_dict.txt").write_bytes(b"not it")
    assert run("fetch", "ppocrv5_dict.txt") == 1
    assert "is not the published ppocrv5_dict.txt" in capsys.readouterr().err


def test_fetch_takes_what_is_there_for_an_alternative(
    models: Path, face_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copyfile(face_models / "face_embedder_112_512.onnx", models / "face_embedder_112_512.onnx")
    shutil.copyfile(face_models / "scrfd_2.5g_bnkps.onnx", models / "scrfd_2.5g.onnx")
    run("fetch", "--engine", "cpu")
    assert "faces: complete" in capsys.readouterr().out.splitlines()


def test_fetch_for_a_card(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for network in ("scrfd_2.5g", "arcface_r50"):
        (mirror / f"{network}.hef").write_bytes(container(2, message(3)))
    assert run("fetch", "--engine", "hailo", "--chip", "hailo8l", models_mirror=str(mirror)) == 1
    out, err = capsys.readouterr()
    assert "files for ENGINE=hailo" in err
    assert "faces: complete" in out.splitlines()


def test_missing_lists_what_fetch_would_bring(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models / "scrfd_2.5g.hef").write_bytes(container(2))
    (models / "ppocrv5_dict.txt").write_bytes(b"not it")
    words = ("--engine", "hailo", "--clip-backend", "tinyclip", "--clip-backend", "siglip")
    assert run("missing", *words) == 0
    out, err = capsys.readouterr()
    assert "files for ENGINE=hailo, CLIP_BACKEND=tinyclip, siglip" in err
    lines = out.splitlines()
    assert "arcface_r50.hef (faces), 31.2 MB" in lines
    assert "tinyclip_text_weights.npz (clip tinyclip)" in lines
    assert "spiece.model (clip siglip)" in lines
    assert lines.count("paddle_ocr_v5_mobile_detection.hef (ocr)") == 1, "wanted by both, listed once"
    assert not any(line.startswith("scrfd_2.5g.hef") for line in lines)
    (damaged,) = (line for line in lines if line.startswith("ppocrv5_dict.txt (ocr), 0.1 MB: "))
    assert "is not the published ppocrv5_dict.txt" in damaged
    assert damaged.endswith(". It is replaced, and kept aside")
    assert lines[-1] == "12 to fetch: 271.6 MB, and those without a published size"
    for files_wanted, total in (
        ((files.SIGLIP_VOCABULARY,), "1 to fetch: no size is published"),
        ((files.OCR_DICTIONARY, files.CLIP_VOCABULARY), "2 to fetch: 1.4 MB"),
    ):
        command._missing([Need("x", "any", (file,)) for file in files_wanted], Store(models / "empty"))
        assert capsys.readouterr().out.splitlines()[-1] == total


def test_missing_is_silent_when_all_is_there(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "needs", lambda *_: [Need("faces", "hailo8", (files.SCRFD_2_5G_HEF["hailo8"],))])
    (models / "scrfd_2.5g.hef").write_bytes(container(2))
    assert run("missing", "--engine", "hailo") == 0
    assert capsys.readouterr().out == ""


def test_what_an_image_for_a_card_holds_besides(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("missing", "--engine", "hailo", "--baked", clip_backend="siglip2,vit_b_32") == 0
    out, err = capsys.readouterr()
    assert "CLIP_BACKEND=siglip2, vit_b_32, siglip, in" in err
    assert {"clip siglip", "clip siglip2", "clip vit_b_32"} <= set(re.findall(r"\((clip \w+)\)", out))
    assert "tinyclip" not in out


def test_fetch_for_several_backends(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fetch", "--engine", "hailo", "--clip-backend", "tinyclip", "--clip-backend", "siglip2") == 1
    lines = capsys.readouterr().out.splitlines()
    assert {"clip tinyclip: incomplete", "clip siglip2: incomplete", "ocr: incomplete"} <= set(lines)


def test_fetch_everything(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fetch", "--all") == 1
    out, err = capsys.readouterr()
    assert f"there (0 of {len(whole_catalogue())})" in out
    assert "face_embedder_112_512.onnx could not be fetched: nobody publishes it" in err


def test_settings_describe_the_store(tmp_path: Path) -> None:
    settings = Settings(models_dir=tmp_path, models_mirror="http://127.0.0.1:9/x", hf_endpoint="http://127.0.0.1:9")
    store = command.open_store(settings)
    assert store.folder == tmp_path
    assert cast(Any, store)._spare == PROJECT / "models"
