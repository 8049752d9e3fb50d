"""Captions: plain English sentences about a look, from a small grammar.

A tenth of the (kind, colour, sentence form) combinations is kept out of training and used
for evaluation; see `held_out`.
"""

import re
import zlib
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .world import KINDS, Look

COLORS = {
    "red": ("red", "red", "red", "crimson", "scarlet"),
    "orange": ("orange", "orange", "amber"),
    "golden": ("golden", "golden", "gold"),
    "yellow": ("yellow", "yellow", "bright yellow"),
    "green": ("green", "green", "green", "emerald", "lush green"),
    "turquoise": ("turquoise", "teal", "cyan"),
    "blue": ("blue", "blue", "blue", "azure", "deep blue"),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink", "pink", "rose", "magenta"),
    "white": ("white", "white", "pale", "silver"),
    "brown": ("brown", "brown", "tawny"),
    "black": ("black", "dark"),
}

NOUNS = {
    ("galaxy cluster", "rich"): ("galaxy cluster", "rich galaxy cluster", "cluster of galaxies", "crowd of galaxies"),
    ("galaxy cluster", "sparse"): (
        "galaxy cluster",
        "sparse group of galaxies",
        "deep field of distant galaxies",
        "cluster of galaxies",
    ),
    ("galaxy", "spiral"): ("galaxy", "spiral galaxy", "galaxy", "spiral galaxy with long arms"),
    ("galaxy", "barred"): ("galaxy", "barred galaxy", "barred spiral galaxy"),
    ("galaxy", "elliptical"): ("galaxy", "elliptical galaxy", "round galaxy"),
    ("galaxy", "ring"): ("galaxy", "ring galaxy", "galaxy with a ring"),
    ("nebula", "cloud"): ("nebula", "nebula", "cloud of gas in space", "star nursery", "glowing cloud of gas and dust"),
    ("nebula", "stars"): (
        "star cluster",
        "cluster of stars",
        "star field",
        "nebula full of stars",
        "field of bright stars",
    ),
    ("star system", "planets"): (
        "star system",
        "solar system",
        "planetary system",
        "sun with planets",
        "star with its planets",
    ),
    ("star system", "belt"): (
        "star system",
        "solar system with an asteroid belt",
        "star system with a belt of rocks",
        "planetary system",
    ),
    ("planet", "ocean"): ("planet", "ocean planet", "water world", "planet with oceans", "ocean world"),
    ("planet", "living"): ("planet", "living planet", "planet like the earth", "earth", "planet with continents"),
    ("planet", "desert"): ("planet", "desert planet", "dry planet", "rocky planet", "planet of sand"),
    ("planet", "ice"): ("planet", "ice planet", "frozen planet", "icy world"),
    ("planet", "gas"): ("planet", "gas giant", "giant planet with bands", "striped gas planet"),
    ("planet", "lava"): ("planet", "lava planet", "volcanic planet", "burning planet", "molten world"),
    ("continent", "continent"): ("continent", "continent", "large land", "country", "land"),
    ("continent", "islands"): ("group of islands", "archipelago", "chain of islands", "islands"),
    ("coast", "beach"): ("coast", "beach", "shore", "sandy beach", "coastline", "seaside"),
    ("coast", "island"): ("island", "small island", "island with a beach", "lonely island"),
    ("coast", "cliffs"): ("coast", "rocky coast", "cliffs", "coast with cliffs", "rocky shore"),
    ("forest", "leafy"): ("forest", "forest", "woods", "leafy forest", "woodland", "forest of broad trees"),
    ("forest", "fir"): ("forest", "fir forest", "pine forest", "forest of firs", "evergreen woods"),
    ("tree", "leafy"): ("tree", "tree", "leafy tree", "old oak", "tree crown", "treetop"),
    ("tree", "fir"): ("tree", "fir tree", "pine tree", "fir", "conifer"),
    ("leaf", "oval"): ("leaf", "leaf", "oval leaf", "leaf with veins"),
    ("leaf", "maple"): ("leaf", "maple leaf", "lobed leaf"),
    ("leaf", "heart"): ("leaf", "heart-shaped leaf", "broad leaf"),
    ("leaf", "round"): ("leaf", "round leaf", "round leaf with veins"),
    ("leaf", "long"): ("leaf", "long leaf", "narrow leaf"),
    ("tissue", "wall"): ("leaf cells", "plant cells", "plant tissue", "tissue of many cells", "wall of cells"),
    ("tissue", "round"): ("leaf cells", "plant cells", "plant tissue", "rounded cells", "layer of cells"),
    ("cell", "plant"): ("cell", "plant cell", "single plant cell", "cell with a nucleus"),
    ("cell", "animal"): ("cell", "animal cell", "round cell", "single cell with a nucleus"),
    ("cell", "glowing"): ("cell", "glowing cell", "fluorescent cell", "cell glowing in the dark"),
}

