"""The language of a short caption, told only when it is sure: by its script, or by CLD2 and the words themselves.

Captions are short and full of names, and detectors guess: of 60 English captions with foreign names that were composed
for the tests CLD2 calls 14 foreign and is "reliable" about them. So a caption is foreign only when one of these holds:

1. *Script.* At least 60 % of its letters are of scripts in which none of the wanted languages is written, however
   short it is; Han, kana and Hangul letters count twice. The detail is the script (ISO 15924) and the share: "Cyrl 88".
2. *Detector.* From four words on, where the words *bear witness*: there are more foreign words (`FOREIGN_WORDS`, or a
   letter beyond ASCII) than English ones (`ENGLISH_WORDS`), they do not read as a name, and CLD2 is reliable
   and gives at least 85 % of the text to a language that is not wanted. The detail is the language (ISO 639): "de 97".
3. *Words.* As 2, when English alone is wanted, but CLD2 takes it for English or does not know, while at least 40 % of
   the words are foreign, two of them listed and three in all, and none is English. The detail is "und" (undetermined)
   and the share: "und 50".

What is not asked cannot be told: titles without a listed word ("Herren Winterjacke schwarz") pass. Where English is not
wanted, the words are not asked and CLD2 decides alone; it takes near relatives for each other (Danish and Norwegian,
Indonesian and Malay), so keep both of such a pair.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter

MIN_WORDS = 4
_ENGLISH = ("en", "sco")  # what CLD2 takes for Scots are English captions with names
_MIN_PERCENT = 85  # of a text that is in one language; below it CLD2 is often misled by names
_MIN_WORDS_PERCENT = 40
MIN_SCRIPT_PERCENT = 60  # of the letters; a name or two of another script is no foreign caption
MAX_CHARS = 4000  # of a caption that are looked at: its time is bounded, and its language known long before

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
WRITTEN_IN = {
    "Grek": "el", "Cyrl": "ab ba be bg bs kk ky mk mn ru sr tg tk tt ug uk uz", "Armn": "hy", "Hebr": "he yi",
    "Arab": "ar az fa ks ku ky ps sd ug ur uz", "Deva": "bh hi ks mr ne sa sd", "Beng": "as bn", "Guru": "pa",
    "Gujr": "gu", "Orya": "or", "Taml": "ta", "Telu": "te", "Knda": "kn", "Mlym": "ml", "Sinh": "si", "Thai": "th",
    "Laoo": "lo", "Tibt": "bo dz", "Mymr": "my", "Geor": "ab ka", "Hang": "ko", "Ethi": "am om ti", "Khmr": "km",
    "Jpan": "ja", "Hani": "ja ko zh",
}  # fmt: skip
DENSE_SCRIPTS = frozenset({"Hani", "Jpan", "Hang"})  # a letter of these says about as much as two of an alphabet
_LETTERS = re.compile(r"[^\W\d_]+")
BEYOND_LATIN = re.compile("[^\x00-\u036f\u1e00-\u1eff\u2000-\u2bff\u3000-\u3040\ufe00-\ufe0f\uff00-\uff5f]")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


LANGUAGES = _words(
    "aa ab af ak am ar as ay az ba be bg bh bi bn bo br bs ca co cs cy da de dv dz el en eo es et eu fa fi fj fo fr "
    "fy ga gd gl gn gu gv ha he hi hr ht hu hy ia id ie ig ik is it iu ja jv ka kk kl km kn ko ks ku ky la lb lg ln "
    "lo lt lv mg mi mk ml mn mr ms mt my na ne nl no nr ny oc om or pa pl ps pt qu rm rn ro ru rw sa sd sg si sk sl "
    "sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt ug uk ur uz ve vi vo wo xh yi yo za zh zu"
)
"""What CLD2 tells apart, in codes of ISO 639-1."""
_CODES = {"iw": "he", "jw": "jv", "nn": "no", "zh-Hant": "zh"}  # CLD2's older names, and what it tells apart

ENGLISH_WORDS = frozenset(
    _words(
        "the of and with for from by your you our my this that these those what how when where who which why is are "
        "was were has have had will can not at on in to out up off over into about after before between through "
        "against its his her they we their it all more most new another every each other both first last own same "
        "than then there here very back down under while until without near best old great good free stock photo "
        "photos photography image images picture illustration vector black white red blue green pink yellow brown "
        "gray grey gold silver woman women womens men mens man girl girls boy boys kids children dress shirt sleeve "
        "shoes leather cotton wedding birthday christmas house home room bedroom kitchen bathroom book cover card "
        "cards poster print prints vintage water beach night light day recipe"
    )
)
"""English words in normal form that hardly any other language has, or that stand in most English captions."""

FOREIGN_WORDS = frozenset(
    _words(
        # Romance languages
        "de la le les el las il lo gli una uno une unos unas du des et un y del della dei delle degli dello nel "
        "nella nei dal dalla alla sul sulla con para por pour sur dans avec sans sous chez par sont qui que como "
        "das dos ao aos nas nos uma sem mais muy sus este esta ou aux cette ces leur vers entre sobre hasta desde "
        "din pentru di da amb dels "
        # Germanic languages
        "der die das und ein eine einer eines einem einen mit von vom zum zur im auf ist sind nicht aus bei dem "
        "nach vor sie ihr wie auch oder als nur noch zu het een voor naar zijn niet van uit bij aan maar ook och "
        "att det ett som med pa av fran og ikke til ved fra ei en "
        # Slavic, Baltic, Hungarian and Turkish
        "nie jest dla od po przez oraz za ze se iz egy nem ve ile bir icin olan na "
        # Malay, Tagalog, Swahili
        "dan yang untuk dengan dari ini itu pada di atas dalam oleh ang ng mga ay isang kwa katika"
    )
)
"""Short words of languages that are written (nearly) in ASCII. Many stand in names, too: they only bear witness."""
_LISTED = ENGLISH_WORDS | FOREIGN_WORDS
_LOANWORDS = frozenset(
    _words(
        "appliqué blasé brûlée café cafés château châteaux cliché clichés consommé cortège crème crêpe crêpes "
        "d'état décolletage décor découpage déjà entrée entrées exposé façade façades fiancé fiancée flambé frappé "
        "fête gruyère jalapeño jalapeños lamé macramé matinée moiré mâché naïve niçoise née passé piqué piñata "
        "piñatas pokémon première protégé purée pâté père rosé roué résumé sauté señor señora señorita smörgåsbord "
        "smørrebrød soirée sommelière soufflé séance touché voilà éclair éclairs élite über"
    )
)
"""English words that may be written with their accents, as in "a white café"; they bear no witness."""


def foreign_language(caption: str, words: str, languages: tuple[str, ...]) -> str | None:
    """Return what a caption surely is, when it is in none of `languages`: "de 97" or "Cyrl 88"; None: in doubt, or not.

    `words` is the caption's normal form; no `languages` means that every language is wanted.
    """
    if not languages:
        return None
    script = _foreign_script(caption[:MAX_CHARS], languages)
    return foreign_by_words(caption, words, languages) if script is None else script


def foreign_by_words(caption: str, words: str, languages: tuple[str, ...]) -> str | None:
    """Return what `foreign_language` does of a caption whose script says nothing; `languages` are not empty."""
    found = words[:MAX_CHARS].split()
    if len(found) < MIN_WORDS:
        return None
    caption = caption[:MAX_CHARS]
    if "en" in languages:
        return _foreign_by_witness(caption, found, languages)
    language = language_of(caption)
    return None if language is None or language[0] in languages else f"{language[0]} {language[1]}"


def witness(words: list[str]) -> tuple[int, int, int]:
    """Return how many words (in normal form) are listed as foreign, foreign by list or letter, and English."""
    listed = sum(map(FOREIGN_WORDS.__contains__, words))
    others = [word for word in words if not word.isascii()]
    lettered = sum(word not in FOREIGN_WORDS and word not in _LOANWORDS for word in others)
    return listed, listed + lettered, sum(map(ENGLISH_WORDS.__contains__, words))


def _foreign_by_witness(caption: str, words: list[str], languages: tuple[str, ...]) -> str | None:
    listed, foreign, english = witness(words)
    if foreign <= english or _reads_as_name(caption):
        return None
    language = language_of(caption)
    if language is not None and language[0] not in _ENGLISH:
        return None if language[0] in languages else f"{language[0]} {language[1]}"
    percent = 100 * foreign // len(words)
    is_foreign = (
        languages == ("en",) and english == 0 and listed >= 2 and foreign >= 3 and percent >= _MIN_WORDS_PERCENT
    )
    return f"und {percent}" if is_foreign else None


def _reads_as_name(caption: str) -> bool:
    """Return whether a caption may be a name: "Palacio de la Moneda, Santiago de Chile", "Ludwig Mies van der Rohe".

    In a name no word is in small letters but the listed ones. Where two of the listed have capitals, too (the first
    word aside), capitals say nothing.
    """
    words: list[str] = _LETTERS.findall(caption)
    if any(word[0].islower() and len(word) > 2 and word.lower() not in _LISTED for word in words):
        return False
    return sum(word[0].isupper() and word.lower() in FOREIGN_WORDS for word in words[1:]) < 2


def _foreign_script(caption: str, languages: tuple[str, ...]) -> str | None:
    """Return the commonest of the foreign scripts and the share of all of them, if it is high enough."""
    if not BEYOND_LATIN.search(caption):
        return None
    counts = Counter(filter(None, map(script_of, caption)))
    for script in DENSE_SCRIPTS & counts.keys():
        counts[script] *= 2
    foreign = {script: num for script, num in counts.items() if is_unwanted(script, languages)}
    percent = 100 * sum(foreign.values()) // max(1, counts.total())
    if percent < MIN_SCRIPT_PERCENT:
        return None
    return f"{max(foreign, key=lambda script: (foreign[script], script))} {percent}"


def is_unwanted(script: str, languages: tuple[str, ...]) -> bool:
    """Return whether none of `languages` is written in a script; that of Latin letters is never unwanted."""
    return script != "Latn" and set(languages).isdisjoint(WRITTEN_IN[script].split())


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
    return (
        (_CODES.get(code, str(code)), int(percent))
        if is_reliable and code != "un" and percent >= _MIN_PERCENT
        else None
    )
