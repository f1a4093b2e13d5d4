"""Which files of the catalogue a choice of settings needs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeVar, get_args

from ml_target.catalogue.networks import AUTO, CHOICES, NETWORKS, clashing, service_label, short_name
from ml_target.catalogue.types import DEFAULT_CHIP, Chip, ModelFile, Network
from ml_target.errors import SettingsError

EngineName = Literal["hailo", "cpu"]
EngineSetting = Literal["auto", EngineName]
"""The values of ENGINE; `config.choose_engine` says what `auto` means on this machine."""

Chosen = TypeVar("Chosen", bound=Any)


class Choice(Protocol):
    """The settings that decide which files are needed."""

    @property
    def clip_backend(self) -> str: ...
    @property
    def clip_text_engine(self) -> str: ...
    @property
    def face_detector(self) -> str: ...
    @property
    def face_recognizer(self) -> str: ...
    @property
    def ocr_model(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Need:
    """A file that the task `label` wants on `engine` (cpu, a chip, or any).

    Any one of `files` will do, the first is the best. Without an `optional` one the task still runs. `service`: what
    the log and the status page call what is off without it, "" where that is the label.
    """

    label: str
    engine: str
    files: tuple[ModelFile, ...]
    optional: bool = False
    service: str = ""


def chosen(choice: Choice) -> list[Network]:
    """The networks that the settings ask for, in the catalogue's order."""
    defaults: dict[str, Network] = {}
    found = []
    for network in NETWORKS:
        default = defaults.setdefault(network.setting, network)
        value = _setting(choice, network)
        if not network.setting or _asks_for(value, network) or (not value and network is default):
            found.append(network)
    return found


def engine_of(network: Network, settings: Choice, engine: EngineName) -> EngineName:
    """What runs this network on a host with that engine: the processor, where the settings choose it so.

    They do by CLIP_TEXT_ENGINE, and by choosing a network with no HEF.
    """
    return "cpu" if beside_card(network, settings) else engine


def beside_card(network: Network, settings: Choice) -> bool:
    """Whether the processor runs this network even where there is a card."""
    return not network.hef or (network.takes_text and settings.clip_text_engine == "cpu")


def runs_itself(network: Network, engine: EngineName) -> bool:
    """Whether this engine has a file of the network."""
    return bool(network.onnx if engine == "cpu" else network.hef)


def may_stand_in(network: Network, settings: Choice, engine: EngineName) -> Network | None:
    """What serves in its place where only that is there: on the processor alone, and where nobody named the network."""
    on_processor = engine_of(network, settings, engine) == "cpu"
    return network.stand_in if on_processor and not _setting(settings, network) else None


def needs(settings: Choice, engine: EngineName, chip: Chip = DEFAULT_CHIP) -> list[Need]:
    """What the chosen networks need on a host with that engine, task by task."""
    return [
        need
        for network in chosen(settings)
        for need in _of(network, engine_of(network, settings, engine), chip, named=bool(_setting(settings, network)))
    ]


def whole_catalogue(chip: Chip = DEFAULT_CHIP) -> list[Need]:
    """Every file once, each a need of its own; of the HEFs those for `chip`."""
    single: dict[str, Need] = {}
    for network in NETWORKS:
        for engine in get_args(EngineName):
            if not runs_itself(network, engine):
                continue
            for need in _of(network, engine, chip, named=True):
                for file in need.files:
                    optional = need.optional or not file.sources
                    single.setdefault(file.name, Need(need.label, need.engine, (file,), optional, need.service))
    return list(single.values())


def _of(network: Network, engine: EngineName, chip: Chip, *, named: bool) -> Iterator[Need]:
    """What one network needs on an engine; `named`: it was asked for by name, so nothing stands in for it.

    Raises KeyError for one that was never compiled for the chip.
    """
    label = f"{short_name(network.task)} {network.variant}".rstrip()
    service = service_label(network.service or network.task, network.variant)
    if engine == "cpu":
        instead = network.stand_in.onnx if network.stand_in and not named else ()
        yield Need(label, "cpu", network.onnx + instead, service=service)
    else:
        yield Need(label, chip, (network.hef[chip],), service=service)
    yield from (Need(label, "any", (file,), service=service) for file in network.companions)
    if network.weights:
        # The processor uses them only where its file takes embeddings.
        yield Need(label, "any", (network.weights,), engine == "cpu", service)


def names_there(setting: str, value: str, there: Callable[[Network], bool]) -> list[str]:
    """The names that a value of a setting of `CHOICES` stands for; for `auto` those that are `there`, or the default.

    Raises SettingsError where two of them would answer for the same name.
    """
    if value != AUTO:
        return value.split(",")
    choices = CHOICES[setting]
    names = [name for name, choice in choices.items() if all(map(there, choice.told_by))]
    refuse_clash(setting, names, AUTO)
    return names or [next(iter(choices))]


def settled(settings: Chosen, engine: EngineName, chip: Chip, found: Callable[[ModelFile], object]) -> Chosen:
    """The settings with each `auto` replaced by the names of what is there, by the files that are `found`.

    Raises SettingsError as `names_there` does.
    """

    def there(network: Network) -> bool:
        on_processor = engine == "cpu" or not network.hef
        return any(map(found, network.onnx if on_processor else filter(None, (network.hef.get(chip),))))

    names = {setting: names_there(setting, getattr(settings, setting), there) for setting in CHOICES}
    return replace(settings, **{setting: ",".join(each) for setting, each in names.items()})


_CLASH = {
    "clip_backend": (", and their vectors do not mix", "the one that Immich's library was indexed with"),
    "ocr_model": ("", "one of them"),
}
"""What is told of two that go by one name, and which of them to set."""


def refuse_clash(setting: str, names: Sequence[str], given: str) -> None:
    """Raises SettingsError where two of these choices would answer for the same model name of Immich."""
    clash = clashing(CHOICES[setting][name] for name in names)
    if clash is not None:
        asked, both = clash
        variable = setting.upper()
        choices = " or ".join(f"{variable}={','.join(n for n in names if n not in both or n == one)}" for one in both)
        why, which = _CLASH[setting]
        raise SettingsError(
            f"{variable}={given}: {' and '.join(both)} would both answer for {asked}{why}", f"Set {which}: {choices}."
        )


def _asks_for(value: str, network: Network) -> bool:
    return value == AUTO or network.choice in value.split(",")


def _setting(choice: Choice, network: Network) -> str:
    value: str = getattr(choice, network.setting) if network.setting else ""
    return value