VIEWS = {
    "galaxy cluster": ("in deep space", "in the dark universe", "seen through a telescope"),
    "galaxy": ("in deep space", "in the dark sky", "seen through a telescope", "in space"),
    "nebula": ("in deep space", "in space", "among the stars", "seen through a telescope"),
    "star system": ("in space", "with round orbits", "seen from far above", "among the stars"),
    "planet": ("in space", "seen from space", "before the stars", "from orbit"),
    "continent": ("seen from space", "from orbit", "from high above", "on a map", "seen from a satellite"),
    "coast": ("seen from above", "from the air", "from a plane", "from high above"),
    "forest": ("seen from above", "from the air", "from a bird's view", "from a drone"),
    "tree": ("seen from above", "from straight above", "from a drone", "in the woods"),
    "leaf": ("up close", "in close-up", "on the tree", "among other leaves"),
    "tissue": ("under the microscope", "magnified", "in a leaf", "very close"),
    "cell": ("under the microscope", "strongly magnified", "in a leaf", "up close"),
}

SHOTS = {
    "space": ("a photo of", "a picture of", "a telescope picture of", "a view of", "an image of"),
    "air": (
        "an aerial photo of",
        "a photo of",
        "a view of",
        "an aerial view of",
        "a picture of",
        "a satellite picture of",
    ),
    "near": ("a macro photo of", "a close-up of", "a photo of", "a picture of", "a microscope picture of"),
}

LIGHTS = {
    "sunset": ("at sunset", "in the evening light", "in the warm light of evening", "at dawn"),
    "night": ("at night", "by moonlight", "in the moonlight", "in the dark"),
    "mist": ("in the mist", "in fog", "under morning mist", "in the haze"),
}
LIT = ("continent", "coast", "forest", "tree", "leaf")  # kinds that a light falls on
SEASONS = {
    "spring": ("spring", "in spring"),
    "summer": ("summer", "in summer"),
    "autumn": ("autumn", "in autumn"),
    "winter": ("winter", "in winter"),
}
PRAISE = ("beautiful", "bright", "detailed", "colorful", "wonderful", "calm", "strange", "huge", "tiny", "lovely")
FORMS = ("bare", "plain", "view", "shot", "full", "told")


def color_word(word: str, rng) -> str:
    """One of the words for a colour."""
    options = COLORS[word]
    return options[int(rng.integers(len(options)))]


def held_out(look: Look, form: str) -> bool:
    """Whether this combination of kind, colour and sentence form is kept for evaluation."""
    return zlib.crc32(f"{look.kind}/{look.color}/{form}".encode()) % 10 == 0


def _article(text: str) -> str:
    plural = text.split(" ")[-1] in ("cells", "islands", "cliffs", "woods") and " of " not in text
    if plural or text.endswith(("woodland", "plant tissue")):
        return text
    if text.endswith(" earth") or text == "earth":
        return "the " + text
    return ("an " if text[0] in "aeiou" else "a ") + text


