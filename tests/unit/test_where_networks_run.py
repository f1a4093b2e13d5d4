"""Which engine runs a network: the worker's, or the processor beside a card where the owner chose so."""

import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from needed import needed_files

from ml_target.catalogue.needs import EngineName, chosen, engine_of, needs, whole_catalogue
from ml_target.catalogue.networks import BUFFALO_DETECTOR, BUFFALO_RECOGNIZER, NETWORKS, SCRFD_10G
from ml_target.config import Settings
from ml_target.engines import select

BUFFALO: dict[str, Any] = {"face_detector": "buffalo_l", "face_recognizer": "buffalo_l"}


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = SimpleNamespace(name="hailo")
    monkeypatch.setattr(select, "card", lambda settings: made)
    monkeypatch.setattr(select, "available_cores", lambda: 16)
    return made


def wanted(engine: EngineName, **settings: Any) -> dict[str, str]:
    """File -> engine, of the faces."""
    return {need.files[0].name: need.engine for need in needs(Settings(**settings), engine) if need.label == "faces"}


def test_a_network_runs_on_the_card_unless_the_owner_chose_otherwise_or_it_has_no_file_for_one() -> None:
    same, text_on_cpu = Settings(), Settings(clip_text_engine="cpu")
    for network in NETWORKS:
        assert engine_of(network, same, "cpu") == "cpu"
        assert engine_of(network, same, "hailo") == ("hailo" if network.hef else "cpu")
        assert engine_of(network, text_on_cpu, "hailo") == ("cpu" if network.takes_text or not network.hef else "hailo")
    assert {n.name for n in NETWORKS if not n.hef} == {
        "buffalo_l_detection",
        "buffalo_l_recognition",
        "face_embedder_112_512",
        "ppocrv6_small_detection",
        "ppocrv6_small_recognition",
    }


def test_the_files_of_immich_s_face_networks_are_for_the_processor_on_any_host() -> None:
    assert wanted("hailo", face_recognizer="buffalo_l", face_detector="scrfd_10g") == {
        "scrfd_10g.hef": "hailo8",
        "buffalo_l_recognition.onnx": "cpu",
    }
    both = {"buffalo_l_detection.onnx": "cpu", "buffalo_l_recognition.onnx": "cpu"}
    assert wanted("hailo", **BUFFALO) == wanted("cpu", **BUFFALO) == both
    names = [file.name for _, file in needed_files(Settings(**BUFFALO), "hailo")]
    assert both.keys() <= set(names), "so they are fetched"
    assert both.keys() <= {need.files[0].name for need in whole_catalogue()}


def test_nobody_gets_them_who_did_not_choose_them() -> None:
    assert wanted("hailo") == {"scrfd_2.5g.hef": "hailo8", "arcface_r50.hef": "hailo8"}
    assert not {"buffalo_l_detection", "buffalo_l_recognition"} & {network.name for network in chosen(Settings())}


def test_both_are_asked_for_by_the_name_that_immich_has_for_them() -> None:
    settings = Settings.from_environment({"FACE_DETECTOR": "buffalo_l", "FACE_RECOGNIZER": "buffalo_l"})
    faces = [network for network in chosen(settings) if network.task == "facial-recognition"]
    assert faces == [BUFFALO_DETECTOR, BUFFALO_RECOGNIZER]
    assert BUFFALO_DETECTOR.input == SCRFD_10G.input
    assert BUFFALO_DETECTOR.forms == SCRFD_10G.forms
    for network in faces:
        (file,) = network.onnx
        assert file.size
        assert len(file.sha256 or "") == 64


def test_the_processor_beside_a_card_is_there_where_a_network_runs_on_it_and_is_bounded_by_the_settings(
    card: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert select.choose_engines(Settings(engine="hailo")) == (card, card)
    assert not caplog.records
    on_card = Settings(engine="hailo", face_recognizer="buffalo_l")
    for settings, lanes in ((replace(on_card, cpu_workers=3, cpu_threads=1), 3), (on_card, 4)):
        engine, beside = select.choose_engines(settings)
        assert engine is card
        assert (beside.name, beside.capabilities.lanes) == ("cpu", lanes)
    alone, _ = select.choose_engines(Settings(engine="cpu"))
    assert alone.capabilities.lanes == 2 * lanes, "a card leaves it less to run, and more to prepare"
    assert [record.getMessage() for record in caplog.records] == [
        "faces: recognition runs on the processor, because FACE_RECOGNIZER=buffalo_l is set: nobody publishes a "
        "file of it for a card. CPU_THREADS and CPU_WORKERS bound what it takes of the processor"
    ] * 2


def test_each_reason_is_told_once(card: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    settings = Settings(engine="hailo", clip_backend="tinyclip,siglip", clip_text_engine="cpu", **BUFFALO)
    assert select.choose_engines(settings)[1].name == "cpu"
    lines = [record.getMessage().split(",")[0] for record in caplog.records]
    assert lines == [
        "search queries run on the processor (CLIP_TEXT_ENGINE=cpu)",
        "faces: detection runs on the processor",
        "faces: recognition runs on the processor",
    ]
