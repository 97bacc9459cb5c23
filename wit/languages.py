"""The language of a short caption, told only when it is sure: by its script, by plain English words, by CLD2.

Captions are short, and full of names: detectors guess. Three steps, each of which may only say what it is sure of:

1. *Script.* When at least 60 % of the letters are of scripts in which none of the wanted languages is written, the
   caption is foreign, however short. The detail names the script (ISO 15924) and the share: "Cyrl 88".
2. *Plain English.* When English is wanted, all letters are ASCII, no word is one of `FOREIGN_WORDS`, and enough words
   are `ENGLISH_WORDS`, the caption is not foreign. This is what keeps most English captions from the detector.
3. *CLD2*, from four words on: foreign when it says that it is reliable and gives at least 85 % of the text to one
   language that is not wanted. The detail is that language (ISO 639) and the percentage: "de 97".
"""

from __future__ import annotations

import re
from bisect import bisect_right

MIN_WORDS = 4
_MIN_PERCENT = 85  # of a text that is in one language; below it CLD2 is often misled by names
_MIN_SCRIPT_PERCENT = 60  # of the letters; a name or two of another script is no foreign caption
_MAX_CHARS = 4000  # of a caption that are looked at: its time is bounded, and its language known long before

_SCRIPTS = (  # first code point, last, ISO 15924; letters and the marks that words of these scripts need
    (0x0370, 0x03FF, "Grek"), (0x0400, 0x052F, "Cyrl"), (0x0530, 0x058F, "Armn"), (0x0590, 0x05FF, "Hebr"),
    (0x0600, 0x06FF, "Arab"), (0x0750, 0x077F, "Arab"), (0x0900, 0x097F, "Deva"), (0x0980, 0x09FF, "Beng"),
    (0x0A00, 0x0A7F, "Guru"), (0x0A80, 0x0AFF, "Gujr"), (0x0B00, 0x0B7F, "Orya"), (0x0B80, 0x0BFF, "Taml"),
    (0x0C00, 0x0C7F, "Telu"), (0x0C80, 0x0CFF, "Knda"), (0x0D00, 0x0D7F, "Mlym"), (0x0D80, 0x0DFF, "Sinh"),
    (0x0E00, 0x0E7F, "Thai"), (0x0E80, 0x0EFF, "Laoo"), (0x0F00, 0x0FFF, "Tibt"), (0x1000, 0x109F, "Mymr"),
    (0x10A0, 0x10FF, "Geor"), (0x1100, 0x11FF, "Hang"), (0x1200, 0x137F, "Ethi"), (0x1780, 0x17FF, "Khmr"),
    (0x1F00, 0x1FFF, "Grek"), (0x3041, 0x30FF, "Jpan"), (0x3130, 0x318F, "Hang"), (0x3400, 0x4DBF, "Hani"),
    (0x4E00, 0x9FFF, "Hani"), (0xAC00, 0xD7AF, "Hang"), (0xF900, 0xFAFF, "Hani"), (0xFB50, 0xFDFF, "Arab"),
    (0xFE70, 0xFEFC, "Arab"), (0xFF66, 0xFF9F, "Jpan"), (0x20000, 0x323AF, "Hani"),
)  # fmt: skip
_STARTS = tuple(first for first, _, _ in _SCRIPTS)
_WRITTEN_IN = {
    "Grek": "el", "Cyrl": "ru uk bg sr mk be kk ky mn tg tt ba cv os ab ce uz bs", "Armn": "hy", "Hebr": "he iw yi",
    "Arab": "ar fa ur ps ug sd ku ckb", "Deva": "hi mr ne sa bh", "Beng": "bn as", "Guru": "pa", "Gujr": "gu",
    "Orya": "or", "Taml": "ta", "Telu": "te", "Knda": "kn", "Mlym": "ml", "Sinh": "si", "Thai": "th", "Laoo": "lo",
    "Tibt": "bo dz", "Mymr": "my", "Geor": "ka", "Hang": "ko", "Ethi": "am ti", "Khmr": "km", "Jpan": "ja",
    "Hani": "zh zh-Hant ja ko yue",
}  # fmt: skip
_BEYOND_LATIN = re.compile("[^\x00-\u036f\u1e00-\u1eff\u2000-\u2bff\u3000-\u3040\ufe00-\ufe0f\uff00-\uff5f]")

