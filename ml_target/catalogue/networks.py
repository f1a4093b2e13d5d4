"""Every network the worker can serve.

To add one: an entry here, its files in `files.py`, and its canonical result in the tests.
Contracts: inputs, normalisation and outputs as the Hailo Model Zoo compiles them; the plain
ONNX files take the same pictures after `(x - mean) / std`.
"""

from ml_target.catalogue import files
from ml_target.catalogue.types import (
    ClipBackend,
    FeatureMap,
    Network,
    PictureInput,
    StepSequence,
    TextInput,
    TokenStates,
    Vector,
)

EMBEDDING = "embedding"
TOKEN_STATES = "tokens"
PROBABILITY = "probability"
CLASSES = "classes"

SCRFD_STRIDES = (8, 16, 32)
SCRFD_ANCHORS = 2
FACE_WIDTH = 512
OCR_CLASSES = 18_385

_SCRFD_INPUT = PictureInput(640, 640, "RGB", mean=(127.5,) * 3, std=(128.0,) * 3)
_SCRFD_FORM = tuple(
    FeatureMap(f"{kind}_{stride}", stride, SCRFD_ANCHORS * numbers, SCRFD_ANCHORS)
    for stride in SCRFD_STRIDES
    for kind, numbers in (("score", 1), ("box", 4), ("kps", 10))
)
_ARCFACE_INPUT = PictureInput(112, 112, "RGB", mean=(127.5,) * 3, std=(127.5,) * 3)
_SIGLIP_MEAN = (127.5,) * 3

# ------------------------------------------------------------ face detection

SCRFD_2_5G = Network(
    "scrfd_2.5g",
    "facial-recognition",
    "detection",
    _SCRFD_INPUT,
    (_SCRFD_FORM,),
    onnx=(files.SCRFD_2_5G_ONNX,),
    hef=files.SCRFD_2_5G_HEF,
)
SCRFD_10G = Network(
    "scrfd_10g",
    "facial-recognition",
    "detection",
    _SCRFD_INPUT,
    (_SCRFD_FORM,),
    onnx=(files.SCRFD_10G_ONNX,),
    hef=files.SCRFD_10G_HEF,
)

# ---------------------------------------------------------- face recognition

ARCFACE_R50 = Network(
    "arcface_r50",
    "facial-recognition",
    "recognition",
    _ARCFACE_INPUT,
    ((Vector(EMBEDDING, FACE_WIDTH),),),
    onnx=(files.ARCFACE_R50_ONNX,),
    hef=files.ARCFACE_R50_HEF,
    space="arcface_r50 (MS1MV3)",
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
)
STAND_IN_EMBEDDER = Network(
    "face_embedder_112_512",
    "facial-recognition",
    "recognition",
    _ARCFACE_INPUT,
    ((Vector(EMBEDDING, FACE_WIDTH),),),
    onnx=(files.STAND_IN_EMBEDDER,),
    space="face_embedder_112_512 (stand-in)",
    note=files.STAND_IN_EMBEDDER.note,
)

FACE_DETECTORS = {n.name: n for n in (SCRFD_2_5G, SCRFD_10G)}
FACE_RECOGNIZERS = {n.name: n for n in (ARCFACE_R50, ARCFACE_MOBILEFACENET, STAND_IN_EMBEDDER)}

# ----------------------------------------------------------------------- OCR

