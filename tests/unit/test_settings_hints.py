"""Variables that look like settings and are none: a hint for these, and not a word about anybody else's."""

import pytest

from ml_target.config import Settings, setting_names
from ml_target.diagnostics.hints import INSTEAD, OFFICIAL, OURS, environment_hints, hints
from ml_target.diagnostics.settings import main

OTHERS = """
PATH HOME HOSTNAME USER LOGNAME SHELL SHLVL PWD OLDPWD TERM LANG LANGUAGE LC_ALL LC_CTYPE TZ TMPDIR DEBIAN_FRONTEND
PYTHONPATH PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE PYTHON_VERSION PYTHON_SHA256 PIP_NO_CACHE_DIR PIP_INDEX_URL
VIRTUAL_ENV HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy ALL_PROXY SSL_CERT_FILE REQUESTS_CA_BUNDLE
NO_COLOR HAILORT_LOGGER_PATH HAILORT_CONSOLE_LOGGER_LEVEL HAILORT_LOGGER_FLUSH_EVERY_PRINT HAILORT_SERVICE_ADDRESS
HAILORT_VERSION HAILO_MONITOR HAILO_MONITOR_TIME_INTERVAL HAILO_TRACE HAILO_TRACE_PATH
HAILO_TRACE_TIME_IN_SECONDS_BOUNDED_DUMP HAILO_TRACE_SIZE_IN_KB_BOUNDED_DUMP HAILO_DISABLE_IDLE_OPT
HAILO_DISABLE_MULTIPLEXER_INTERNAL HAILO_SERVICE_SHARED_MEMORY_OFF HAILO_LEGACY_BOUNDARY_CHANNEL_PAGE_SIZE
FORCE_POWER_MODE_ULTRA_PERFORMANCE IMMICH_VERSION IMMICH_ENV IMMICH_MEDIA_LOCATION IMMICH_CONFIG_FILE
IMMICH_TRUSTED_PROXIES IMMICH_WORKERS_INCLUDE IMMICH_WORKERS_EXCLUDE IMMICH_API_METRICS_PORT
IMMICH_MICROSERVICES_METRICS_PORT IMMICH_TELEMETRY_INCLUDE IMMICH_TELEMETRY_EXCLUDE IMMICH_ALLOW_SETUP
IMMICH_HELMET_FILE IMMICH_PROCESS_INVALID_IMAGES IMMICH_BUILD IMMICH_BUILD_URL IMMICH_BUILD_IMAGE IMMICH_SOURCE_REF
IMMICH_SOURCE_COMMIT IMMICH_REPOSITORY IMMICH_IGNORE_MOUNT_CHECK_ERRORS DB_HOSTNAME DB_PORT DB_USERNAME DB_PASSWORD
DB_DATABASE_NAME DB_DATA_LOCATION DB_URL DB_VECTOR_EXTENSION DB_SKIP_MIGRATIONS REDIS_HOSTNAME REDIS_PORT REDIS_URL
REDIS_SOCKET UPLOAD_LOCATION POSTGRES_PASSWORD POSTGRES_USER POSTGRES_DB DEVICE LD_LIBRARY_PATH LD_PRELOAD
OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS HF_HOME HF_TOKEN HF_HUB_OFFLINE HOST HOST_OS PORT UID GID PUID
PGID UMASK KUBERNETES_SERVICE_HOST KUBERNETES_PORT IMMICH_PORT_3003_TCP_ADDR INVOCATION_ID JOURNAL_STREAM
SYSTEMD_EXEC_PID SUDO_USER SUDO_COMMAND SSH_CLIENT XDG_RUNTIME_DIR DOCKER_HOST BASE_IMAGE IMAGE PYTHON SETUP_ROOT
SETUP_READY_S IMMICH_ML_IMAGE WORKER_1 WORKER_2 MAX_PATH ENV MODE LOG_FILE
"""


def hint(name: str) -> str:
    (words,) = hints([name])
    assert words.startswith(f"{name} has no effect: ")
    return words


