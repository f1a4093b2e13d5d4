"""The scripts that bring text weights: in a Python that fits, else in the image; against the reference computation."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import file_server
import numpy as np
import pytest
from checkpoint_files import safetensors, tensor, torch_zip
from project import PROJECT
from towers import substitute_pieces

from ml_target.__main__ import main
from ml_target.catalogue.networks import EMBEDDING, SIGLIP, TINYCLIP, TOKEN_STATES
from ml_target.catalogue.types import ClipBackend, TextInput, TokenStates, Vector
from ml_target.config import setting_names
from ml_target.engines import Intake
from ml_target.remedies import DECIDING
from ml_target.setup.asking import PIP
from ml_target.setup.images import PROXIES
from ml_target.store.weights.text import load_text_weights
from ml_target.tasks.clip.text_head import TextHead, TextLayout
from ml_target.tensors import Array, Float32, Tensor

TINY, SIG = "extract_tinyclip_weights.sh", "extract_siglip_weights.sh"
TINY_PATH = "/wkcn/TinyCLIP-ViT-39M-16-Text-19M-YFCC15M/resolve/main/"
SIG_PATH = "/google/siglip-base-patch16-224/resolve/main/"
TOOLS = ("bash", "dirname", "env", "id", "mkdir", "sed", "stat")
WORDS, TOKENS, WIDTH, OUT = 60, 9, 16, 12

DOCKER = """#!/usr/bin/env bash
# Notes what it is to run, and with which variables; `Host.container` then does that.
if [[ $1 == run ]]; then printf '%s\\n' "$@" >>"$ASKED"; env -0 >"$ASKED.variables"; fi
case "$1 $2" in
  "version --format") if [[ -n ${DOCKER_DOWN-} ]]; then echo "Cannot connect to the Docker daemon" >&2; exit 1; fi ;;
  "info --format") echo "${SECURITY-}" ;;
  "image inspect") [[ " ${IMAGES-} " == *" $3 "* ]] ;;
  "inspect --type") [[ -n ${OURS-} ]] && echo "$OURS" ;;
esac
"""


class Host:
    """A machine with this project in a folder, and on its PATH only what is put there."""

    def __init__(self, root: Path) -> None:
        self.checkout = root / "a checkout"
        self.bin = root / "bin"
        self.asked = root / "asked"
        self.models = root / "some models"
        (self.checkout / "scripts").mkdir(parents=True)
        self.bin.mkdir()
        for name in ("models.sh", TINY, SIG):
            shutil.copy(PROJECT / "scripts" / name, self.checkout / "scripts")
        (self.checkout / "ml_target").symlink_to(PROJECT / "ml_target")
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))

    def script(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def python(self, path: Path | None = None) -> None:
        """A Python that has the packages; it notes that it was used."""
        text = f'#!/usr/bin/env bash\nif [[ $1 == -m ]]; then echo "$0" >>"$ASKED"; fi\nexec {sys.executable} "$@"\n'
        self.script(path or self.bin / "python3", text)

    def docker(self) -> None:
        self.script(self.bin / "docker", DOCKER)

    def container(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What docker was asked to run, in this process, with the variables that it hands on."""
        asked = self.used()
        at = asked.index("python3")
        noted = self.asked.with_suffix(".variables").read_text().split("\0")
        variables = dict(line.split("=", 1) for line in noted if line)
        for name in ("ENGINE", *(name for attribute in DECIDING for name in setting_names(attribute))):
            monkeypatch.delenv(name, raising=False)
        for option, value in pairwise(asked[:at]):
            name, given, content = value.partition("=")
            if option == "-e":
                monkeypatch.setenv(name, content if given else variables[name])
            if option == "-v" and value.endswith(":/app/models"):
                monkeypatch.setenv("MODELS_DIR", value.removesuffix(":/app/models"))
        assert asked[at : at + 3] == ["python3", "-m", "ml_target"]
        assert main(asked[at + 3 :]) == 0

    def run(self, name: str, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "ASKED": str(self.asked), "MODELS_DIR": str(self.models), **settings}
        return subprocess.run(
            [str(self.checkout / "scripts" / name), *words],
            env={key: value for key, value in environment.items() if value},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def used(self) -> list[str]:
        return self.asked.read_text().splitlines() if self.asked.exists() else []


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def server() -> Iterator[file_server.FileServer]:
    with file_server.serving() as state:
        yield state


def arrays(names: Mapping[str, tuple[int, ...]], seed: int = 3) -> dict[str, Float32]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in names.items()}


