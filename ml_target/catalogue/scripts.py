"""The names of text models, what each reads, and which of those letters the served network lacks.

Sources: the options of Immich's OCR settings (since 2.2) and its official worker's list of Paddle models; the further
language builds of PP-OCRv5 that PaddleOCR publishes; PP-OCRv6, which has been proposed for Immich
(immich-app/immich#29743). What the served dictionary lacks was looked up in it, and a test looks again.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text model reads, in words.

    `lacks`: some of the letters that it takes and that are not in the served network's dictionary (18,383 characters);
    "" where nothing is lacking, so that the served network may answer.
    """

    words: str
    lacks: str = ""


_CHINESE = Reading("Chinese, Japanese and English")
_LATIN = Reading("the languages in Latin letters (French, Polish, Turkish and so on)", "ïœÀÊÑőűĄśźďťĞİơạ")

MODELS: dict[str, Reading] = {
    "PP-OCRv5_mobile": _CHINESE,
    "PP-OCRv5_server": _CHINESE,
    "PP-OCRv6_tiny": _LATIN,
    "PP-OCRv6_small": _LATIN,
    "PP-OCRv6_medium": _LATIN,
}
"""A model's name, or the part of it after a language and two underscores."""

LANGUAGES: dict[str, Reading] = {
    "CH": _CHINESE,
    "EN": Reading("English"),
    # Immich's
    "LATIN": _LATIN,
    "EL": Reading("Greek and English", "άέήίόύώς"),
    "ESLAV": Reading("Russian, Belarusian, Ukrainian and English", "бгдежзийкмнпуфхцчшщъыьэюіїєў"),
    "KOREAN": Reading("Korean and English", "가나다한국어"),
    "TH": Reading("Thai and English", "กขคงจ"),
    # PaddleOCR's others
    "ARABIC": Reading("Arabic, Persian, Urdu and so on", "ابتثجح"),
    "CYRILLIC": Reading("the languages in Cyrillic letters", "бгдежзийкмнпуфхцчшщъыьэю"),
    "DEVANAGARI": Reading("Hindi, Marathi, Nepali and so on", "अआइकखग"),
    "TA": Reading("Tamil and English", "அஆக"),
    "TE": Reading("Telugu and English", "అఆక"),
}
"""What stands before two underscores: `LATIN__PP-OCRv5_mobile`."""

OFFERED = (
    "PP-OCRv5_server",
    "PP-OCRv5_mobile",
    "EN__PP-OCRv5_mobile",
    "EL__PP-OCRv5_mobile",
    "KOREAN__PP-OCRv5_mobile",
    "LATIN__PP-OCRv5_mobile",
    "ESLAV__PP-OCRv5_mobile",
    "TH__PP-OCRv5_mobile",
    "CH__PP-OCRv5_mobile",
    "CH__PP-OCRv5_server",
)
"""The names that Immich's settings offer, and the two more that its own worker knows."""
