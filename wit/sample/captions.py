"""What is written beside the pictures: true descriptions, and the texts that a caption filter must turn away."""

from __future__ import annotations

from random import Random

from wit.sample.lexicon import COUNTS, NONSENSE, PLACES
from wit.sample.scenes import Group, Scene

_PLURALS = {"cross": "crosses"}
_VOWELS = "aeiou"


def describe(scene: Scene, rng: Random, *, place: bool | None = None, grey: bool = False) -> str:
    """Return a true description of a scene.

    `place`: whether it names a place (None: now and then). `grey`: the picture shows no colours, so none is named.
    """
    text = _sentence(scene, rng, grey)
    if scene.digit and rng.random() < 0.8:
        text += f" and the digit {scene.digit}"
    if place or (place is None and rng.random() < 0.25):
        text = _at_place(text, rng.choice(PLACES), rng)
    return _typeset(text, rng)


def _sentence(scene: Scene, rng: Random, grey: bool) -> str:
    things = [_phrase(group, rng, grey) for group in scene.groups]
    if len(things) == 1 and scene.size and rng.random() < 0.8:
        things[0] = _with_size(things[0], scene.size)
    subject = things[0] if len(things) == 1 else f"{things[0]} {rng.choice(('and', 'and', scene.relation))} {things[1]}"
    background = "a grey background" if grey else f"{_article(scene.background)} {scene.background} background"
    forms = [
        f"{subject} on {background}",
        f"{subject} on {background}",
        f"a picture of {subject} on {background}",
        f"a photo of {subject}",
        f"a drawing of {subject}",
        f"this picture shows {subject}",
        f"{background} with {subject}",
    ]
    if scene.position and not grey:
        forms = [
            f"{subject} {_where(scene.position)} of the picture",
            f"{background} with {subject} {_where(scene.position)}",
        ]
    return rng.choice(forms)


def _where(position: str) -> str:
    return {"left": "on the left", "right": "on the right"}.get(
        position, f"at the {position}" if position != "center" else "in the center"
    )


def _phrase(group: Group, rng: Random, grey: bool) -> str:
    words = [] if grey else [group.colour]
    if group.texture != "plain" and rng.random() < 0.85:
        words.insert(0, group.texture)
    elif group.texture == "plain" and rng.random() < 0.06:
        words.insert(0, "plain")
    if group.count > 1:
        return " ".join([COUNTS[group.count - 1], *words, _PLURALS.get(group.shape, f"{group.shape}s")])
    words.append(group.shape)
    return " ".join(["one" if rng.random() < 0.08 else _article(words[0]), *words])


def _with_size(phrase: str, size: str) -> str:
    head, _, rest = phrase.partition(" ")
    return f"{'one' if head == 'one' else 'a'} {size} {rest}"


def _article(word: str) -> str:
    return "an" if word[0] in _VOWELS else "a"


def _at_place(text: str, place: str, rng: Random) -> str:
    return rng.choice(
        (
            f"{text} in {place}",
            f"{text}, {place}",
            f"{place}: {text}",
            f"{text} near {place}",
            f"{text} ({place})",
            f"{place}'s gallery has {text}",
        )
    )


def _typeset(text: str, rng: Random) -> str:
    """Return the text as people write it: capitals, full stops, ampersands, quotation marks."""
    style = rng.random()
    if style < 0.35:
        return text
    text = text[0].upper() + text[1:]
    if style < 0.65:
        return text
    if style < 0.8:
        return f"{text}."
    if style < 0.87:
        return text.replace(" and ", " & ").replace("'", "’")
    if style < 0.93:
        return f"“{text}”"
    return f"{text} — a small café print" if style < 0.97 else text.upper()


def generic(rng: Random) -> str:
    """Return a true caption of the commonest words alone: each is over the cap when captions are many."""
    return rng.choice(
        (
            "a picture with a background",
            "a photo of a background",
            "a picture of a background",
            "a background and a picture of a background",
            "a photo with a background",
            "a picture on a background",
            "A picture of a photo.",
            "A photo and a background",
        )
    )


