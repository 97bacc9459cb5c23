"""The listed phrases of a page's machinery, in their normal form: what an alt text says of a button, not of a picture.

Written from buttons, placeholders and icons of common web software; English only, for the language rule sees to the
rest. Phrases that may describe a picture ("stock photo of", "twitter logo on a wall") count only as a whole caption.
"""

from __future__ import annotations

import re
from itertools import product

from wit.text import normalise

_SITES = (
    "facebook", "twitter", "instagram", "youtube", "linkedin", "pinterest", "google", "google plus", "tumblr", "reddit",
    "whatsapp", "telegram", "email", "rss", "vimeo", "flickr", "snapchat", "tiktok", "yelp", "tripadvisor", "vk",
)  # fmt: skip
_SHAPES = (
    ("click", "click here", "tap", "press", "click image", "click photo", "click picture", "click on image"),
    ("to enlarge", "to zoom", "to zoom in", "to expand", "to view", "to see more", "for more", "for more info",
     "for more information", "for larger image", "for larger view", "for full size", "for full size image",
     "to enlarge image", "to view larger image", "to view full size", "for details", "for more details",
     "to play", "to play video", "to continue", "to close", "to open", "to download"),
)  # fmt: skip
_GONE = (
    ("image", "photo", "picture", "image is", "photo is", "picture is"),
    ("not available", "not found", "unavailable", "coming soon", "missing", "loading", "placeholder", "removed"),
)
_NONE = (("no",), ("image", "photo", "picture", "thumbnail", "preview"), ("", "available", "found", "yet"))
_LARGER = (("view", "see", "show", "open", "enlarge"), ("larger", "full size", "large", "bigger", "original", "this"))
_PARTS = (
    ("site", "company", "website", "header", "footer", "main", "brand", "default", "mobile", "primary", "store"),
    ("logo", "image", "banner", "icon", "menu", "navigation"),
)
_SLOTS = (
    ("featured", "thumbnail", "background", "product", "blog", "post", "article", "sample", "your", "lazy", "profile",
     "avatar", "user", "author", "gallery", "slider", "slide", "hero", "cover", "feature", "related", "main product"),
    ("image", "photo", "picture", "thumbnail", "avatar", "img"),
)  # fmt: skip
_ON_SITES = (
    ("share on", "follow us on", "find us on", "like us on", "join us on", "visit us on", "share via", "connect on",
     "share this on", "follow me on", "watch us on", "share to", "pin on", "tweet on"),
    _SITES,
)  # fmt: skip
_OF_SITES = (_SITES, ("icon", "button", "link", "share", "share button", "social icon", "page", "logo icon"))
_OF_CONTROLS = (
    ("search", "menu", "play", "close", "arrow", "next", "previous", "back", "left arrow", "right arrow", "down arrow",
     "up arrow", "hamburger", "hamburger menu", "cart", "shopping cart", "phone", "mail", "print", "download", "share",
     "login", "submit", "user", "info", "home", "help", "external link", "rss", "calendar", "checkmark", "clock"),
    ("icon", "button"),
)  # fmt: skip

_SINGLE = (
    "click here", "read more", "see more", "learn more", "find out more", "show more", "load more", "view more",
    "view all", "see all", "more info", "more information", "more details", "shop now", "buy now", "order now",
    "book now", "add to cart", "add to wishlist", "add to basket", "add to bag", "add to favorites", "sign up",
    "sign in", "log in", "log out", "sign out", "subscribe now", "subscribe here", "download now", "download here",
    "share this", "pin it", "tweet this", "follow us", "contact us", "about us", "home page", "back to top",
    "go to top", "scroll to top", "scroll down", "previous page", "next page", "previous image", "next image",
    "previous slide", "next slide", "previous post", "next post", "open menu", "close menu", "toggle navigation",
    "toggle menu", "logo image", "header image", "banner image", "image logo", "image placeholder", "image alt text",
    "alt text", "alt tag", "image alt", "image title", "image description", "image caption", "insert image",
    "image may contain", "photo credit", "image credit", "stock photo", "stock image", "open in new window",
    "opens in new window", "opens in a new window", "opens in a new tab", "opens in new tab", "skip to content",
    "skip to main content", "all rights reserved", "powered by wordpress", "advertisement banner", "loading image",
    "enlarge image", "zoom image", "zoom in", "zoom out", "quick view", "full screen", "view gallery", "view larger",
    "larger image", "full size image", "untitled document", "untitled image", "spacer image", "spacer gif",
    "tracking pixel", "blank image", "transparent image", "play video", "watch video", "watch the video", "watch now",
    "pin this", "print this page", "email this page", "skip navigation", "main menu", "site map", "privacy policy",
    "terms of use", "terms of service", "terms and conditions", "cookie policy", "loading please wait", "please wait",
    "advertise here", "your ad here", "ad placeholder", "image for post", "post thumbnail",
    "load image into gallery viewer", "this image has an empty alt attribute",
    "this image has an empty alt attribute its file name is", "open image in lightbox", "responsive lightbox",
    "left arrow", "right arrow", "down arrow", "up arrow", "an image", "my image", "the image", "an icon",
    "copy link", "get it on google play", "download on the app store", "download on the mac app store",
    "available on the app store", "animated gif", "edit this at wikidata", "refer to caption", "powered by mediawiki",
    "click to expand section", "click to hide section", "click to play movie", "item image", "top image",
    "continue reading", "go back", "email icon", "feed icon", "rss feed", "site search", "the image is not available",
    "sorry no image available", "photo not provided",
)  # fmt: skip

_PRODUCTS = (
    _SHAPES, _GONE, _NONE, (*_LARGER, ("image", "photo", "picture", "version")), _LARGER, _PARTS, _SLOTS, _ON_SITES,
    _OF_SITES, _OF_CONTROLS,
)  # fmt: skip

PHRASES = frozenset(
    normalise(phrase)
    for phrase in (*_SINGLE, *(" ".join(filter(None, words)) for factors in _PRODUCTS for words in product(*factors)))
)
"""Some 1,300 phrases in normal form; a caption is boilerplate when its normal form is one of them."""

NUMBERED = re.compile(
    r"(?:image|img|photo|picture|pic|slide|figure|fig|thumbnail|thumb|banner|logo|icon|page|screenshot|gallery image"
    r"|gallery photo|product image|image gallery|photo gallery|carousel image|slider image|untitled|video|item"
    r"|additional photo|additional image|property photo|listing photo)(?: number| no)?(?: \d+)+(?: of \d+)?"
    r"|(?:rating |rated )?\d+(?: \d+)?(?: out)? of \d+(?: stars)?",
    re.ASCII,
)
"""Numbered slots of galleries and ratings, in normal form ("image 3", "slide 2 of 10", "4 5 out of 5 stars")."""