@pytest.mark.parametrize("name", [*OTHERS.split(), *OURS])
def test_no_word_about_what_is_right_or_not_ours(name: str) -> None:
    assert list(hints([name])) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CLIP_BACKENDS", "CLIP_BACKEND"),
        ("CLIPBACKEND", "CLIP_BACKEND"),
        ("CLIP_BAKCEND", "CLIP_BACKEND"),
        ("MODEL_DIR", "MODELS_DIR"),
        ("HAILO_GROUPID", "HAILO_GROUP_ID"),
        ("HAILO_DEVICE_ID", "HAILO_DEVICE_IDS"),
        ("HAILO_BATCH_SIZE", "HAILO_BATCH"),
        ("FACE_RECOGNISER", "FACE_RECOGNIZER"),
        ("FACE_DETECTION", "FACE_DETECTOR"),
        ("IMMICH_ML_PORT", "IMMICH_PORT"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("REQUEST_TIMEOUT", "REQUEST_TIMEOUT_S"),
        ("KEEPALIVE_S", "KEEP_ALIVE_S"),
        ("MAX_UPLOAD", "MAX_UPLOAD_MB"),
        ("MODEL_MIRROR", "MODELS_MIRROR"),
        ("Clip-Backend", "CLIP_BACKEND"),
    ],
)
def test_a_slip_names_what_was_meant(name: str, meant: str) -> None:
    assert hint(name).endswith(f"there is no such setting. {meant} was meant, perhaps.")


def test_names_are_in_capitals() -> None:
    assert hint("clip_backend").endswith("write it in capitals, CLIP_BACKEND.")


def test_what_nobody_else_begins_with() -> None:
    assert hint("CLIP_MODEL_NAME").endswith("Those that begin like it: CLIP_BACKEND, CLIP_TEXT_ENGINE, CLIP_DECODING.")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CACHE_FOLDER", "MODELS_DIR"),
        ("MODEL_TTL_POLL_S", "MODEL_TTL alone"),
        ("REQUEST_THREADS", "HOST_THREADS"),
        ("MODEL_INTRA_OP_THREADS", "CPU_THREADS"),
        ("MODEL_REVISION", "MODELS_MIRROR"),
        ("WORKER_TIMEOUT", "REQUEST_TIMEOUT_S"),
        ("WORKERS", "CPU_WORKERS"),
        ("PRELOAD__CLIP__TEXTUAL", "CLIP_BACKEND"),
        ("PRELOAD__FACIAL_RECOGNITION__DETECTION", "FACE_DETECTOR"),
        ("MAX_BATCH_SIZE__FACIAL_RECOGNITION", "HAILO_BATCH"),
        ("ANN_FP16_TURBO", "no counterpart"),
        ("ENGINE", "no counterpart"),
    ],
)
def test_settings_of_immichs_own_worker_get_what_does_their_work(name: str, words: str) -> None:
    assert "it is a setting of Immich's own worker, " in hint(OFFICIAL + name)
    assert words in hint(OFFICIAL + name)


def test_what_stands_in_for_the_official_settings_is_a_setting() -> None:
    for words in INSTEAD.values():
        for word in words.replace(",", " ").replace(";", " ").split():
            assert not word.isupper() or word in OURS, word


def test_every_setting_forgives_one_letter() -> None:
    """A letter that is lost, or one too many, is found out for each."""
    for name in (name for name in OURS if not name.startswith(OFFICIAL)):
        for slip in (name[:-1], f"{name}S", name.replace("_", "", 1)):
            if slip not in OURS:
                assert name in hint(slip) or slip.startswith("HAILO_DEVICE"), (name, slip)


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert environment_hints({"CLIP_BACKENDS": "", "MODEL_DIR": " ", "ENGIN": "cpu"}) == [hint("ENGIN")]


# ------------------------------------------------------------------- command


def test_the_command_with_names(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for item in OURS:
        monkeypatch.delenv(item, raising=False)
    monkeypatch.setenv("MODEL_DIR", "/elsewhere")
    assert main(["PATH", "ENGIN"]) == 0
    assert capsys.readouterr().out == f"NOTE: {hint('ENGIN')}\n"
    assert setting_names("engine")[0] in OURS
    assert Settings.from_environment({}) == Settings()