TINY_STATE = {
    "text_model.embeddings.token_embedding.weight": (WORDS, WIDTH),
    "text_model.embeddings.position_embedding.weight": (TOKENS, WIDTH),
    "text_model.final_layer_norm.weight": (WIDTH,),
    "text_model.final_layer_norm.bias": (WIDTH,),
    "text_projection.weight": (OUT, WIDTH),
}
SIG_STATE = {name: shape for name, shape in TINY_STATE.items() if "projection" not in name} | {
    "text_model.head.weight": (OUT, WIDTH),
    "text_model.head.bias": (OUT,),
}


def checkpoint(state: Mapping[str, Array], padding: int = 0) -> bytes:
    """A safetensors file with the state, and so many numbers of other layers around it."""
    other = np.zeros((padding,), np.float32)
    return safetensors({"a": ("F32", other), **{n: ("F32", a) for n, a in state.items()}, "z": ("F32", other)})


def little(backend: ClipBackend) -> ClipBackend:
    """The backend at the small size of these checkpoints."""
    forms = ((Vector(EMBEDDING, OUT),), (TokenStates(TOKEN_STATES, TOKENS, WIDTH),))
    return replace(backend, width=OUT, textual=replace(backend.textual, input=TextInput(TOKENS, WIDTH), forms=forms))


def head_of(backend: ClipBackend, weights: Mapping[str, Array], layout: TextLayout) -> TextHead:
    """What the worker makes of the weights; it refuses those that do not fit."""
    head = TextHead(little(backend), weights, layout)
    head.check(Intake((TOKENS, WIDTH), "float32"), {TOKEN_STATES: (TOKENS, WIDTH)}, WORDS)
    return head


IDS = np.array([WORDS - 2, 5, 7, 7, 11, WORDS - 1, 0, 0, 0])


# ------------------------------------------------------------------- reference


def test_tinyclip_against_the_formulas(host: Host, server: file_server.FileServer) -> None:
    state = arrays(TINY_STATE)
    content = checkpoint(state, padding=3_000_000)
    server.add(f"{TINY_PATH}model.safetensors", content)
    host.python()
    done = host.run(TINY, HF_ENDPOINT=server.url)
    assert done.returncode == 0, done.stderr
    assert "clip tinyclip: complete" in done.stdout
    assert server.total < 600_000 < len(content), "only what is needed is fetched"
    weights = load_text_weights(host.models / "tinyclip_text_weights.npz")
    assert set(weights) == {"tokens", "positions", "norm_weight", "norm_bias", "projection"}
    head = head_of(TINYCLIP, weights, TextLayout(add_positions=True, apply_norm=True))
    tokens, positions, scale, shift, projection = state.values()
    assert np.allclose(head.frame(IDS, Intake((TOKENS, WIDTH), "float32")), tokens[IDS] + positions, atol=2e-3)
    states = arrays({"s": (TOKENS, WIDTH)}, seed=9)["s"]
    row = states[5]  # the first end of text
    normed = (row - row.mean()) / np.sqrt(row.var() + 1e-5) * scale + shift
    assert np.allclose(head.vector({TOKEN_STATES: Tensor(states)}, IDS), projection @ normed, atol=1e-2)


