"""What a world looks like: the attributes of its twelve kinds, drawn from a seed."""

from dataclasses import dataclass, field

import numpy as np

KINDS = (
    "galaxy cluster",
    "galaxy",
    "nebula",
    "star system",
    "planet",
    "continent",
    "coast",
    "forest",
    "tree",
    "leaf",
    "tissue",
    "cell",
)

# Colour words and the light, middle and dark tone each stands for.
TONES = {
    "red": ((1.0, 0.62, 0.52), (0.88, 0.18, 0.14), (0.36, 0.03, 0.06)),
    "orange": ((1.0, 0.82, 0.5), (0.96, 0.5, 0.1), (0.42, 0.16, 0.03)),
    "golden": ((1.0, 0.94, 0.68), (0.94, 0.74, 0.24), (0.44, 0.27, 0.05)),
    "yellow": ((1.0, 0.98, 0.66), (0.97, 0.87, 0.2), (0.5, 0.4, 0.05)),
    "green": ((0.74, 0.95, 0.5), (0.26, 0.66, 0.2), (0.04, 0.26, 0.09)),
    "turquoise": ((0.7, 1.0, 0.92), (0.13, 0.76, 0.72), (0.02, 0.3, 0.36)),
    "blue": ((0.68, 0.86, 1.0), (0.2, 0.44, 0.94), (0.04, 0.1, 0.42)),
    "purple": ((0.9, 0.74, 1.0), (0.58, 0.26, 0.84), (0.2, 0.05, 0.38)),
    "pink": ((1.0, 0.84, 0.92), (0.96, 0.46, 0.7), (0.46, 0.1, 0.3)),
    "white": ((1.0, 1.0, 1.0), (0.86, 0.9, 0.95), (0.46, 0.54, 0.66)),
    "brown": ((0.82, 0.64, 0.44), (0.5, 0.32, 0.17), (0.2, 0.11, 0.05)),
    "black": ((0.5, 0.5, 0.55), (0.22, 0.21, 0.24), (0.06, 0.06, 0.08)),
}

SEASONS = {  # colours of foliage: (main, second)
    "spring": (("green", "pink"), ("green", "white"), ("green", "yellow")),
    "summer": (("green", "green"),),
    "autumn": (("orange", "red"), ("golden", "orange"), ("red", "brown"), ("yellow", "orange")),
    "winter": (("white", "black"), ("white", "green")),
}


@dataclass
class Look:
    """One kind's attributes in one world. `color` and `variant` are words the captions use."""

    kind: int
    variant: str
    color: str
    second: str = ""
    extra: str = ""  # ring, river, drops ...: something one can see and name
    season: str = ""
    light: str = ""  # "", sunset, night, mist
    seed: int = 0
    turn: float = 0.0  # radians; the direction of arms, shores, veins
    values: tuple = field(default_factory=tuple)  # eight free uniform numbers for the layout

    @property
    def tones(self):
        """Light, middle and dark tone of the main colour."""
        return TONES[self.color]

    @property
    def second_tones(self):
        """Light, middle and dark tone of the second colour."""
        return TONES[self.second or self.color]


def _pick(rng, *options):
    return options[int(rng.integers(len(options)))]


def looks(seed: int, apart: bool = False) -> list[Look]:
    """The attributes of all kinds of world `seed`, outermost first.

    Neighbours go together, so that one fits inside the other. With `apart` each kind is
    free: planets without land, stained tissue.
    """
    rng = np.random.default_rng(seed)
    out = []

    def add(variant, color, second="", extra="", season="", light=""):
        out.append(
            Look(
                len(out),
                variant,
                color,
                second,
                extra,
                season,
                light,
                int(rng.integers(1 << 30)),
                float(rng.uniform(0, 2 * np.pi)),
                tuple(float(v) for v in rng.uniform(size=8)),
            )
        )

    space = ("blue", "golden", "red", "purple", "pink", "turquoise", "white", "orange", "green")
    hue = _pick(rng, *space)
    other = _pick(rng, *space)
    add(_pick(rng, "rich", "sparse"), _pick(rng, "golden", "blue", "red", "white", hue), other)
    add(_pick(rng, "spiral", "spiral", "spiral", "barred", "elliptical", "ring"), hue, other)
    add(_pick(rng, "cloud", "cloud", "cloud", "stars"), _pick(rng, hue, _pick(rng, *space)), other)
    sun = _pick(rng, "yellow", "red", "blue", "white", "orange")
    add(_pick(rng, "planets", "planets", "belt"), sun, hue)
    variant = _pick(rng, "ocean", "ocean", "living", "living", "desert", "ice", "gas", "gas", "lava")
    if not apart:
        variant = _pick(rng, "ocean", "living")
    color = {
        "ocean": "blue",
        "living": "blue",
        "ice": "white",
        "lava": "black",
        "desert": _pick(rng, "orange", "red", "golden", "brown"),
        "gas": _pick(rng, "orange", "golden", "blue", "purple", "pink", "turquoise", "green", "red"),
    }[variant]
    second = {
        "ocean": "green",
        "living": "green",
        "ice": "blue",
        "lava": "red",
        "desert": "brown",
        "gas": _pick(rng, "white", "brown", "golden", "red", "white"),
    }[variant]
    add(variant, color, second, "ring" if rng.random() < 0.3 else "")

    season = _pick(rng, "spring", "summer", "autumn", "winter")
    light = _pick(rng, "", "", "", "", "", "sunset", "night", "mist")
    land = {"desert": color if variant == "desert" else "golden"}.get(variant)
    if land is None:
        land = {
            "winter": "white",
            "autumn": _pick(rng, "brown", "orange"),
            "spring": "green",
            "summer": _pick(rng, "green", "green", "golden", "red"),
        }[season]
    sea = _pick(rng, "blue", "blue", "blue", "turquoise", _pick(rng, "purple", "green"))
    add(_pick(rng, "continent", "continent", "islands"), land, sea, _pick(rng, "", "clouds", "clouds"), season, light)
    sand = _pick(rng, "golden", "golden", "white", "black", "red")
    add(_pick(rng, "beach", "beach", "island", "cliffs"), sand, _pick(rng, sea, "turquoise"), "", season, light)
    leafage, mate = _pick(rng, *SEASONS[season])
    wood = _pick(rng, "leafy", "leafy", "fir")
    if wood == "fir":
        leafage, mate = ("white", "green") if season == "winter" else ("green", "green")
    add(wood, leafage, mate, _pick(rng, "", "", "river", "path", "clearing"), season, light)
    add(wood, leafage, mate, "blossom" if season == "spring" and mate in ("pink", "white") else "", season, light)
    blade = {"spring": "green", "summer": "green", "autumn": leafage, "winter": _pick(rng, "brown", "green")}[season]
    if rng.random() < 0.25:
        blade = _pick(rng, "red", "purple", "yellow", "green", "orange")
    blade = {"golden": "yellow", "white": "green", "pink": "red"}.get(blade, blade)
    add(
        _pick(rng, "oval", "oval", "maple", "heart", "round", "long"),
        blade,
        mate,
        "drops" if rng.random() < 0.3 else "",
        season,
        light if light in ("sunset", "night") else "",
    )
    stain = _pick(rng, blade, "green", "purple", "pink", "blue", "turquoise") if apart else blade
    add(_pick(rng, "wall", "wall", "round"), stain, _pick(rng, "green", "purple", "red", "blue"))
    add(
        _pick(rng, "plant", "plant", "animal", "glowing" if apart else "plant"),
        stain,
        _pick(rng, "purple", "blue", "red", "orange", "pink"),
    )
    return out
