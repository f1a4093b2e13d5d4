"""Imports point downwards only. A module finds its floor here; a new one has to be given one."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "ml_target"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("__init__", "errors", "log", "runtime.cgroups"),
    ("tensors", "hailo_host"),
    ("catalogue", "imaging"),
    ("config", "folders"),
    ("remedies", "diagnostics.settings"),
    # pure: pictures in, tensors out, texts in; and the little helpers
    (
        "preprocessing",
        "decoders",
        "tokenizer",
        "roles",
        "trace",
        "host",
        "protobuf",
        "burstcost",
        "logwords",
        "hailo_status",
        "runtime.budget",
    ),
    ("names", "hef", "hef_message", "hailo_package", "text_weights"),
    ("hef_streams",),
    ("hef_fit",),
    ("engines",),
    ("modelqueue", "text_head", "store"),
    ("arbiter", "text_probe", "text_layouts"),
    ("models",),
    ("linefinder", "linereader", "facesearch"),
    ("search", "faces", "ocr"),
    (
        "healthcheck",
        "protocol",
        "services",
        "drawing",
        "runtime.leaving",
        "requestlog",
        "inspect_models",
        "diagnostics.card",
        "diagnostics.file_kind",
        "diagnostics.findings",
    ),
    ("pipeline", "api", "runtime.shelf", "runtime.announce", "runtime.summary"),
    ("loading",),
    ("places",),
    ("worker", "checks", "diagnostics"),
    ("app", "predict", "selfcheck", "doctor", "hef_inspect", "diagnostics.report"),
    ("serve",),
    ("__main__",),
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}

# Who may know of what. Everything else must import and run without it.
ONLY: dict[str, set[str]] = {
    "fastapi": {"app"},
    "starlette": {"app", "api.body", "api.guard", "api.server"},
    "uvicorn": {"api.connections", "api.server"},
    "onnxruntime": {"engines.onnx", "store.verify"},
    "hailo_platform": {"engines.hailo", "diagnostics.card", "hef_inspect"},
    "PIL": {
        "imaging.raster",
        "preprocessing.resize",
        "preprocessing.crop",
        "preprocessing.tiles",
        "drawing",
        "diagnostics.report_host",
    },
}
PURE = ("preprocessing", "decoders", "roles", "text_head", "tensors")
NOT_PURE = {"asyncio", "threading", "socket", "urllib", "os", "logging", "onnxruntime"}


def modules() -> list[str]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return [".".join(p.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__") for p in paths]


def imported(module: str) -> tuple[set[str], set[str]]:
    """(our modules, roots of other packages) that `module` imports anywhere, inside functions too."""
    path = PACKAGE / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    ours: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "ml_target" else [base]
        for name in names:
            root, _, rest = name.partition(".")
            if root == "ml_target":
                ours.add(rest or "__init__")
            else:
                others.add(root)
    return ours, others


def floor(module: str) -> int:
    """The floor of the module itself, or else of the innermost room that has one."""
    name = "__init__" if module == "__version__" else module
    while name not in FLOOR and "." in name:
        name = name.rpartition(".")[0]
    assert name in FLOOR, f"{module} has no floor: give it or its room one in FLOORS"
    return FLOOR[name]


@pytest.mark.parametrize("module", modules())
def test_imports_point_downwards(module: str) -> None:
    room = module.split(".")[0]
    for other in imported(module)[0]:
        if other.split(".")[0] != room:
            assert floor(other) < floor(module), f"{module} must not import {other}"


@pytest.mark.parametrize("module", modules())
def test_packages_stay_where_they_belong(module: str) -> None:
    others = imported(module)[1]
    for package, allowed in ONLY.items():
        assert package not in others or module in allowed, f"{module} must not import {package}"
    if module.split(".")[0] in PURE:
        assert not others & NOT_PURE, f"{module} is pure maths"


def test_engines_know_no_tasks() -> None:
    tasks = {"search", "faces", "ocr", "protocol", "pipeline", "preprocessing", "decoders"}
    for module in modules():
        if module.startswith("engines"):
            assert not {name.split(".")[0] for name in imported(module)[0]} & tasks