def test_siglip_against_the_formulas(host: Host, server: file_server.FileServer, tmp_path: Path) -> None:
    state = arrays(SIG_STATE)
    pieces = substitute_pieces(tmp_path).read_bytes()
    server.add(f"{SIG_PATH}model.safetensors", checkpoint(state, padding=1_000_000))
    server.add(f"{SIG_PATH}spiece.model", pieces)
    host.python()
    done = host.run(SIG, HF_ENDPOINT=server.url)
    assert done.returncode == 0, done.stderr
    assert (host.models / "spiece.model").read_bytes() == pieces
    weights = load_text_weights(host.models / "siglip_text_weights.npz")
    head = head_of(SIGLIP, weights, TextLayout(apply_norm=True))
    tokens, _, scale, shift, matrix, bias = state.values()
    assert np.allclose(head.frame(IDS, Intake((TOKENS, WIDTH), "float32")), tokens[IDS], atol=2e-3)
    states = arrays({"s": (TOKENS, WIDTH)}, seed=9)["s"]
    row = states[-1]
    normed = (row - row.mean()) / np.sqrt(row.var() + 1e-6) * scale + shift
    assert np.allclose(head.vector({TOKEN_STATES: Tensor(states)}, IDS), matrix @ normed + bias, atol=1e-2)


def test_the_original_checkpoint_of_tinyclip(host: Host, server: file_server.FileServer) -> None:
    """Other names, the projection the other way round, PyTorch's file form."""
    state = arrays(TINY_STATE)
    names = ("token_embedding.weight", "positional_embedding", "ln_final.weight", "ln_final.bias", "text_projection")
    values = [*list(state.values())[:-1], np.ascontiguousarray(state["text_projection.weight"].T)]
    views = {f"module._text_encoder.{name}": tensor(str(n), values[n]) for n, name in enumerate(names)}
    storages = {str(n): each.tobytes() for n, each in enumerate(values)}
    server.add(f"{TINY_PATH}pytorch_model.bin", torch_zip({"state_dict": views}, storages))
    host.python()
    assert host.run(TINY, HF_ENDPOINT=server.url).returncode == 0
    weights = load_text_weights(host.models / "tinyclip_text_weights.npz")
    assert np.allclose(weights["projection"], state["text_projection.weight"].T, atol=2e-3)
    assert np.allclose(weights["tokens"], state["text_model.embeddings.token_embedding.weight"], atol=2e-3)


def test_small_random_models_of_the_reference(host: Host, server: file_server.FileServer, tmp_path: Path) -> None:
    """Checkpoints that transformers wrote; its own embeddings, norms and projections are what ours must give."""
    torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed; `./setup.sh test --full` installs it")
    transformers: Any = pytest.importorskip("transformers")
    library: Any = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    torch.manual_seed(4)
    size = {"vocab_size": WORDS, "hidden_size": WIDTH, "intermediate_size": 32, "num_attention_heads": 2}
    size |= {"num_hidden_layers": 1, "max_position_embeddings": TOKENS, "projection_dim": OUT, "projection_size": OUT}
    clip = transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**size)).eval()
    siglip = transformers.SiglipTextModel(transformers.SiglipTextConfig(**size)).eval()
    for module in (*clip.modules(), *siglip.modules()):
        if isinstance(module, torch.nn.LayerNorm):  # their ones and zeros would hide a mix-up
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    for path, model in ((TINY_PATH, clip), (SIG_PATH, siglip)):
        state = model.state_dict()
        prefix = "" if any(name.startswith("text_model.") for name in state) else "text_model."
        named = {n if n.startswith("text_projection") else prefix + n: v.contiguous() for n, v in state.items()}
        server.add(f"{path}model.safetensors", library.save(named))
    server.add(f"{SIG_PATH}spiece.model", substitute_pieces(tmp_path).read_bytes())
    host.python()
    for script in (TINY, SIG):
        done = host.run(script, HF_ENDPOINT=server.url)
        assert done.returncode == 0, done.stderr
    states = torch.randn(1, TOKENS, WIDTH)
    ours = {TOKEN_STATES: Tensor(states[0].numpy())}
    for backend, model, used in ((TINYCLIP, clip, 5), (SIGLIP, siglip, TOKENS - 1)):
        weights = load_text_weights(host.models / backend.text_weights.name)
        head = head_of(backend, weights, TextLayout(add_positions=True, apply_norm=True))
        inner = getattr(model, "text_model", model)
        with torch.inference_mode():
            placed = inner.embeddings(torch.from_numpy(IDS)[None])[0].numpy()
            project = model.text_projection if backend is TINYCLIP else inner.head
            vector = project(inner.final_layer_norm(states)[0, used]).numpy()
        assert np.allclose(head.frame(IDS, Intake((TOKENS, WIDTH), "float32")), placed, atol=2e-3)
        assert np.allclose(head.vector(ours, IDS), vector, atol=1e-2)


