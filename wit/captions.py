"""What a caption is not: the patterns of file names, markup and boilerplate, and the language of short texts.

Precision comes before recall: a rule that is in doubt lets a caption pass, for the queries select again.
"""

from __future__ import annotations

import re

from wit.text import normalise

_EXTENSION = r"(?:\.(?:jpe?g|jpe|jfif|png|gif|webp|bmp|tiff?|svg|avif|heic|ico|psd|pdf))"
_CAMERA = (
    r"(?:IMG|DSC|DSCN|DSCF|DSC_|_?MG|_DSC|PICT|CIMG|IMGP|IMAG|SAM|GOPR|DJI|PXL|MVI|VID|P|WP|KIMG|HPIM|SNV|SDC"
    r"|Screenshot|Screen Shot|Screen Capture|WhatsApp Image|Scan|Capture|Picture|Image|Photo|Foto|Untitled)"
)
_FILE_NAMES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\S+{_EXTENSION}(?:\?\S*)?",  # any one word with an image's extension
        rf"{_CAMERA}[-_ ]?\(?\d{{3,}}(?:[-_ .:]?(?:\d+|at|AM|PM|WA\d+|[a-z]|copy|edit(?:ed)?|\(\d+\)))*{_EXTENSION}?",
        r"(?:https?://|www\.)\S+",
        r"(?=\S*\d)(?=\S*[a-f])[0-9a-f]{12,}",  # hexadecimal ids: digits and letters in one run
        r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        r"[\w.()%+-]*\d{8,}[\w.()%+-]*",  # a word with a long run of digits: dates with times, ids
        r"[\w.()%+-]*[A-Za-z0-9]_+[A-Za-z0-9][\w.()%+-]*",  # snake_case
        r"(?=.*\d{3})[A-Za-z0-9]+(?:-[A-Za-z0-9]+){2,}",  # a slug with a number of at least three digits
        r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+){4,}",  # a slug longer than "state-of-the-art"
    )
)
"""Each must fit the whole caption."""
_LONGEST_NAME = 1000  # longer than file systems allow; the patterns' time grows with the square

_TAGS = (
    "a|abbr|article|b|big|blockquote|body|br|button|center|cite|code|dd|del|div|dl|dt|em|embed|figure|figcaption|font"
    "|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|li|link|meta|nav|object|ol|p|param|picture|pre|q"
    "|script|section|small|source|span|strike|strong|style|sub|sup|table|tbody|td|th|thead|title|tr|u|ul|video"
)
_MARKUP = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"</?(?:{_TAGS})(?:\s[^<>]{{0,1000}})?/?>",
        r"<!--|<!doctype|<!\[CDATA\[",
        r"\[/?(?:img|url|b|i|u|quote|caption|gallery)(?:[= ][^\[\]]{0,300})?\]",  # BBCode and WordPress
        r"\{\{[^{}]{0,300}\}\}|\{%[^{}]{0,300}%\}|<%[^<>]{0,300}%>|\$\{[^{}]{0,300}\}",  # templates left unfilled
        r"%\([a-z_]+\)s|\[\[[^\[\]]{0,300}\]\]",
    )
)
"""Each may stand anywhere. Tags are named, so that "I <3 you" and "<Artist>" are no markup."""

_PHRASES = frozenset(
    normalise(phrase)
    for phrase in (
        "click here", "click here for more", "click here to enlarge", "click here for larger image",
        "click to enlarge", "click to enlarge image", "click image to enlarge", "click on image to enlarge",
        "click to view", "click to zoom", "click for larger image", "click for more information",
        "click to expand", "click to see more", "enlarge image", "view larger image", "view full size",
        "view full size image", "larger image", "full size image", "see more", "read more", "learn more",
        "find out more", "show more", "load more", "more info", "more information", "view more", "view all",
        "shop now", "buy now", "add to cart", "add to wishlist", "add to basket", "sign up", "sign in", "log in",
        "subscribe now", "download now", "share this", "share on facebook", "share on twitter",
        "share on pinterest", "pin it", "tweet this", "follow us", "follow us on twitter", "follow us on facebook",
        "follow us on instagram", "like us on facebook", "find us on facebook", "contact us", "about us",
        "home page", "back to top", "go to top", "previous page", "next page", "previous image", "next image",
        "main image", "main menu", "open menu", "close menu", "site logo", "company logo", "website logo",
        "header logo", "footer logo", "logo image", "header image", "banner image", "background image",
        "featured image", "thumbnail image", "profile picture", "profile photo", "profile image", "user avatar",
        "avatar image", "image placeholder", "placeholder image", "image not available", "image not found",
        "image unavailable", "image coming soon", "photo coming soon", "no image", "no image available",
        "no photo", "no photo available", "no picture available", "product image", "product photo",
        "product thumbnail", "blog image", "post image", "article image", "image loading", "loading image",
        "lazy image", "default image", "sample image", "your image", "image description", "image alt text",
        "alt text", "image title", "image may contain", "photo credit", "stock photo", "stock image",
        "open in new window", "opens in new window", "opens in a new tab", "skip to content", "facebook icon",
        "twitter icon", "instagram icon", "youtube icon", "linkedin icon", "pinterest icon", "search icon",
        "menu icon", "play button", "close button", "arrow icon", "all rights reserved", "powered by wordpress",
        "advertisement banner",
    )
)  # fmt: skip
_NUMBERED = re.compile(
    r"(?:image|img|photo|picture|pic|slide|figure|fig|thumbnail|thumb|banner|logo|icon|page|screenshot|gallery image"
    r"|product image|untitled)(?: number| no)?(?: \d+)+(?: of \d+)?"
)

_MIN_PERCENT = 85  # of a text that is in one language; below it CLD2 is often misled by names


def has_letters(caption: str) -> bool:
    """Return whether a caption has a letter of any script."""
    return any(map(str.isalpha, caption))


def is_file_name(caption: str) -> bool:
    """Return whether the whole caption is a file's name, an address or an id: IMG_1234.jpg, 4f2a…, red-car-0042."""
    return len(caption) <= _LONGEST_NAME and any(pattern.fullmatch(caption) for pattern in _FILE_NAMES)


def has_markup(caption: str) -> bool:
    """Return whether a caption holds tags, BBCode or a template's residue."""
    if not any(sign in caption for sign in "<[{%$"):
        return False
    return any(pattern.search(caption) for pattern in _MARKUP)


def is_boilerplate(words: str) -> bool:
    """Return whether a caption, given in its normal form, is a phrase of the page's machinery: click here, image 3."""
    return words in _PHRASES or _NUMBERED.fullmatch(words) is not None


def language_of(caption: str) -> str | None:
    """Return the language (ISO 639) that CLD2 is sure a caption is in, or None when it is not sure.

    Of 9,189 alt texts of LAION-400M of four words and more (nearly all English), it calls 15 surely foreign: 6 of them
    wrongly, by names. At their most likely language py3langid calls 2,608 foreign, fastText's lid.176.ftz 948.
    """
    import pycld2

    try:
        is_reliable, _, ranked = pycld2.detect(caption)
    except pycld2.error:  # characters that are not for interchange
        return None
    _, code, percent, _ = ranked[0]
    return str(code) if is_reliable and code != "un" and percent >= _MIN_PERCENT else None