def _details(look: Look, rng, words) -> list[str]:
    """Phrases about what else there is to see."""
    kind, second = KINDS[look.kind], color_word(look.second or look.color, rng)
    out = []
    if kind == "planet" and look.extra == "ring":
        out.append(words("with rings", "with a ring", "with bright rings", "surrounded by rings"))
    elif kind == "planet" and look.variant == "gas":
        out.append(words(f"with {second} stripes", f"with {second} bands"))
    elif kind == "continent":
        out.append(words(f"in a {second} sea", f"in the {second} ocean", f"surrounded by {second} water"))
        if look.extra:
            out.append(words("under white clouds", "with clouds", "under clouds"))
    elif kind == "coast":
        out.append(
            words(f"by a {second} sea", f"with {second} water", "with white surf", f"in a {second} ocean", "with waves")
        )
    elif kind == "forest" and look.extra:
        out.append(
            {
                "river": words("with a river", "along a blue river"),
                "path": words("with a path", "with a road"),
                "clearing": words("with a clearing", "around a meadow"),
            }[look.extra]
        )
    elif kind == "tree" and look.extra:
        out.append(words(f"with {second} blossom", "in blossom", f"with {second} flowers"))
    elif kind == "leaf" and look.extra:
        out.append(words("with drops of water", "wet with dew", "with dew drops"))
    elif kind == "cell":
        out.append(words(f"with a {second} nucleus", f"and its {second} nucleus"))
    elif kind in ("galaxy", "nebula", "galaxy cluster"):
        if look.second != look.color:
            out.append(words(f"with {second} stars", f"with some {second}", f"with {second} light"))
    elif kind == "star system":
        out.append(words(f"around a {color_word(look.color, rng)} star", f"with a {color_word(look.color, rng)} sun"))
    return out


def caption(look: Look, rng: np.random.Generator, form: str | None = None, color: bool | None = None) -> str:
    """A sentence about `look`. `form`: one of FORMS; `color`: whether its colour is named; None draws."""

    def words(*options):
        return options[int(rng.integers(len(options)))]

    kind = KINDS[look.kind]
    form = form or words(*FORMS)
    if color is None:
        color = form == "bare" and rng.random() < 0.6 or form != "bare" and rng.random() < 0.75
    noun = words(*NOUNS[kind, look.variant])
    adjectives = []
    if rng.random() < 0.12:
        adjectives.append(words(*PRAISE))
    after = []
    tinted = kind == "planet" and look.variant in ("ocean", "living")
    if color and kind != "star system" and not tinted:
        adjectives.append(color_word(look.color, rng))
    if kind in ("forest", "tree", "leaf", "coast", "continent") and look.season:
        named = {"forest": 0.6, "tree": 0.5, "leaf": 0.2, "coast": 0.3, "continent": 0.15}[kind]
        if form != "bare" and rng.random() < named:
            if rng.random() < 0.4 and kind != "continent":
                adjectives.append(look.season)
            else:
                after.append(SEASONS[look.season][1])
    if color and kind == "star system":
        if rng.random() < 0.5:
            adjectives.append(color_word(look.color, rng))
        else:
            after.insert(0, words("around a {} star", "with a {} sun").format(color_word(look.color, rng)))
    if color and tinted and rng.random() < 0.6:
        adjectives.append(
            words("blue", "blue and green")
            if look.second == "green" and look.color == "blue"
            else color_word(look.color, rng)
        )
    details = _details(look, rng, words)
    if kind == "star system" and (not color or after):
        details = []
    if form in ("full", "told", "shot") or rng.random() < 0.35:
        after = [d for d in details if rng.random() < 0.75] + after
    if look.light and (form in ("full", "told") or rng.random() < 0.6):
        after.append(words(*LIGHTS[look.light]))
    subject = " ".join(adjectives + [noun])
    if form == "bare":
        return words(subject, subject, _article(subject))
    tail = (" " + " ".join(after)) if after else ""
    said = _article(subject) + tail
    view = words(*VIEWS[kind])
    shots = SHOTS["space" if look.kind < 5 else "air" if look.kind < 9 else "near"]
    if form == "plain":
        return said
    if form == "view":
        return words(f"{said}, {view}", f"{said} {view}", f"{view}, {said}")
    if form == "shot":
        return f"{words(*shots)} {said}"
    if form == "full":
        return f"{words(*shots)} {said}, {view}"
    return words(
        f"we see {said}",
        f"there is {said} {view}",
        f"this is {said}",
        f"in the middle lies {said}",
        f"here is {said}, {view}",
    )