OCR_DETECTION = Network(
    "paddle_ocr_v5_mobile_detection",
    "ocr",
    "detection",
    # PaddleOCR feeds BGR and applies ImageNet's RGB-ordered constants in place; so do we.
    PictureInput(544, 960, "BGR", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    ((FeatureMap(PROBABILITY, 1, 1),),),
    onnx=(files.OCR_DETECTION_FREE, files.OCR_DETECTION_FIXED),
    hef=files.OCR_DETECTION_HEF,
)
OCR_RECOGNITION = Network(
    "paddle_ocr_v5_mobile_recognition",
    "ocr",
    "recognition",
    PictureInput(48, 320, "BGR", mean=(127.5,) * 3, std=(127.5,) * 3),
    ((StepSequence(CLASSES, 8, OCR_CLASSES),),),
    onnx=(files.OCR_RECOGNITION_FREE, files.OCR_RECOGNITION_FIXED),
    hef=files.OCR_RECOGNITION_HEF,
)

OCR_IMMICH_NAME = "PP-OCRv5_mobile"

# ---------------------------------------------------------------------- CLIP

TINYCLIP = ClipBackend(
    "tinyclip",
    "clip",
    visual=Network(
        "tinyclip_vit_39m_16_text_19m_yfcc15m_image_encoder",
        "clip",
        "visual",
        PictureInput(
            224,
            224,
            "RGB",
            mean=(122.7709383, 116.7460125, 104.09373615),
            std=(68.5005327, 66.6321579, 70.32316305),
        ),
        ((Vector(EMBEDDING, 512),),),
        onnx=(files.TINYCLIP_IMAGE_ONNX,),
        hef=files.TINYCLIP_IMAGE_HEF,
        space="tinyclip",
    ),
    textual=Network(
        "tinyclip_vit_39m_16_text_19m_yfcc15m_text_encoder",
        "clip",
        "textual",
        TextInput(77, 512),
        ((Vector(EMBEDDING, 512),), (TokenStates(TOKEN_STATES, 77, 512),)),
        onnx=(files.TINYCLIP_TEXT_ONNX,),
        hef=files.TINYCLIP_TEXT_HEF,
        space="tinyclip",
    ),
    vocabulary=(files.CLIP_VOCABULARY,),
    text_weights=files.TINYCLIP_TEXT_WEIGHTS,
    width=512,
    immich_name="ViT-B-32__openai",
    hides_behind=True,
)
SIGLIP = ClipBackend(
    "siglip",
    "siglip",
    visual=Network(
        "siglip_b_16_image_encoder",
        "clip",
        "visual",
        PictureInput(224, 224, "RGB", mean=_SIGLIP_MEAN, std=_SIGLIP_MEAN),
        ((Vector(EMBEDDING, 768),),),
        onnx=(files.SIGLIP_IMAGE_ONNX,),
        hef=files.SIGLIP_IMAGE_HEF,
        space="siglip",
    ),
    textual=Network(
        "siglip_b_16_text_encoder",
        "clip",
        "textual",
        TextInput(64, 768),
        ((Vector(EMBEDDING, 768),), (TokenStates(TOKEN_STATES, 64, 768),)),
        onnx=(files.SIGLIP_TEXT_ONNX,),
        hef=files.SIGLIP_TEXT_HEF,
        space="siglip",
    ),
    vocabulary=(files.SIGLIP_VOCABULARY,),
    text_weights=files.SIGLIP_TEXT_WEIGHTS,
    width=768,
    immich_name="ViT-B-16-SigLIP__webli",
)
SIGLIP2 = ClipBackend(
    "siglip2",
    "siglip2",
    visual=Network(
        "siglip2_b_32_256_image_encoder",
        "clip",
        "visual",
        PictureInput(256, 256, "RGB", mean=_SIGLIP_MEAN, std=_SIGLIP_MEAN),
        ((Vector(EMBEDDING, 768),),),
        onnx=(files.SIGLIP2_IMAGE_ONNX,),
        hef=files.SIGLIP2_IMAGE_HEF,
        space="siglip2",
    ),
    textual=Network(
        "siglip2_b_32_256_text_encoder",
        "clip",
        "textual",
        TextInput(64, 768),
        ((Vector(EMBEDDING, 768),), (TokenStates(TOKEN_STATES, 64, 768),)),
        onnx=(files.SIGLIP2_TEXT_ONNX,),
        hef=files.SIGLIP2_TEXT_HEF,
        space="siglip2",
    ),
    vocabulary=(files.SIGLIP2_VOCABULARY, files.SIGLIP2_TOKENIZER_CONFIG),
    text_weights=files.SIGLIP2_TEXT_WEIGHTS,
    width=768,
    immich_name="ViT-B-32-SigLIP2-256__webli",
)

CLIP_BACKENDS = {b.name: b for b in (TINYCLIP, SIGLIP, SIGLIP2)}

NETWORKS: tuple[Network, ...] = (
    *(tower for b in CLIP_BACKENDS.values() for tower in (b.visual, b.textual)),
    *FACE_DETECTORS.values(),
    *FACE_RECOGNIZERS.values(),
    OCR_DETECTION,
    OCR_RECOGNITION,
)
