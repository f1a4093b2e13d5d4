"""What the report says about settings: which are set, which are wrong, which variables have similar names."""

import os
from collections.abc import Mapping
from dataclasses import fields

from ml_target.config import Settings, setting_names, setting_text
from ml_target.diagnostics.hints import environment_hints
from ml_target.diagnostics.report.section import Section
from ml_target.diagnostics.settings import Environment

RELATED = (
    "HAILO", "IMMICH", "MACHINE_LEARNING", "MODEL", "CLIP_", "FACE_", "SIGLIP", "OCR_", "CPU_", "HOST_", "MAX_",
    "OMP_", "OPENBLAS_", "MALLOC_", "LD_", "PYTHON", "HF_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "PIP_",
)  # fmt: skip
"""Prefixes of variables that affect the worker, or that a user may believe do."""

NOT_OURS = frozenset({"IMMICH_ML_IMAGE"})


def settings_section(read: Environment, environment: Mapping[str, str] = os.environ) -> Section:
    """The settings that are set, those that are wrong, and other variables with related names."""
    lines = []
    ours = {name: item.name for item in fields(Settings) for name in setting_names(item.name)}
    for name, attribute in ours.items():
        if name in environment:
            value = environment[name]
            taken = setting_text(read.settings, attribute)
            note = "WRONG" if name not in read.usable else "" if value.strip() == taken else f"taken as {taken}"
            lines.append(f"{name}={value}" + (f"    ({note})" if note else ""))
    lines = lines or ["no setting is set: all have their defaults"]
    lines += [f"wrong: {problem}" for problem in read.problems]
    count = len([name for name in ours if name in environment])
    others = sorted(n for n in environment if n.upper().startswith(RELATED) and n not in ours and n not in NOT_OURS)
    if others:
        lines += ["", "Other variables; the worker itself has no settings of these names:"]
        lines += [f"{name}={environment[name]}" for name in others]
    hints = environment_hints(environment)
    lines += hints
    wrong = [f"settings: {words}" for words in (*read.problems, *hints)]
    return Section(
        "Settings", "\n".join(lines), wrong, [] if wrong else [f"settings: {count} set, all taken"], most=4000
    )