def training_caption(look: Look, rng: np.random.Generator) -> str:
    """A caption whose combination is not held out."""
    forms = [f for f in FORMS if not held_out(look, f)]
    return caption(look, rng, forms[int(rng.integers(len(forms)))] if forms else "bare")


def between_caption(outer: Look, inner: Look, rng: np.random.Generator) -> str:
    """A sentence about a view half-way between two kinds: `outer` around, `inner` large in the middle."""

    def said(look: Look) -> str:
        named = not held_out(look, "plain") and rng.random() < 0.7
        return caption(look, rng, "plain", color=named)

    forms = (
        "{outer} with {inner} in the middle",
        "{outer}, in the middle {inner}",
        "{inner} in the middle of {outer}",
        "{inner} in {outer}",
        "{inner} among {outer}",
    )
    return forms[int(rng.integers(len(forms)))].format(outer=said(outer), inner=said(inner))


# Colour words that say nothing of a look's colours.
_FIXED = ("blue river", "white surf", "white clouds")


def _without(text: str, phrases) -> str:
    """`text` with each of the phrases left out, the longest first."""
    for phrase in sorted(phrases, key=len, reverse=True):
        text = re.sub(rf"\b{re.escape(phrase)}\b", " ", text)
    return text


def _said(text: str, words: dict[str, tuple[str, ...]]) -> set[str]:
    """The keys of `words` of which a word or phrase stands in `text`."""
    return {key for key, phrases in words.items() if _without(text, phrases) != text}


class Said(NamedTuple):
    """What a sentence says of a kind: noun, variants that it can be, colours before and after it, seasons, lights."""

    noun: str
    variants: set[str]
    before: set[str]
    after: set[str]
    seasons: set[str]
    lights: set[str]


@lru_cache
def said_of(kind: str, text: str) -> Said:
    """What the words of a sentence say of a `kind`; those that the grammar does not know are passed over."""
    text = _without(text.lower(), (*VIEWS[kind], *_FIXED))
    lights = set()
    if kind in LIT:
        lights = _said(text, LIGHTS)
        text = _without(text, [phrase for phrases in LIGHTS.values() for phrase in phrases])
    named = {variant: names for (of, variant), names in NOUNS.items() if of == kind}
    found = [noun for names in named.values() for noun in names if _without(text, [noun]) != text]
    noun, before, after = max(found, key=len, default=""), text, ""
    if noun:
        before, after = re.split(rf"\b{re.escape(noun)}\b", text, maxsplit=1)
        named = {variant: names for variant, names in named.items() if noun in names}
    return Said(noun, set(named), _said(before, COLORS), _said(after, COLORS), _said(text, SEASONS), lights)


def fits(look: Look, text: str) -> bool:
    """Whether nothing that a sentence says of a look's noun, colours, season and light is wrong.

    Light that is not named is daylight.
    """
    kind = KINDS[look.kind]
    said = said_of(kind, text)
    main, other = {look.color}, {look.second or look.color}
    if kind == "planet" or not said.noun:  # "blue and green"; nobody knows what a colour is the colour of
        main |= other
    if kind == "star system":  # its sun has the colour
        other = main
    return (
        look.variant in said.variants
        and said.before <= main
        and said.after <= other
        and said.seasons <= {look.season}
        and said.lights == ({look.light} if look.light else set())
    )


def vocabulary(count: int = 40000) -> list[str]:
    """Every word the grammar can say, sorted."""
    from .world import looks

    rng = np.random.default_rng(0)
    found: set[str] = set()
    for seed in range(count // 12):
        for look in looks(seed, apart=bool(seed % 2)):
            found.update(caption(look, rng).replace(",", " ").replace("-", " ").replace("'", " ").split())
    return sorted(found)
