"""Settings: every one is checked, and a bad value names the valid ones."""

import logging
import re
from dataclasses import fields
from pathlib import Path

import pytest
from project import PROJECT

from ml_target.config import (
    RENAMED,
    RENAMED_VALUES,
    Settings,
    as_today,
    choose_engine,
    own_url,
    setting_names,
)
from ml_target.diagnostics.change import told
from ml_target.diagnostics.hints import hints
from ml_target.diagnostics.settings import Environment
from ml_target.engines.select import thread_plan
from ml_target.errors import SettingsError
from ml_target.setup.settings import words_in
from ml_target.system.cgroups import available_cores


def test_defaults() -> None:
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert (settings.engine, settings.clip_backend, settings.port) == ("auto", "tinyclip", 3003)
    assert (settings.face_detector, settings.siglip_resize) == ("scrfd_2.5g", "squash")


def test_values_are_read(tmp_path: Path) -> None:
    environment = {
        "ENGINE": "CPU",
        "CLIP_BACKEND": "siglip",
        "FACE_RECOGNIZER": "arcface_mobilefacenet",
        "MODELS_DIR": str(tmp_path),
        "IMMICH_PORT": " 3004 ",
        "REQUEST_TIMEOUT_S": "60.5",
        "SOMETHING_ELSE": "ignored",
        "MACHINE_LEARNING_MODEL_TTL": "300",
        "PAGE_HOSTS": "ML.example.org, nas",
    }
    settings = Settings.from_environment(environment)
    assert settings.page_hosts == ("ml.example.org", "nas")
    assert (settings.engine, settings.clip_backend, settings.face_recognizer) == (
        "cpu",
        "siglip",
        "arcface_mobilefacenet",
    )
    assert (settings.models_dir, settings.port, settings.request_timeout_s) == (tmp_path, 3004, 60.5)


RELEASED = {
    "0.1.0": """ENGINE CLIP_BACKEND CLIP_TEXT_ENGINE HAILO_BATCH HAILO_DEVICE_COUNT HAILO_DEVICE_IDS HAILO_GROUP_ID
    SIGLIP_RESIZE CLIP_DECODING FACE_DETECTOR FACE_RECOGNIZER FACE_SEARCH OCR_MODEL HAILORT_DIR HAILORT_SOURCE
    MODELS_DIR MODELS_FETCH MODELS_MIRROR HF_ENDPOINT IMMICH_HOST IMMICH_PORT IMMICH_LOG_LEVEL LOG_LEVEL LOG_FORMAT
    KEEP_ALIVE_S REQUEST_TIMEOUT_S MAX_UPLOAD_MB MAX_PIXELS MEMORY_MB TRY_IT PAGE_HOSTS MAX_WAITING MAX_FACES
    MAX_TEXT_LINES MAX_TEXT_TILES HOST_THREADS CPU_THREADS CPU_WORKERS MODEL_TTL MACHINE_LEARNING_MODEL_TTL""",
}
"""The settings of each release, as somebody's compose file may have them."""

RELEASED_VALUES = {
    "0.1.0": """ENGINE=auto,hailo,cpu CLIP_BACKEND=tinyclip,vit_b_32,vit_b_16,siglip,siglip2,auto
    CLIP_TEXT_ENGINE=same,cpu SIGLIP_RESIZE=squash,shortest CLIP_DECODING=exact,scaled
    FACE_DETECTOR=scrfd_2.5g,scrfd_10g,buffalo_l FACE_RECOGNIZER=arcface_r50,arcface_mobilefacenet,buffalo_l,w600k_r50
    FACE_SEARCH=official,close,tiny,both OCR_MODEL=ppocrv5_mobile,ppocrv6_small,auto MODELS_FETCH=on,off
    LOG_FORMAT=text,json TRY_IT=on,off""",
}
"""And the words that they took."""


@pytest.mark.parametrize("release", RELEASED)
def test_what_a_release_had_is_understood_or_refused_with_its_new_name(release: str) -> None:
    """A setting may be renamed, but never be dropped without a word (docs/releasing.md)."""
    today = {name for item in fields(Settings) for name in setting_names(item.name)}
    lost = set(RELEASED[release].split()) - today - set(RENAMED)
    assert not lost, "add them to RENAMED in ml_target/config.py"
    assert set(RENAMED.values()) <= today
    assert not set(RENAMED) & today


