"""Every network the worker can serve.

To add one: an entry here with its files in `files.py`, a line in the register that it belongs to (`FACE_DETECTORS`,
`FACE_RECOGNIZERS`, `TEXT_MODELS`, `CLIP_BACKENDS`, or `NETWORKS` itself), and its canonical result in the tests.
Contracts: inputs, normalisation and outputs as the Hailo Model Zoo compiles them; the plain
ONNX files take the same pictures after `(x - mean) / std`.
"""

from collections.abc import Iterable, Mapping, Sequence

from ml_target.catalogue import files
from ml_target.catalogue.immich import IMMICH_DEFAULT, KEEP_THE_NAME
from ml_target.catalogue.types import (
    Chip,
    ClipBackend,
    FeatureMap,
    ModelFile,
    Network,
    PictureInput,
    StepSequence,
    TextInput,
    TextModel,
    TokenStates,
    Vector,
)

EMBEDDING = "embedding"
TOKEN_STATES = "tokens"
PROBABILITY = "probability"
CLASS_SCORES = "classes"

SCRFD_STRIDES = (8, 16, 32)
SCRFD_ANCHORS = 2
FACE_WIDTH = 512
OCR_CLASSES = 18_385
"""PP-OCRv5 mobile: the blank, 18,383 characters, the space."""
OCR_V6_CLASSES = 18_710
"""PP-OCRv6 small: the blank, 18,708 characters, the space."""

_SCRFD_INPUT = PictureInput(640, 640, "RGB", mean=(127.5,) * 3, std=(128.0,) * 3)
_SCRFD_FORM = tuple(
    FeatureMap(f"{kind}_{stride}", stride, SCRFD_ANCHORS * numbers, SCRFD_ANCHORS)
    for stride in SCRFD_STRIDES
    for kind, numbers in (("score", 1), ("box", 4), ("kps", 10))
)
_ARCFACE_INPUT = PictureInput(112, 112, "RGB", mean=(127.5,) * 3, std=(127.5,) * 3)
_SIGLIP_MEAN = (127.5,) * 3
_CLIP_INPUT = PictureInput(
    224, 224, "RGB", mean=(122.7709383, 116.7460125, 104.09373615), std=(68.5005327, 66.6321579, 70.32316305)
)
"""OpenAI's constants times 255."""

# --------------------------------------------------------------------- faces


FACES_IMMICH_NAME = "buffalo_l"


def _face_detector(name: str, onnx: ModelFile, hef: Mapping[str, ModelFile], asked_as: str = "") -> Network:
    return Network(
        name,
        "facial-recognition",
        "detection",
        _SCRFD_INPUT,
        (_SCRFD_FORM,),
        onnx=(onnx,),
        hef=hef,
        setting="face_detector",
        asked_as=asked_as,
    )


SCRFD_2_5G = _face_detector("scrfd_2.5g", files.SCRFD_2_5G_ONNX, files.SCRFD_2_5G_HEF)
SCRFD_10G = _face_detector("scrfd_10g", files.SCRFD_10G_ONNX, files.SCRFD_10G_HEF)
BUFFALO_DETECTOR = _face_detector("buffalo_l_detection", files.BUFFALO_DETECTION, {}, FACES_IMMICH_NAME)
"""Immich's own, InsightFace's det_10g: a SCRFD 10G."""

STAND_IN_EMBEDDER = Network(
    "face_embedder_112_512",
    "facial-recognition",
    "recognition",
    _ARCFACE_INPUT,
    ((Vector(EMBEDDING, FACE_WIDTH),),),
    onnx=(files.STAND_IN_EMBEDDER,),
    space="face_embedder_112_512 (stand-in)",
    note=files.STAND_IN_EMBEDDER.note,
    setting="face_recognizer",
)
ARCFACE_R50 = Network(
    "arcface_r50",
    "facial-recognition",
    "recognition",
    _ARCFACE_INPUT,
    ((Vector(EMBEDDING, FACE_WIDTH),),),
    onnx=(files.ARCFACE_R50_ONNX,),
    hef=files.ARCFACE_R50_HEF,
    space="arcface_r50 (MS1MV3)",
    setting="face_recognizer",
    stand_in=STAND_IN_EMBEDDER,
)
ARCFACE_MOBILEFACENET = Network(
    "arcface_mobilefacenet",
    "facial-recognition",
    "recognition",
    _ARCFACE_INPUT,
    ((Vector(EMBEDDING, FACE_WIDTH),),),
    onnx=(files.MOBILEFACENET_ONNX,),
    hef=files.MOBILEFACENET_HEF,
    space="arcface_mobilefacenet (MS1MV3)",
    setting="face_recognizer",
)
BUFFALO_RECOGNIZER = Network(
    "buffalo_l_recognition",
    "facial-recognition",
    "recognition",
    _ARCFACE_INPUT,
    ((Vector(EMBEDDING, FACE_WIDTH),),),
    onnx=(files.BUFFALO_RECOGNITION,),
    space="buffalo_l (WebFace600K)",
    setting="face_recognizer",
    asked_as=FACES_IMMICH_NAME,
    goes_with=SCRFD_10G,
)
"""Immich's own, InsightFace's w600k_r50."""
W600K_R50 = Network(
    "w600k_r50",
    "facial-recognition",
    "recognition",
    _ARCFACE_INPUT,
    ((Vector(EMBEDDING, FACE_WIDTH),),),
    onnx=BUFFALO_RECOGNIZER.onnx,
    hef=files.W600K_R50_HEF,
    space=BUFFALO_RECOGNIZER.space,
    setting="face_recognizer",
    goes_with=SCRFD_10G,
    template=ARCFACE_R50,
    twin=BUFFALO_RECOGNIZER,
    calibrated_on="faces",
)
"""The same on the card, from a HEF that its owner has compiled. It has a name of its own, so that a file that comes or
goes never moves the recogniser between processor and card."""

