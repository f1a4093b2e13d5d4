"""What Immich itself knows about model names.

Source: the table of embedding widths in the Immich server, which decides the width of its
database column, and the name clean-up of its official worker.
"""

_BY_WIDTH: dict[int, str] = {
    512: """
        RN101__openai RN101__yfcc15m ViT-B-16__laion400m_e31 ViT-B-16__laion400m_e32 ViT-B-16__openai
        ViT-B-32__laion2b-s34b-b79k ViT-B-32__laion2b_e16 ViT-B-32__laion400m_e31
        ViT-B-32__laion400m_e32 ViT-B-32__openai XLM-Roberta-Base-ViT-B-32__laion5b_s13b_b90k
        XLM-Roberta-Large-Vit-B-32""",
    640: """
        RN50x4__openai ViT-B-16-plus-240__laion400m_e31 ViT-B-16-plus-240__laion400m_e32
        XLM-Roberta-Large-Vit-B-16Plus""",
    768: """
        LABSE-Vit-L-14 RN50x16__openai ViT-B-16-SigLIP__webli ViT-B-16-SigLIP-256__webli
        ViT-B-16-SigLIP-384__webli ViT-B-16-SigLIP-512__webli ViT-B-16-SigLIP-i18n-256__webli
        ViT-L-14-336__openai ViT-L-14-quickgelu__dfn2b ViT-L-14__laion2b-s32b-b82k
        ViT-L-14__laion400m_e31 ViT-L-14__laion400m_e32 ViT-L-14__openai XLM-Roberta-Large-Vit-L-14
        nllb-clip-base-siglip__mrl nllb-clip-base-siglip__v1 ViT-B-16-SigLIP2__webli
        ViT-B-32-SigLIP2-256__webli""",
    1024: """
        RN50__cc12m RN50__openai RN50__yfcc15m RN50x64__openai ViT-H-14-378-quickgelu__dfn5b
        ViT-H-14-quickgelu__dfn5b ViT-H-14__laion2b-s32b-b79k ViT-L-16-SigLIP-256__webli
        ViT-L-16-SigLIP-384__webli ViT-g-14__laion2b-s12b-b42k
        XLM-Roberta-Large-ViT-H-14__frozen_laion5b_s13b_b90k ViT-L-16-SigLIP2-256__webli
        ViT-L-16-SigLIP2-384__webli ViT-L-16-SigLIP2-512__webli""",
    1152: """
        ViT-SO400M-14-SigLIP-384__webli nllb-clip-large-siglip__mrl nllb-clip-large-siglip__v1
        ViT-SO400M-14-SigLIP2__webli ViT-SO400M-14-SigLIP2-378__webli ViT-SO400M-16-SigLIP2-256__webli
        ViT-SO400M-16-SigLIP2-384__webli ViT-SO400M-16-SigLIP2-512__webli""",
    1536: "ViT-gopt-16-SigLIP2-256__webli ViT-gopt-16-SigLIP2-384__webli",
}

IMMICH_DEFAULT = "ViT-B-32__openai"
"""The CLIP model of Immich's settings as they come."""

PERSON_DISTANCE = 0.5
"""Up to this cosine distance Immich by default takes two faces for one person's."""

KEEP_THE_NAME = "a library that has vectors keeps its name: a change of name deletes all of them"


def clean_name(name: str) -> str:
    """The official worker's clean-up: what follows the last slash, without dots, `:` and `\\` as `_`.

    Blanks around it go too: a name pasted into Immich's settings may have some.
    """
    return name.rsplit("/", 1)[-1].strip().replace(".", "").replace(":", "_").replace("\\", "_")


WIDTHS: dict[str, int] = {clean_name(name): width for width, names in _BY_WIDTH.items() for name in names.split()}
"""Cleaned CLIP model name -> numbers in its embedding, as the Immich server's table has it."""