def test_the_changelog_tells_of_each_release_what_must_run_again_and_which_settings_were_renamed() -> None:
    _, *releases = re.split(r"^## ", (PROJECT / "docs/changelog.md").read_text("utf-8"), flags=re.MULTILINE)
    assert [release.split()[0] for release in releases] == [*RELEASED][::-1], "list its settings in RELEASED"
    for release in releases:
        parts = dict(part.split("\n", 1) for part in re.split(r"^### ", release, flags=re.MULTILINE)[1:])
        assert {"Run again", "Settings"} <= parts.keys(), release.split("\n")[0]
    told_of = " ".join(releases)
    renamed = [*RENAMED.items(), *((old, new) for (_, old), new in RENAMED_VALUES.items())]
    assert all(f"`{old}`" in told_of and f"`{new}`" in told_of for old, new in renamed)


def test_a_renamed_setting_is_refused_with_the_new_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the worker's start and the doctor; in an image that setup.sh asks, by a hint, and change compares it."""
    monkeypatch.setitem(RENAMED, "CLIP_MODEL", "CLIP_BACKEND")
    given = {"CLIP_MODEL": "siglip", "IMMICH_PORT": "3004"}
    with pytest.raises(
        SettingsError, match=r"^CLIP_MODEL: it is now called CLIP_BACKEND\. Correct it, or leave it out"
    ):
        Settings.from_environment(given)
    assert Settings.from_environment({"CLIP_MODEL": " "}) == Settings()
    read = Environment.read(given)
    assert [problem.reason for problem in read.problems] == ["CLIP_MODEL: it is now called CLIP_BACKEND"]
    assert (read.settings.port, read.settings.clip_backend) == (3004, "tinyclip")
    assert list(hints(["CLIP_MODEL"])) == ["CLIP_MODEL has no effect: it is now called CLIP_BACKEND."]
    assert told({"CLIP_MODEL": "siglip"}, {"CLIP_BACKEND": "tinyclip"})[0].startswith(
        "Until now it had CLIP_BACKEND=siglip"
    )


@pytest.mark.parametrize("release", RELEASED_VALUES)
def test_a_word_that_a_release_took_is_taken_or_refused_with_today_s(release: str) -> None:
    assert [*RELEASED_VALUES] == [*RELEASED]
    for name, words in (line.split("=") for line in RELEASED_VALUES[release].split()):
        for word in words.split(","):
            today = as_today({name: word})
            Settings.from_environment(today)  # add it to RENAMED_VALUES in ml_target/config.py


def test_a_renamed_value_is_refused_with_today_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """What set-up keeps of an older release's container is translated, as nobody has typed it."""
    monkeypatch.setitem(RENAMED, "CLIP_MODEL", "CLIP_BACKEND")
    monkeypatch.setitem(RENAMED_VALUES, ("CLIP_BACKEND", "tiny"), "tinyclip")
    with pytest.raises(SettingsError, match=r"^CLIP_BACKEND=siglip, Tiny: tiny is now called tinyclip\. Correct it"):
        Settings.from_environment({"CLIP_BACKEND": "siglip, Tiny"})
    assert Settings.from_environment({"CLIP_BACKEND": "siglip,tinyclip"}).clip_backend == "siglip,tinyclip"
    kept = words_in("CLIP_MODEL=siglip,tiny IMMICH_PORT=3004 OCR_MODEL=tiny")
    assert kept == {"CLIP_BACKEND": "siglip,tinyclip", "IMMICH_PORT": "3004", "OCR_MODEL": "tiny"}
    assert told({"CLIP_BACKEND": "tiny"}, {"CLIP_BACKEND": "tinyclip"}) == []


