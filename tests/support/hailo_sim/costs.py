"""What a burst costs, `overhead + n * per_frame`, by chip and link (hailort.md §6.1); what a switch costs (§5.5)."""

from collections.abc import Mapping
from dataclasses import dataclass

LINK_BYTES_PER_S = {"fast": 3.4e9, "slow": 1.0e9}
"""Gen3 x4 of the vendor's machine; about Gen3 x1 of the community's machine."""
SWITCH_S = 0.002


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds. `overhead`: once a burst (several contexts) ; `latency`: of a lone frame (one context)."""

    per_frame: float
    overhead: float = 0.0
    latency: float = 0.0
    switch: float = SWITCH_S


@dataclass(frozen=True, slots=True)
class Row:
    """One network, in ms as the tables print them: (per frame, overhead) by chip and link. `latency` where single."""

    hef_bytes: int
    fast: tuple[float, float]
    slow: tuple[float, float]
    hailo8l: tuple[float, float]
    latency: float = 0.0

    @property
    def contexts(self) -> int:
        """Single-context networks have no overhead; how many contexts the others have is not known."""
        return 1 if self.latency else 4


TABLE: Mapping[str, Row] = {
    "scrfd_2_5g": Row(4_027_374, (0.945, 0), (1.76, 0), (3.22, 0), latency=2.53),
    "scrfd_10g": Row(7_206_072, (2.27, 0), (2.27, 0), (6.71, 0), latency=4.40),
    "arcface_mobilefacenet": Row(4_099_978, (0.193, 0), (0.193, 0), (0.600, 0), latency=1.09),
    "arcface_r50": Row(31_190_468, (1.66, 7.19), (1.66, 26.3), (2.28, 8.49)),
    "tinyclip_vit_39m_16_text_19m_yfcc15m_image_encoder": Row(49_127_796, (2.96, 19.6), (2.96, 50.0), (6.96, 27.9)),
    "tinyclip_vit_39m_16_text_19m_yfcc15m_text_encoder": Row(30_000_000, (2.54, 12.1), (2.54, 30.0), (3.32, 14.7)),
    "clip_vit_b_32_image_encoder": Row(90_000_000, (1.95, 27.2), (1.95, 69.0), (4.04, 29.2)),
    "clip_vit_b_32_text_encoder": Row(40_000_000, (3.93, 26.9), (3.93, 68.6), (7.11, 26.1)),
    "clip_vit_b_16_image_encoder": Row(90_000_000, (4.66, 29.9), (4.66, 76.2), (14.6, 34.4)),
    "clip_vit_b_16_text_encoder": Row(40_000_000, (4.61, 25.2), (4.61, 64.0), (11.3, 27.2)),
    "siglip_b_16_image_encoder": Row(189_897_833, (17.1, 56.4), (17.1, 207.0), (60.5, 67.7)),
    "siglip_b_16_text_encoder": Row(189_000_000, (5.30, 55.3), (5.30, 205.0), (20.9, 53.2)),
    "siglip2_b_32_256_image_encoder": Row(196_662_515, (6.34, 55.4), (6.34, 221.0), (41.3, 50.4)),
    "siglip2_b_32_256_text_encoder": Row(189_000_000, (5.35, 54.9), (5.35, 205.0), (21.1, 56.4)),
    "paddle_ocr_v5_mobile_detection": Row(10_000_000, (27.2, 21.5), (27.2, 47.0), (38.8, 16.2)),
    "paddle_ocr_v5_mobile_recognition": Row(12_000_000, (1.35, 9.58), (2.3, 11.0), (2.07, 10.4)),
}
"""Sizes of the text files, of OCR's and of ViT-B's are guesses; they cost nothing, for these have several contexts.

ViT-B's rows follow from the vendor's frames a second at batches of 1 and 8 (Model Zoo v2.18); on the slow link their
overhead is taken to grow as TinyCLIP's does.
"""


def cost_of(network: str, contexts: int, hef_bytes: int, *, chip: str, link: str) -> Cost:
    """The row of the table; a network without one gets a mild cost of its kind."""
    row = TABLE.get(network)
    if row is None:
        per_frame, overhead, latency = (1.0, 0.0, 2.0) if contexts == 1 else (2.0, 10.0, 0.0)
    else:
        per_frame, overhead = row.hailo8l if chip == "hailo8l" else row.fast if link == "fast" else row.slow
        latency, hef_bytes = row.latency, row.hef_bytes
        if row.latency and contexts > 1:  # an older build with several contexts
            overhead = latency
    # Weights of a single context cross the link at each switch; those of several are in the overhead.
    loading = hef_bytes / LINK_BYTES_PER_S[link] if contexts == 1 else 0.0
    return Cost(per_frame / 1e3, overhead / 1e3, latency / 1e3, SWITCH_S + loading)
