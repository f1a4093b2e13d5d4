"""The languages of text models, what each reads, and which of those letters the served networks lack.

Sources: the options of Immich's OCR settings (since 2.2; PP-OCRv6 since 3.3) and its official worker's list of Paddle
models; the further language builds of PP-OCRv5 that PaddleOCR publishes. What a network lacks was looked up in its list
of characters, and a test looks again.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text model reads, in words.

    `lacks`: some of the letters that it takes and no text model of ours has; "" where nothing is lacking, so that one
    may answer. `nearest`: the value of OCR_MODEL that comes nearest, if not all lack the same; `others_lack`: some of
    the letters that the others lack.
    """

    words: str
    lacks: str = ""
    nearest: str = ""
    others_lack: str = ""


LANGUAGES: dict[str, Reading] = {
    "CH": Reading("Chinese, Japanese and English"),
    "EN": Reading("English"),
    # Immich's
    "LATIN": Reading(
        "the languages in Latin letters (French, Polish, Turkish, Vietnamese and so on)",
        "ạảấầẩậắằ",
        nearest="ppocrv6_small",
        others_lack="ïœÀÊÑőűĄśźďťĞİơạ",
    ),
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