ENGLISH_WORDS = frozenset(
    (
        # function words
        "the of and with for from by your you our my this that these those what how when where who which why is are was"
        " were has have had will can not at out up off over into about after before between through against its his her"
        " they we their it all more most how best new old great good only just other another every each both first"
        " second next last own same than then there here very back down under while until without near"
        # what captions are made of
        " black white red blue green pink yellow brown purple grey gray orange gold silver dark light bright colorful"
        " woman women womens men mens man girl girls boy boys kids child children people young little big small large"
        " long short high low free hot cold cool cute beautiful happy funny easy simple classic vintage antique modern"
        " stock photo photos photograph photography image images picture pictures illustration drawing painting print"
        " prints printable wall art artwork poster canvas background wallpaper pattern cover book books card cards sign"
        " dress shirt shirts sleeve skirt pants shorts shoes boots sweater jacket coat hat gloves leather cotton wool"
        " silk lace bag bags case necklace earrings bracelet ring rings jewelry watch glasses sunglasses hair face hand"
        " house home homes room bedroom kitchen bathroom living dining table chair bed door window floor furniture"
        " garden tree trees flower flowers leaf water sea beach lake river mountain mountains sky sun sunset snow rain"
        " night day days morning summer winter spring autumn fall season week year years birthday wedding christmas"
        " halloween easter party gift gifts food cake cup coffee tea cream chocolate recipe recipes fruit chicken bowl"
        " plate glass bottle wood wooden steel stainless metal iron stone paper plastic fabric handmade cut made set"
        " dog dogs cat cats horse bird birds fish bear animal animals baby family friends school student students"
        " street road city town park bridge building buildings church island country world north south east west"
        " car cars truck bike engine wheel wheels ship boat aircraft airport train machine tool tools power electric"
        " phone camera screen screenshot keyboard battery charger wireless software game games play player playing team"
        " football soccer basketball baseball golf racing race music song songs guitar band album dance movie film"
        " show season tour live news business office work working company service services shop store sale buy price"
        " wholesale shipping quality heavy duty safety health care fitness body skin eye eyes head heart hands feet foot"
        " king queen royal star stars moon fire ice air earth space love life time things ideas design designs style"
        " guide review tips tutorial learning training project plan map chart flag shower curtain pillow blanket rug"
        " lamp lighting bulb tile tiles bench cabinet shelf drawer box boxes holder stand rack mount pack piece pieces"
        " inch size round square wide white single double triple left right front rear side top bottom inside outside"
        " wearing standing sitting walking running holding smiling looking making"
    ).split()
)
"""Words that are English and hardly ever a word of another language that is written in ASCII."""

FOREIGN_WORDS = frozenset(
    (
        "de la le les el los las il lo gli una uno un une du des et en y e o da do dos das di del della dei delle al"
        " der die das und ein eine einer eines mit von zu zum zur im auf ist nicht fur aus bei den dem"
        " van het een voor naar op met zijn niet te og av til med pa som ikke er och att det ett pour par sur dans avec"
        " sans por para con sin sobre como que per nel nella su dan yang untuk dengan dari ini itu pada ke w na z do nie"
        " jest ve ile bir icin za od je su si pe cu ca nu este sa és az egy ang ng mga ya wa kwa katika est sont qui"
        " och pra em na no nas nos com sem mais muy mas"
    ).split()
)
"""Words of languages that are written (nearly) in ASCII; some are parts of names, which then are for the detector."""


def foreign_language(caption: str, words: str, languages: tuple[str, ...]) -> str | None:
    """Return what a caption surely is, when it is in none of `languages`: "de 97" or "Cyrl 88"; None: in doubt, or not.

    `words` is the caption's normal form; no `languages` means that every language is wanted.
    """
    if not languages:
        return None
    script = _foreign_script(caption[:_MAX_CHARS], languages)
    if script is not None:
        return script
    found = words.split(maxsplit=_MAX_CHARS)
    if len(found) < MIN_WORDS or ("en" in languages and is_plain_english(caption, found)):
        return None
    language = language_of(caption[:_MAX_CHARS])
    return None if language is None or language[0] in languages else f"{language[0]} {language[1]}"


def is_plain_english(caption: str, words: list[str]) -> bool:
    """Return whether a caption is surely not foreign by its words: ASCII letters, enough English, nothing else listed.

    Enough is one word of four.
    """
    if not FOREIGN_WORDS.isdisjoint(words) or not _has_ascii_letters_only(caption):
        return False
    return 4 * sum(word in ENGLISH_WORDS for word in words) >= len(words)


def _has_ascii_letters_only(caption: str) -> bool:
    return caption.isascii() or not any(char > "\x7f" and char.isalpha() for char in caption)


def _foreign_script(caption: str, languages: tuple[str, ...]) -> str | None:
    """Return the commonest of the foreign scripts and the share of all of them, if it is high enough."""
    if not _BEYOND_LATIN.search(caption):
        return None
    counts: dict[str, int] = {}
    for char in caption:
        script = script_of(char)
        if script is not None:
            counts[script] = counts.get(script, 0) + 1
    foreign = {
        script: count
        for script, count in counts.items()
        if script == "Latn" and False or script in _WRITTEN_IN and not set(_WRITTEN_IN[script].split()) & set(languages)
    }
    percent = 100 * sum(foreign.values()) // max(1, sum(counts.values()))
    return f"{max(foreign, key=lambda script: (foreign[script], script))} {percent}" if percent >= _MIN_SCRIPT_PERCENT else None


def script_of(char: str) -> str | None:
    """Return the script of a letter (ISO 15924; "Latn" for every letter of no listed script), None for the rest."""
    index = bisect_right(_STARTS, ord(char)) - 1
    if index >= 0 and ord(char) <= _SCRIPTS[index][1]:
        return _SCRIPTS[index][2]
    return "Latn" if char.isalpha() else None


def language_of(caption: str) -> tuple[str, int] | None:
    """Return the language (ISO 639) that CLD2 is sure a caption is in and its percentage, None when it is not sure."""
    import pycld2

    try:
        is_reliable, _, ranked = pycld2.detect(caption)
    except pycld2.error:  # characters that are not for interchange
        return None
    _, code, percent, _ = ranked[0]
    return (str(code), int(percent)) if is_reliable and code != "un" and percent >= _MIN_PERCENT else None