def unmatched(rng: Random) -> str:
    """Return a caption of words that no query holds; too short for its language to be judged."""
    return " ".join(rng.sample(NONSENSE, rng.choice((2, 2, 3))))


def faulty(reason: str, index: int, rng: Random) -> str:
    """Return a caption that the text filter must reject with `reason`; `index` makes its numbers differ."""
    if reason == "too_long":
        words = [rng.choice(("a red circle", "two green stars", "the blue ring", "a large heart")) for _ in range(90)]
        return ", ".join(words)
    number = f"{(index * 7919 + rng.randrange(1000)) % 10_000:04d}"
    return rng.choice(_FAULTY[reason]).replace("####", number)


_FAULTY: dict[str, tuple[str, ...]] = {
    "too_short": ("star", "logo", "image", "DSC0####", "photo", "red!", "a b", "星形", "IMG####"),
    "no_letters": (
        "####",
        "12:30",
        "*** --- ***",
        "(####)",
        "2023/05/14",
        "★★★☆☆",
        "+1 555 ####",
        "#### x 480".replace("x", "×"),
    ),
    "camera_name": (
        "IMG_####.jpg",
        "DSC_####.JPG",
        "screenshot-2021-03-####.png",
        "IMG_2023####_101112.jpg",
        "IMG-2021####-WA0007",
    ),
    "date": ("March 4, 2019", "Sunday, 14 May 2023", "12 May 2021, 10:32 am", "2023-05-14T10:32:00Z"),
    "id": ("e3b0c442-98fc-1c14-9afb-4c8996fb####", "Item #1043####", "SKU: 123-####"),
    "file_name": (
        "red-circle-####.jpg",
        "photo_of_orrin_####.jpeg",
        "banner_####x60.gif",
        "P101####.JPG.jpg",
        "blue-star-####.webp",
    ),
    "repetition": (
        "red circle red circle red circle red circle red circle",
        "star star star star star star star",
        "green star #### green star #### green star ####",
    ),
    "boilerplate": (
        "click here",
        "Click to enlarge",
        "Read more",
        "Click here",
        "click to enlarge image",
        "image placeholder",
    ),
    "markup": (
        "<b>red circle</b> on a blue background",
        '<a href="/p/####">two green stars</a>',
        '<img src="####.jpg" alt="a blue ring">',
        '<span class="cap">a pink heart</span>',
        "<p>a large yellow star on a red background</p>",
        "a red circle<br />on a blue background",
    ),
    "language": (
        "Un cercle rouge sur un fond bleu avec deux petites étoiles vertes",
        "Une grande fleur jaune dessinée à côté d’un cœur rose très clair",
        "Cette image montre trois flèches noires et un carré blanc dans le jardin",
        "Ein roter Kreis auf einem blauen Hintergrund mit zwei kleinen grünen Sternen",
        "Dieses Bild zeigt drei schwarze Pfeile und ein weißes Quadrat neben der Blume",
        "Eine große gelbe Blume steht über dem rosa Herzen und lächelt nicht",
        "Un círculo rojo sobre un fondo azul con dos pequeñas estrellas verdes",
        "Esta imagen muestra tres flechas negras y un cuadrado blanco junto a la montaña",
        "Una flor amarilla muy grande al lado de un corazón rosado en la ciudad",
        "Красный круг на синем фоне и две зелёные звезды",
        "Большой жёлтый цветок рядом с розовым сердцем",
        "Um círculo vermelho sobre um fundo azul com duas pequenas estrelas verdes não muito longe",
        "Un cerchio rosso su uno sfondo blu con due piccole stelle verdi della città",
        "青い 背景の 上に 赤い 円が 描かれて います",
        "ένας κόκκινος κύκλος σε μπλε φόντο",
    ),
}
