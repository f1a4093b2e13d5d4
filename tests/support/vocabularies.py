"""A plugin of pytest: vocabularies of SigLIP's and SigLIP2's form, real ones where they are, trained once a session."""

from pathlib import Path

import pytest
from shared_once import shared_once


@pytest.fixture(scope="session")
def made_pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A substitute of SigLIP's `spiece.model`: of its form (unigram, T5's special ids), not of its pieces."""
    from towers import substitute_pieces

    return shared_once(tmp_path_factory, "substitute pieces", substitute_pieces) / "spiece.model"


@pytest.fixture(scope="session")
def made_table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A substitute of SigLIP2's `tokenizer.json` and configuration, with pieces that reach across a blank."""
    from towers import substitute_table

    folder = shared_once(tmp_path_factory, "substitute table", substitute_table)
    return folder / "tokenizer.json", folder / "tokenizer_config.json"


@pytest.fixture(scope="session", params=["real", "substitute"])
def pieces(request: pytest.FixtureRequest, wheel_models: Path) -> Path:
    """SigLIP's own `spiece.model` where it is there, and the substitute."""
    if request.param == "substitute":
        made: Path = request.getfixturevalue("made_pieces")
        return made
    real = wheel_models / "spiece.model"
    if not real.is_file():
        pytest.skip("SigLIP's spiece.model is not in the models folder; `models fetch` gets it")
    return real


@pytest.fixture(scope="session", params=["real", "substitute"])
def table(request: pytest.FixtureRequest, wheel_models: Path) -> tuple[Path, Path]:
    """SigLIP2's own `tokenizer.json` and configuration where they are there, and the substitute."""
    if request.param == "substitute":
        made: tuple[Path, Path] = request.getfixturevalue("made_table")
        return made
    real = (wheel_models / "siglip2_tokenizer.json", wheel_models / "siglip2_tokenizer_config.json")
    if not all(file.is_file() for file in real):
        pytest.skip("SigLIP2's tokenizer is not in the models folder; `models fetch` gets it")
    return real