# -------------------------------------------------------------------- transfer


def test_a_cut_download_is_taken_up_again(host: Host, server: file_server.FileServer) -> None:
    state = arrays({**TINY_STATE, "text_model.embeddings.token_embedding.weight": (40_000, WIDTH)})
    content = checkpoint(state)
    served = server.add(f"{TINY_PATH}model.safetensors", content)
    served.cuts = [70_000, 900_000, 500_001]
    host.python()
    done = host.run(TINY, HF_ENDPOINT=server.url)
    assert done.returncode == 0, done.stderr
    weights = load_text_weights(host.models / "tinyclip_text_weights.npz")
    assert np.allclose(weights["tokens"], state["text_model.embeddings.token_embedding.weight"], atol=2e-3)
    assert server.total < len(content) + 200_000, "nothing is sent twice but the first block"


def test_a_second_run_fetches_nothing(host: Host, server: file_server.FileServer) -> None:
    server.add(f"{TINY_PATH}model.safetensors", checkpoint(arrays(TINY_STATE)))
    host.python()
    assert host.run(TINY, HF_ENDPOINT=server.url).returncode == 0
    asked = len(server.asked)
    assert host.run(TINY, HF_ENDPOINT=server.url).returncode == 0
    assert len(server.asked) == asked


def test_no_space(host: Host, server: file_server.FileServer, tmp_path: Path) -> None:
    server.add(f"{TINY_PATH}model.safetensors", checkpoint(arrays(TINY_STATE)))
    host.python()
    full = "import shutil\nshutil.disk_usage = lambda folder: type('Usage', (), {'free': 1_000_000})\n"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "sitecustomize.py").write_text(full)
    done = host.run(TINY, HF_ENDPOINT=server.url, PYTHONPATH=str(tmp_path / "full"))
    assert done.returncode == 1
    assert f"no space left in {host.models}" in done.stderr
    assert "Free some, or point MODELS_DIR at a folder on a larger disk" in done.stderr
    assert not list(host.models.glob("*.npz*"))


def test_a_checkpoint_without_the_tensors_leaves_nothing(host: Host, server: file_server.FileServer) -> None:
    state = arrays(TINY_STATE)
    del state["text_projection.weight"]
    server.add(f"{TINY_PATH}model.safetensors", checkpoint(state))
    host.python()
    done = host.run(TINY, HF_ENDPOINT=server.url)
    assert done.returncode == 1
    assert "the checkpoint has no tensor for projection" in done.stderr
    assert "put tinyclip_text_weights.npz into" in done.stderr
    assert not list(host.models.glob("*.npz*"))


# ----------------------------------------------------------------- where it runs


def test_the_virtual_environment_goes_first(host: Host, server: file_server.FileServer) -> None:
    server.add(f"{TINY_PATH}model.safetensors", checkpoint(arrays(TINY_STATE)))
    host.python(host.checkout / ".venv" / "bin" / "python")
    host.python()
    host.docker()
    assert host.run(TINY, HF_ENDPOINT=server.url).returncode == 0
    assert host.used() == [str(host.checkout / ".venv" / "bin" / "python")]