def test_an_empty_variable_means_the_default() -> None:
    assert Settings.from_environment({"ENGINE": "", "IMMICH_PORT": "  "}) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ENGINE", "gpu", "one of auto, hailo, cpu"),
        ("CLIP_BACKEND", "ViT-B-32", "one of tinyclip, vit_b_32, vit_b_16, siglip, siglip2 or auto"),
        ("SIGLIP_RESIZE", "crop", "one of squash, shortest"),
        ("CLIP_DECODING", "half", "one of exact, scaled"),
        ("FACE_DETECTOR", "retinaface", "one of scrfd_2.5g, scrfd_10g, buffalo_l"),
        ("FACE_RECOGNIZER", "buffalo_s", "arcface_r50, arcface_mobilefacenet, buffalo_l"),
        ("IMMICH_PORT", "http", "a whole number from 1 to 65535"),
        ("IMMICH_PORT", "70000", "a whole number from 1 to 65535"),
        ("REQUEST_TIMEOUT_S", "0", "a number from 1 to 290 seconds"),
        ("REQUEST_TIMEOUT_S", "nan", "a number from 1 to 290 seconds"),
        ("MAX_UPLOAD_MB", "1.5", "a whole number from 1 to 2048 MiB"),
        ("MAX_PIXELS", "-1", "a whole number from 1000 to 1000000000"),
        ("MAX_WAITING", "0", "a whole number from"),
        ("KEEP_ALIVE_S", "1", "from 5 to 3600"),
        ("MAX_FACES", "x", "a whole number"),
        ("MAX_TEXT_LINES", "x", "a whole number"),
        ("HOST_THREADS", "-1", "a whole number"),
        ("CPU_THREADS", "999", "a whole number"),
        ("CPU_WORKERS", "999", "a whole number"),
        ("MODEL_TTL", "soon", "a number from 0 to 31536000 seconds, or off"),
        ("MACHINE_LEARNING_MODEL_TTL", "nan", "a number from 0 to"),
        ("MODELS_DIR", "~no-such-user/models", "~ has no meaning for this user"),
        ("CLIP_TEXT_ENGINE", "gpu", "one of same, cpu"),
        ("HAILO_BATCH", "64", "a whole number from 1 to 63"),
        ("HAILO_DEVICE_COUNT", "0", "a whole number from 1 to 16"),
        ("PAGE_HOSTS", "http://ml.example.org", "host names without http:// and port, as in ml.example.org"),
        ("PAGE_HOSTS", "ml.example.org,other.example:3003", "host names without http:// and port"),
        ("PAGE_HOSTS", "*.example.org", "host names without"),
    ],
)
def test_a_bad_value_stops_and_names_the_valid_ones(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({name: value})
    assert f"{name}={value}: it takes " in str(caught.value)
    assert words in str(caught.value)
    assert "leave it out for the default" in str(caught.value)


def test_what_cannot_be_printed_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"MODELS_DIR='/tmp/\\udcff': it takes printable characters"):
        Settings.from_environment({"MODELS_DIR": "/tmp/\udcff"})


def test_all_bad_values_are_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"ENGINE=x.*IMMICH_PORT=y"):
        Settings.from_environment({"ENGINE": "x", "IMMICH_PORT": "y"})


@pytest.mark.parametrize("name", ["IMMICH_LOG_LEVEL", "LOG_LEVEL"])
def test_log_levels(name: str) -> None:
    assert Settings.from_environment({name: "Verbose"}).log_level == logging.DEBUG
    assert Settings.from_environment({name: "WARN"}).log_level == logging.WARNING


def test_an_unknown_log_level_alone_falls_back_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert Settings.from_environment({"IMMICH_LOG_LEVEL": "loud"}).log_level == logging.INFO
    assert "the log level loud is unknown" in caplog.text


@pytest.mark.parametrize(("value", "seconds"), [("300", 300), ("0", 0), ("off", 0), ("-1", 0), ("1.5", 1.5)])
def test_idle_time_by_either_name(value: str, seconds: float) -> None:
    for name in ("MODEL_TTL", "MACHINE_LEARNING_MODEL_TTL"):
        assert Settings.from_environment({name: value}).model_ttl == seconds
    assert Settings().model_ttl == 0


def test_every_setting_says_what_it_is_for() -> None:
    for item in fields(Settings):
        assert item.metadata["help"], item.name
        assert setting_names(item.name)


@pytest.mark.parametrize(
    ("cores", "plan"), [(1, (2, 1, 1)), (2, (2, 2, 2)), (4, (4, 4, 2)), (8, (8, 4, 4)), (16, (8, 4, 8))]
)
def test_thread_plan(cores: int, plan: tuple[int, int, int]) -> None:
    assert thread_plan(Settings(), cores) == plan


def test_thread_settings_win() -> None:
    assert thread_plan(Settings(host_threads=3, cpu_threads=2, cpu_workers=5), 16) == (3, 2, 5)


def test_cores_are_those_this_process_may_use() -> None:
    assert 1 <= available_cores() <= 4096


def test_auto_takes_a_card_that_is_there_and_never_in_silence_the_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = tmp_path / "hailo1"  # not hailo0: another container may have that one
    monkeypatch.setattr("ml_target.config.nodes", lambda root: [*tmp_path.glob("hailo*")])
    assert choose_engine("auto") == "cpu"
    node.touch()
    assert choose_engine("auto") == "hailo"
    assert choose_engine("cpu") == "cpu"
    node.unlink()
    assert choose_engine("hailo") == "hailo"


def test_lists_are_read() -> None:
    settings = Settings.from_environment({"HAILO_DEVICE_IDS": "0000:01:00.0, 0000:02:00.0"})
    assert settings.hailo_device_ids == ("0000:01:00.0", "0000:02:00.0")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("[::]", "http://127.0.0.1:3003"),
        ("0.0.0.0", "http://127.0.0.1:3003"),
        ("192.168.7.5", "http://192.168.7.5:3003"),
        ("[::1]", "http://[::1]:3003"),
    ],
)
def test_where_a_worker_is_found_on_its_own_machine(host: str, url: str) -> None:
    assert own_url(Settings(host=host)) == url
