"""filter_text: each rule rejects what it names, and lets real captions pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.stages.filter_text import BLOCKED_DOMAIN, BLOCKED_URL, LEARNED, FilterText
from tests.support import real_data, run_map
from wit.errors import InputError
from wit.keys import sample_key
from wit.languages import language_of

REJECTED = {
    "no_letters": ["1234", "12:30", "★★★☆☆", "(2020)", "480 × 640"],
    "too_short": ["dog", "a b", "図", "IMG_", "4f2a9c81de7743b0"],
    "too_long": ["a dog " * 200],
    "camera_name": [
        "IMG_1234.jpg",
        "DSC_0042.JPG",
        "DSC_0042",
        "IMG-20210304-WA0001",
        "P101 1234.JPG",
        "P1610088.jpg",
        "Screenshot 20210304-101112",
        "Screen Shot 2021-03-04 at 10.11.12 AM",
        "image 20210304 (1).png",
    ],
    "date": [
        "May 5, 2019",
        "Posted on 12 March 2016",
        "10:30 PM",
        "Sunday 12/03/2018",
        "2010-01-12T17:00:00Z",
        "June 14 2016 - 10 AM to 5 PM",
    ],
    "id": [
        "9f1b2c3d-0a1b-4c2d-8e3f-001122334455",
        "ISBN 9780415662826",
        "SKU: AB-1234",
        "Item # 12345",
        "8R0941597C 8R0-941-597-C",
        "WB31K10026+12345678",
    ],
    "file_name": [
        "waiting-for-the-finals-21770793",
        "red-circle-0042.jpg",
        "a_red_dog",
        "https://x.example/a",
        "red-wool-coat-black-0",
        "mount-everest-1280",
        "best-pump-review-ever",
        "holiday-travel-tips",
        "photo.final.webp?w=300",
        "Fox Crochet Hat.jpg",
        "What now? Fox.jpg",
        "2017_Ford_Edge_SEL_ Roseville MN",
    ],
    "markup": [
        "<b>a red dog</b> in rain",
        "a dog<br />in rain",
        'see <a href="/x">a dog</a>',
        "a dog [img=x.png] here",
        "Hello {{ user.name }}",
        "a dog <!-- x -->",
        "Hi %(name)s there",
        "${title} of the page",
        "<script src=x>dog</script>",
    ],
    "boilerplate": [
        "Click here",
        "click to enlarge!",
        "Read more...",
        "Image 3",
        "Slide 2 of 10",
        "No image available",
        "Site logo",
        "4.5 out of 5 stars",
    ],
    "repetition": [
        "row row row row your boat",
        "cream living rooms casual cream living room living rooms living room",
        "pink pillow,Kilim Pillow,Handmade Cushion Cover,Couch Pillow,sofa pillow",
    ],
    "language": [
        "Ein roter Kreis auf einem blauen Hintergrund",
        "Un cercle rouge sur un fond bleu",
        "Le chat dort sur le canapé du salon",
        "Красный круг на синем фоне",
        "Красный круг",
    ],
}

PASSED = [
    "a dog",
    "St. Louis, MO",
    "state-of-the-art",
    "mother-in-law's",
    "I <3 my dog",
    "x < y > z",
    "a dog & a cat",
    "COVID-19",
    "Boeing 747-400 at LAX",
    "hip-hop dancers",
    "AC/DC",
    "Toyota Corolla 2019",
    "5% off [sale]",
    "12-year-old boy",
    "Chapter 3 of the book",
    "Logo of the club",
    "Kohei Hasegawa",
    "Roter Kreis, blau",
    "star wars",
    "Figure skating 2018",
    "50% (half)",
    "Picture of a photo",
    "May Day",
    "Friday the 13th",
    "August Jack (107 yrs)",
    "Tesla Model 3",
    "Chanel No. 5",
    "Lot 18",
    "A320 B737",
    "one-of-a-kind",
    "Stow-on-the-Wold",
    "[I]t was a dog",
    "100%name brand",
    "New York, New York",
    "Love Comes Softly (Love Comes Softly, #1)",
    "Peak AQI - https://x.example/peak.jpg",
    "Palacio de la Moneda, Santiago de Chile",
    "Ludwig Mies van der Rohe, Barcelona Pavilion",
]


@pytest.mark.parametrize("reason", REJECTED)
def test_each_reason_rejects_what_it_names(reason: str) -> None:
    """The first rule that fits gives the reason; the fixed order makes it unique."""
    judge = FilterText().rules().judge
    assert {caption: judge(caption) for caption in REJECTED[reason]} == dict.fromkeys(REJECTED[reason], reason)


def test_every_reason_is_shown_here() -> None:
    """The examples cover the documented reasons of captions, in their order; the others have their tests below."""
    assert [BLOCKED_DOMAIN, BLOCKED_URL, *REJECTED, LEARNED] == list(FilterText.reasons)


@pytest.mark.parametrize("caption", PASSED)
def test_captions_that_only_look_odd_pass(caption: str) -> None:
    """Precision before recall."""
    assert FilterText().rules().judge(caption) is None


@pytest.mark.parametrize("reason", REJECTED)
def test_a_skipped_reason_rejects_nothing(reason: str) -> None:
    """`skip` switches a rule off, and only that one."""
    judge = FilterText(skip=(reason,)).rules().judge
    assert reason not in {judge(caption) for caption in REJECTED[reason]}
    others = [caption for name in REJECTED for caption in REJECTED[name] if name != reason]
    assert {caption: judge(caption) for caption in others} == {
        caption: FilterText().rules().judge(caption) for caption in others
    }


def test_settings_are_limits() -> None:
    """Numbers are the first that pass; other languages can be kept."""
    assert FilterText(min_words=3).rules().judge("red dog") == "too_short"
    assert FilterText(min_words=1, min_chars=3).rules().judge("dog") is None
    assert FilterText(max_chars=8).rules().judge("a red dog") == "too_long"
    assert FilterText(max_chars=9).rules().judge("a red dog") is None
    assert FilterText(languages=("de", "en")).rules().judge("Ein roter Kreis auf einem blauen Hintergrund") is None
    assert FilterText(languages=()).rules().judge("Ein roter Kreis auf einem blauen Hintergrund") is None


def test_language_is_told_only_when_sure() -> None:
    """Names alone, mixtures and characters that are not for interchange have no sure language."""
    assert language_of("Secretary of State Hillary Rodham Clinton") is None
    assert (language_of("a dog \ufffe in the rain") or ("en",))[0] == "en"
    assert (language_of("two dogs are running in the rain") or ("",))[0] == "en"


def pair(caption: str, url: str = "http://u.example/1.jpg", page_url: str | None = None) -> dict[str, Any]:
    """A row of PAIRS."""
    return {
        "key": sample_key(url, caption),
        "bucket": 0,
        "rank": 5,
        "url": url,
        "caption": caption,
        "page_url": page_url,
        "archive": "a",
        "offset": 1,
        "attribute": "img@alt",
        "num_occurrences": 2,
    }


def rejects_of(stage: FilterText, rows: list[dict[str, Any]]) -> list[tuple[str, str | None] | None]:
    """Return reason and detail of each row, None for those that are kept; every row is in one place, in order."""
    written = run_map(stage, rows, batch_rows=3)
    found = {row["key"]: (row["reason"], row["detail"]) for row in written["rejects"].to_pylist()}
    assert written["kept"].to_pylist() == [row for row in rows if row["key"] not in found]
    assert [row["key"] for row in written["rejects"].to_pylist()] == [row["key"] for row in rows if row["key"] in found]
    return [found.get(row["key"]) for row in rows]


def test_rows_are_kept_or_rejected_once() -> None:
    """Kept rows are unchanged and in order; each other row is one reject with its key, and what was found."""
    captions = ["a red dog", "dog", "IMG_1234.jpg", "two dogs", "Click here!", "Красный круг на синем фоне"]
    found = rejects_of(FilterText(learned_min_hosts=0), [pair(caption) for caption in captions])
    assert found[:5] == [None, ("too_short", None), ("camera_name", None), None, ("boilerplate", "click here")]
    assert found[5] == ("language", "Cyrl 100")


@pytest.fixture
def lists(tmp_path: Path) -> dict[str, tuple[str, ...]]:
    """A list of domains and one of patterns."""
    (tmp_path / "domains.txt").write_text("bad.example\nads.other.example # also images\n")
    (tmp_path / "urls.txt").write_text("/pixel.gif\n/banner*.png?\n")
    return {
        "blocked_domains": (str(tmp_path / "domains.txt"),),
        "blocked_urls": (str(tmp_path / "urls.txt"),),
    }


def test_blocked_addresses_are_rejected(lists: dict[str, tuple[str, ...]]) -> None:
    """Of the image or its page; a domain goes with its subdomains and before a pattern, both before the caption."""
    good = "http://good.example/a.jpg"
    rows = [
        pair("a red dog", "http://bad.example/1.jpg"),
        pair("a red dog", "http://img.BAD.example:80/1.jpg"),
        pair("a red dog", good, "https://www.ads.other.example/"),
        pair("a red dog", "http://notbad.example/1.jpg", "http://other.example/bad.example"),
        pair("a red dog", "http://x.example/pixel.gif?1"),
        pair("a red dog", "http://x.example/1.jpg", "http://x.example/banner-1.png?2"),
        pair("a red dog", "http://x.example/2.jpg", "http://x.example/banner-1.png"),
        pair("dog", "http://bad.example/pixel.gif"),
        pair("dog", "http://x.example/pixel.gif"),
        pair("dog", "http://x.example/1.gif"),
    ]
    bad, other = (BLOCKED_DOMAIN, "bad.example"), (BLOCKED_DOMAIN, "ads.other.example")
    pixel, banner = (BLOCKED_URL, "/pixel.gif"), (BLOCKED_URL, "/banner*.png?")
    expected = [bad, bad, other, None, pixel, banner, None, bad, pixel, ("too_short", None)]
    assert rejects_of(FilterText(learned_min_hosts=0, **lists), rows) == expected
    skipped = rejects_of(FilterText(learned_min_hosts=0, skip=(BLOCKED_DOMAIN,), **lists), rows)
    assert skipped == [None, None, None, *expected[3:7], pixel, *expected[8:]]


def test_lists_are_inputs_of_the_run(lists: dict[str, tuple[str, ...]], tmp_path: Path) -> None:
    """A run is another when a list is; a line that is none is told before anything is read."""
    assert FilterText(**lists).inputs() == (*lists["blocked_domains"], *lists["blocked_urls"])
    assert FilterText().inputs() == ()
    (tmp_path / "domains.txt").write_text("http://bad.example/\n")
    with pytest.raises(InputError, match=r"domains\.txt:1: expected a domain"):
        FilterText(**lists).inputs()


def test_a_list_that_changes_is_read_anew(lists: dict[str, tuple[str, ...]], tmp_path: Path) -> None:
    """What a process remembers of a list is what it holds, not its name."""
    row = pair("a red dog", "http://bad.example/1.jpg")
    stage = FilterText(learned_min_hosts=0, **lists)
    assert rejects_of(stage, [row]) == [(BLOCKED_DOMAIN, "bad.example")]
    (tmp_path / "domains.txt").write_text("worse.example\n")
    assert rejects_of(stage, [row]) == [None]


def test_human_captions_pass() -> None:
    """All 400 captions of COCO and all 241 alt texts of a textbook stay."""
    coco = json.loads(real_data("image_text", "coco-mini", "captions_train2017.json").read_text())["annotations"]
    lines = real_data("image_text", "openstax-introduction-anthropology", "pairs.jsonl").read_text().splitlines()
    captions = [each["caption"] for each in coco] + [json.loads(line)["alt"] for line in lines]
    assert len(captions) == 641
    judge = FilterText().rules().judge
    assert [caption for caption in captions if judge(" ".join(caption.split()))] == []


def test_alt_texts_of_the_web_lose_few() -> None:
    """Of LAION's 10,000 (English by its own filter) under 3.5 % go: most for slugs and tags."""
    path = real_data("peers", "img2dataset", "test_files", "test_10000.parquet")
    captions = [" ".join((text or "").split()) for text in pq.read_table(path).column("TEXT").to_pylist()]
    reasons = [found and found[0] for found in rejects_of(FilterText(learned_min_hosts=0), [pair(c) for c in captions])]
    counts = {reason: reasons.count(reason) for reason in FilterText.reasons}
    assert counts["language"] <= 20
    assert 200 < counts["file_name"] < 250
    assert sum(counts.values()) < 350