@pytest.mark.parametrize("python", ["none", "without packages"])
def test_without_a_python_that_fits_it_runs_in_the_image(
    host: Host, server: file_server.FileServer, monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    if python != "none":
        host.script(host.bin / "python3", "#!/bin/sh\necho \"No module named 'numpy'\" >&2\nexit 1\n")
    host.docker()
    server.add(f"{TINY_PATH}model.safetensors", checkpoint(arrays(TINY_STATE)))
    settings = {"HF_ENDPOINT": server.url, "NO_PROXY": "127.0.0.1", "IMAGES": "immich-ml-hailo:v4.23.0"}
    done = host.run(TINY, **settings)
    assert done.returncode == 0, done.stderr
    assert "running inside immich-ml-hailo:v4.23.0" in done.stderr
    assert host.used() == [
        *("run", "--rm", "--network", "host", "--read-only", "-v", "/tmp", "--cap-drop", "all"),
        *("--security-opt", "no-new-privileges", "--pids-limit", "4096"),
        *("--user", f"{os.getuid()}:{os.getgid()}", "-v", f"{host.models}:/app/models"),
        *("-e", "HF_ENDPOINT", "-e", "NO_PROXY", "-e", "IMMICH_ML_MODELS_COMMAND=scripts/models.sh"),
        "immich-ml-hailo:v4.23.0",
        *("python3", "-m", "ml_target", "models", "fetch", "tinyclip_text_weights.npz"),
    ]
    host.container(monkeypatch)
    assert set(load_text_weights(host.models / "tinyclip_text_weights.npz")) >= {"tokens", "projection"}


@pytest.mark.parametrize(
    ("uid", "security", "wanted"), [("0", "rootless", "7:8"), ("1000", "seccomp", "7:8"), ("1000", "rootless", "0:0")]
)
def test_files_belong_to_the_owner_of_the_folder(host: Host, uid: str, security: str, wanted: str) -> None:
    """Whoever runs it: on Unraid that is root, and the folder somebody else's."""
    host.docker()
    for name, text in (("id", f"echo {uid}"), ("stat", "echo 7:8")):
        (host.bin / name).unlink()
        host.script(host.bin / name, f"#!/bin/sh\n{text}\n")
    done = host.run("models.sh", "missing", IMAGES="immich-ml-hailo:cpu", SECURITY=f"[name={security}]")
    assert done.returncode == 0, done.stderr
    asked = host.used()
    assert asked[asked.index("--user") + 1] == wanted


def lists(name: str) -> list[str]:
    """The words of an array of scripts/models.sh."""
    text = (PROJECT / "scripts" / "models.sh").read_text(encoding="utf-8")
    return text.partition(f"\n{name}=(")[2].partition(")")[0].split()


def test_what_decides_counts_in_the_image_too() -> None:
    """Derived from the settings and from set-up, so that nothing new is forgotten."""
    deciding = [setting_names(attribute)[0] for attribute in DECIDING]
    more = [*PROXIES, *PIP]
    assert sorted(lists("handed_on")) == sorted([*deciding, "HF_ENDPOINT", "MODELS_MIRROR", *more])
    assert len(more) > 15


def test_settings_are_handed_on(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host.docker()
    settings = {"IMAGES": "immich-ml-hailo:cpu", "FACE_DETECTOR": "scrfd_10g", "CLIP_BACKEND": "siglip"}
    done = host.run("models.sh", "missing", "--engine", "hailo", **settings, ALL_PROXY="socks5://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    host.container(monkeypatch)
    missing = capsys.readouterr().out
    assert {"scrfd_10g.hef", "siglip_text_weights.npz"} <= {line.split()[0] for line in missing.splitlines()}
    asked = host.used()
    assert [asked[at + 1] for at, word in enumerate(asked) if word == "-e"] == [
        "CLIP_BACKEND", "FACE_DETECTOR", "ALL_PROXY", "IMMICH_ML_MODELS_COMMAND=scripts/models.sh",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("card", "engine", "words", "hailo"),
    [
        (True, "", [], True),
        (True, "Auto", [], True),
        (True, "cpu", [], False),
        (True, "", ["--engine", "cpu"], False),
        (True, "cpu", ["--engine", "auto"], True),
        (True, "cpu", ["--engine=auto"], True),
        (True, "cpu", ["--engine=hailo"], True),
        (False, "", [], False),
        (False, "hailo", [], True),
        (False, "hailo", ["--engine", "auto"], False),
    ],
)
def test_which_engine_is_found_out_on_the_host(
    host: Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    card: bool,
    engine: str,
    words: list[str],
    hailo: bool,
) -> None:
    host.docker()
    root = tmp_path / "root"
    (root / "dev").mkdir(parents=True)
    if card:
        (root / "dev" / "hailo0").touch()
    done = host.run("models.sh", "missing", *words, ENGINE=engine, IMAGES="immich-ml-hailo:cpu", SETUP_ROOT=str(root))
    assert done.returncode == 0, done.stderr
    host.container(monkeypatch)
    told = capsys.readouterr()
    assert f"files for ENGINE={'hailo' if hailo else 'cpu'}, " in told.err
    assert ("scrfd_2.5g.hef" in told.out) == hailo


def test_the_image_is_that_of_the_driver(host: Host, tmp_path: Path) -> None:
    host.docker()
    version = tmp_path / "root/sys/module/hailo_pci/version"
    version.parent.mkdir(parents=True)
    version.write_text("4.22.0-1\n")  # the image has the three numbers alone
    images = "immich-ml-hailo:v4.22.0 immich-ml-hailo:v4.23.0"
    done = host.run("models.sh", "missing", IMAGES=images, SETUP_ROOT=str(tmp_path / "root"))
    assert "running inside immich-ml-hailo:v4.22.0" in done.stderr


@pytest.mark.parametrize(
    ("settings", "image"),
    [
        ({"IMAGES": "immich-ml-hailo:cpu"}, "immich-ml-hailo:cpu"),
        (
            {"IMAGES": "immich-ml-hailo:cpu immich-ml-hailo:v4.22.0", "HAILORT_VERSION": "4.22.0"},
            "immich-ml-hailo:v4.22.0",
        ),
        ({"IMAGE": "my/own:1", "OURS": "other/any:0.1.0"}, "my/own:1"),
        ({"OURS": "other/any:0.1.0"}, "other/any:0.1.0"),
    ],
)
def test_which_image(
    host: Host, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], image: str, tmp_path: Path
) -> None:
    """And the models folder is the project's own where none is named."""
    host.docker()
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    np.savez(mirror / "tinyclip_text_weights.npz", **arrays(dict.fromkeys(
        ("tokens", "positions", "norm_weight", "norm_bias", "projection"), (2, 2))))  # type: ignore[arg-type]  # fmt: skip
    done = host.run(TINY, **settings, MODELS_DIR="", MODELS_MIRROR=f"file://{mirror}")
    assert done.returncode == 0, done.stderr
    asked = host.used()
    assert asked[asked.index("python3") - 1] == image
    assert f"{host.checkout / 'models'}:/app/models" in asked
    assert f"{mirror}:{mirror}:ro" in asked
    host.container(monkeypatch)
    assert (host.checkout / "models" / "tinyclip_text_weights.npz").exists()


def test_neither_python_nor_docker(host: Host) -> None:
    done = host.run(SIG)
    assert done.returncode == 1
    assert "there is neither a Python with this project's packages here, nor Docker." in done.stderr
    assert "./setup.sh serve --cpu" in done.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "docker build -t immich-ml-hailo:cpu --build-arg BASE_IMAGE=ubuntu:24.04"),
        ({"DOCKER_DOWN": "1"}, "Docker does not answer: Cannot connect to the Docker daemon"),
    ],
)
def test_docker_that_is_of_no_help(host: Host, settings: dict[str, str], words: str) -> None:
    host.docker()
    done = host.run(SIG, **settings)
    assert done.returncode == 1
    assert words in done.stderr
    assert host.used() == []


def test_a_models_folder_that_cannot_be_made(host: Host, tmp_path: Path) -> None:
    host.docker()
    (tmp_path / "file").touch()
    done = host.run(TINY, MODELS_DIR=str(tmp_path / "file" / "models"), IMAGE="x")
    assert done.returncode == 1
    assert "cannot be made" in done.stderr
    assert "Set MODELS_DIR" in done.stderr


@pytest.mark.parametrize("script", [TINY, SIG])
def test_help_and_what_is_not_understood(host: Host, script: str) -> None:
    done = host.run(script, "--help")
    assert (done.returncode, "into models/ (or MODELS_DIR)" in done.stdout) == (0, True)
    assert "set -euo" not in done.stdout
    done = host.run(script, "--all")
    assert (done.returncode, "takes no arguments but --help" in done.stderr) == (2, True)


def test_the_other_actions_of_the_command(host: Host) -> None:
    host.python()
    done = host.run("models.sh")
    assert done.returncode == 0
    assert done.stdout.startswith("file ")
    assert "tinyclip_text_weights.npz" in done.stdout