FACE_DETECTORS = {n.choice: n for n in (SCRFD_2_5G, SCRFD_10G, BUFFALO_DETECTOR)}
FACE_RECOGNIZERS = {
    n.choice: n for n in (ARCFACE_R50, ARCFACE_MOBILEFACENET, BUFFALO_RECOGNIZER, W600K_R50, STAND_IN_EMBEDDER)
}

# ----------------------------------------------------------------------- OCR

_OCR_RECOGNITION_INPUT = PictureInput(48, 320, "BGR", mean=(127.5,) * 3, std=(127.5,) * 3)

OCR_DETECTION = Network(
    "paddle_ocr_v5_mobile_detection",
    "ocr",
    "detection",
    # PaddleOCR feeds BGR and applies ImageNet's RGB-ordered constants in place; so do we.
    PictureInput(544, 960, "BGR", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    ((FeatureMap(PROBABILITY, 1, 1),),),
    onnx=(files.OCR_DETECTION_FREE, files.OCR_DETECTION_FIXED),
    hef=files.OCR_DETECTION_HEF,
    setting="ocr_model",
    asked_as="ppocrv5_mobile",
)
OCR_RECOGNITION = Network(
    "paddle_ocr_v5_mobile_recognition",
    "ocr",
    "recognition",
    _OCR_RECOGNITION_INPUT,
    ((StepSequence(CLASS_SCORES, 8, OCR_CLASSES),),),
    onnx=(files.OCR_RECOGNITION_FREE, files.OCR_RECOGNITION_FIXED),
    hef=files.OCR_RECOGNITION_HEF,
    companions=(files.OCR_DICTIONARY,),
    setting="ocr_model",
    asked_as="ppocrv5_mobile",
)
OCR_DETECTION_V6 = Network(
    "ppocrv6_small_detection",
    "ocr",
    "detection",
    # As RapidOCR, whose file this is, feeds it (config.yaml of its release 3.10.0), and with it Immich's own worker.
    # PaddleOCR trained it with ImageNet's constants (configs/det/PP-OCRv6/PP-OCRv6_small_det.yml), but with these the
    # file makes one line of words far apart: of the 64 labels of a grid it leaves 8.
    PictureInput(544, 960, "BGR", mean=(127.5,) * 3, std=(127.5,) * 3),
    ((FeatureMap(PROBABILITY, 1, 1),),),
    onnx=(files.OCR_DETECTION_V6_SMALL,),
    setting="ocr_model",
    variant="ppocrv6_small",
)
OCR_RECOGNITION_V6 = Network(
    "ppocrv6_small_recognition",
    "ocr",
    "recognition",
    _OCR_RECOGNITION_INPUT,
    ((StepSequence(CLASS_SCORES, 8, OCR_V6_CLASSES),),),
    onnx=(files.OCR_RECOGNITION_V6_SMALL,),
    setting="ocr_model",
    variant="ppocrv6_small",
)

PPOCRV5_MOBILE = TextModel(
    "ppocrv5_mobile",
    OCR_DETECTION,
    OCR_RECOGNITION,
    "PP-OCRv5_mobile",
    answers_for=("PP-OCRv5_server",),
    reads="Chinese, Japanese and English",
)
"""Its networks have no variant: the service is called `ocr`."""
PPOCRV6_SMALL = TextModel(
    "ppocrv6_small",
    OCR_DETECTION_V6,
    OCR_RECOGNITION_V6,
    "PP-OCRv6_small",
    answers_for=("PP-OCRv6_tiny", "PP-OCRv6_medium"),
    reads="Chinese, Japanese and the languages in Latin letters but Vietnamese",
)

TEXT_MODELS = {m.name: m for m in (PPOCRV5_MOBILE, PPOCRV6_SMALL)}

# ---------------------------------------------------------------------- CLIP


def picture_tower(
    backend: str,
    name: str,
    spec: PictureInput,
    width: int,
    onnx: ModelFile,
    hef: Mapping[str, ModelFile],
    *more: ModelFile,
) -> Network:
    """The picture tower of the backend of this name. `more`: other files for the processor, if the first is missing."""
    return Network(
        name,
        "clip",
        "visual",
        spec,
        ((Vector(EMBEDDING, width),),),
        onnx=(onnx, *more),
        hef=hef,
        space=backend,
        setting="clip_backend",
        service="clip.visual",
        variant=backend,
    )


def text_tower(
    backend: str,
    name: str,
    spec: TextInput,
    width: int,
    onnx: ModelFile,
    hef: Mapping[str, ModelFile],
    vocabulary: tuple[ModelFile, ...],
    weights: ModelFile,
) -> Network:
    """The text tower of the backend of this name; it may end in the vector or in one state per token."""
    return Network(
        name,
        "clip",
        "textual",
        spec,
        ((Vector(EMBEDDING, width),), (TokenStates(TOKEN_STATES, spec.tokens, spec.width),)),
        onnx=(onnx,),
        hef=hef,
        space=backend,
        companions=vocabulary,
        weights=weights,
        setting="clip_backend",
        service="clip.textual",
        variant=backend,
    )


TINYCLIP = ClipBackend(
    "tinyclip",
    "clip",
    visual=picture_tower(
        "tinyclip",
        "tinyclip_vit_39m_16_text_19m_yfcc15m_image_encoder",
        _CLIP_INPUT,
        512,
        files.TINYCLIP_IMAGE_ONNX,
        files.TINYCLIP_IMAGE_HEF,
    ),
    textual=text_tower(
        "tinyclip",
        "tinyclip_vit_39m_16_text_19m_yfcc15m_text_encoder",
        TextInput(77, 512),
        512,
        files.TINYCLIP_TEXT_ONNX,
        files.TINYCLIP_TEXT_HEF,
        (files.CLIP_VOCABULARY,),
        files.TINYCLIP_TEXT_WEIGHTS,
    ),
    width=512,
    immich_name=IMMICH_DEFAULT,
    pooling="end",
    resize="shortest",
    borrows_name=True,
    new_library_name="RN101__yfcc15m",
    pictures_a_second={"hailo8": 185, "hailo8l": 96},
)


def _openai(
    patch: int,
    pictures: tuple[ModelFile, ModelFile],
    text: ModelFile,
    weights: ModelFile,
    hefs: Sequence[Mapping[str, ModelFile]],
    figures: Mapping[Chip, int],
) -> ClipBackend:
    """OpenAI's CLIP with patches of this size, which Immich serves under the same name.

    `pictures`: Immich's file for the processor, and the zoo's; `hefs`: the card's, of the picture and the text tower.
    """
    name, (immich, zoo) = f"vit_b_{patch}", pictures
    visual, textual = (f"clip_{name}_{tower}_encoder" for tower in ("image", "text"))
    vocabulary = (files.CLIP_VOCABULARY,)
    return ClipBackend(
        name,
        "clip",
        visual=picture_tower(name, visual, _CLIP_INPUT, 512, immich, hefs[0], zoo),
        textual=text_tower(name, textual, TextInput(77, 512), 512, text, hefs[1], vocabulary, weights),
        width=512,
        immich_name=f"ViT-B-{patch}__openai",
        pooling="end",
        resize="shortest",
        # The zoo's float accuracy is the one that OpenAI published, which GELU does not reach.
        hef_activation="QuickGELU",
        pictures_a_second=figures,
    )


VIT_B_32 = _openai(
    32,
    (files.VIT_B_32_IMAGE_IMMICH, files.VIT_B_32_IMAGE_ZOO),
    files.VIT_B_32_TEXT_IMMICH,
    files.VIT_B_32_TEXT_WEIGHTS,
    (files.VIT_B_32_IMAGE_HEF, files.VIT_B_32_TEXT_HEF),
    {"hailo8": 187, "hailo8l": 130},
)
VIT_B_16 = _openai(
    16,
    (files.VIT_B_16_IMAGE_IMMICH, files.VIT_B_16_IMAGE_ZOO),
    files.VIT_B_16_TEXT_IMMICH,
    files.VIT_B_16_TEXT_WEIGHTS,
    (files.VIT_B_16_IMAGE_HEF, files.VIT_B_16_TEXT_HEF),
    {"hailo8": 119, "hailo8l": 53},
)
SIGLIP = ClipBackend(
    "siglip",
    "siglip",
    visual=picture_tower(
        "siglip",
        "siglip_b_16_image_encoder",
        PictureInput(224, 224, "RGB", mean=_SIGLIP_MEAN, std=_SIGLIP_MEAN),
        768,
        files.SIGLIP_IMAGE_ONNX,
        files.SIGLIP_IMAGE_HEF,
    ),
    textual=text_tower(
        "siglip",
        "siglip_b_16_text_encoder",
        TextInput(64, 768),
        768,
        files.SIGLIP_TEXT_ONNX,
        files.SIGLIP_TEXT_HEF,
        (files.SIGLIP_VOCABULARY,),
        files.SIGLIP_TEXT_WEIGHTS,
    ),
    width=768,
    immich_name="ViT-B-16-SigLIP__webli",
    pooling="last",
    resize="squash",
    resize_by_setting=True,
    pictures_a_second={"hailo8": 41, "hailo8l": 15},
)
SIGLIP2 = ClipBackend(
    "siglip2",
    "siglip2",
    visual=picture_tower(
        "siglip2",
        "siglip2_b_32_256_image_encoder",
        PictureInput(256, 256, "RGB", mean=_SIGLIP_MEAN, std=_SIGLIP_MEAN),
        768,
        files.SIGLIP2_IMAGE_ONNX,
        files.SIGLIP2_IMAGE_HEF,
    ),
    textual=text_tower(
        "siglip2",
        "siglip2_b_32_256_text_encoder",
        TextInput(64, 768),
        768,
        files.SIGLIP2_TEXT_ONNX,
        files.SIGLIP2_TEXT_HEF,
        (files.SIGLIP2_VOCABULARY, files.SIGLIP2_TOKENIZER_CONFIG),
        files.SIGLIP2_TEXT_WEIGHTS,
    ),
    width=768,
    immich_name="ViT-B-32-SigLIP2-256__webli",
    pooling="last",
    resize="squash",
    resize_by_setting=True,
)

CLIP_BACKENDS = {b.name: b for b in (TINYCLIP, VIT_B_32, VIT_B_16, SIGLIP, SIGLIP2)}

BAKED = (TINYCLIP, SIGLIP)
"""What the image for a card holds besides the chosen ones, so that a restart is enough to change."""

AUTO = "auto"
"""As CLIP_BACKEND or OCR_MODEL: every one whose files are there."""


def backend_names(choice: str) -> tuple[str, ...]:
    """The backends that a value of CLIP_BACKEND names, in its order; all for `auto`."""
    return tuple(CLIP_BACKENDS) if choice == AUTO else tuple(choice.split(","))


CHOICES: dict[str, Mapping[str, ClipBackend | TextModel]] = {"clip_backend": CLIP_BACKENDS, "ocr_model": TEXT_MODELS}
"""The settings that take one name, several, separated by commas, or `auto`, and what the names stand for."""


def with_baked(choice: str) -> tuple[str, ...]:
    """The backends that the image for a card holds: the chosen ones, and the baked of other names in Immich."""
    if choice == AUTO:
        return (AUTO,)
    names = list(backend_names(choice))
    for backend in BAKED:
        if backend.name not in names and clashing([*map(CLIP_BACKENDS.__getitem__, names), backend]) is None:
            names.append(backend.name)
    return tuple(names)


def for_new_libraries(backend: ClipBackend) -> str:
    """What to tell about the name of a backend that borrows one."""
    return (
        f"For a new library: {backend.new_library_name}, which no worker of Immich serves by default. "
        f"{KEEP_THE_NAME.capitalize()}."
    )


def clashing(served: Iterable[ClipBackend | TextModel]) -> tuple[str, list[str]] | None:
    """A name in Immich for which more than one of these would answer, and what they are called."""
    by_name: dict[str, list[str]] = {}
    for each in served:
        for asked in each.names:
            by_name.setdefault(asked, []).append(each.name)
    return next(((asked, names) for asked, names in by_name.items() if len(names) > 1), None)


# ------------------------------------------------------------------- register

NETWORKS: list[Network] = [
    *(tower for b in CLIP_BACKENDS.values() for tower in (b.visual, b.textual)),
    *FACE_DETECTORS.values(),
    *FACE_RECOGNIZERS.values(),
    *(network for m in TEXT_MODELS.values() for network in (m.detection, m.recognition)),
]
"""What each task needs follows from here: the networks that name it, their files, and their companion files."""

SHORT_NAMES = {"facial-recognition": "faces"}
"""What commands and lists call a task, where that is not its name on the wire."""


def short_name(task: str) -> str:
    """What commands and lists call a task."""
    return SHORT_NAMES.get(task, task)


def service_label(name: str, variant: str) -> str:
    """What messages call one of several services of the same name."""
    return f"{name} ({variant})" if variant else name
