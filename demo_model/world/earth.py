"""The kinds seen from the air: continent, coast, forest, tree (from straight above)."""

import numpy as np

from .looks import TONES, Look
from .noise import cells, fbm, mix, smooth, spots, turn

SNOW = np.array((0.95, 0.97, 1.0), np.float32)
GRASS = {
    "spring": (0.5, 0.76, 0.28),
    "summer": (0.36, 0.6, 0.2),
    "autumn": (0.66, 0.5, 0.22),
    "winter": (0.9, 0.93, 0.97),
}


def lighting(color, look: Look, x, y):
    """Tint a daylight picture by the look's light: sunset, night or mist."""
    if look.light == "sunset":
        warm = color * np.array((1.18, 0.82, 0.56), np.float32)
        return warm + 0.10 * np.array((1.0, 0.42, 0.18), np.float32)
    if look.light == "night":
        grey = color.mean(-1, keepdims=True)
        return (0.5 * color + 0.32 * grey) * np.array((0.5, 0.68, 1.2), np.float32)
    if look.light == "mist":
        veil = np.clip(0.48 + 0.4 * fbm(x * 2.3, y * 2.3, look.seed + 77, 0.02, 3), 0.1, 0.85)
        return mix(color, (0.86, 0.89, 0.92), veil)
    return color


def paint_continent(x, y, px, look: Look, nested: bool):
    """A continent or a group of islands in the sea, from orbit."""
    light, main, dark = (np.asarray(t, np.float32) for t in look.tones)
    sea_light, sea, deep = (np.asarray(t, np.float32) for t in look.second_tones)
    ax, ay = turn(x, y, look.turn)
    height = 0.62 * fbm(x * 3.4, y * 3.4, look.seed, 3.4 * px, 7, 0.56)
    if look.variant == "islands":
        f1, _, _, _, h, _ = cells(x * 4.0 + look.values[0], y * 4.0, look.seed + 1, 0.9)
        height = height + 0.55 * smooth(0.62, 0.0, f1) * (0.35 + 0.65 * h) - 0.14
        height = height + 0.3 * np.exp(-(x * x + y * y) / 0.02)
    else:
        # The middle lies near the shore, so that a coast can follow inside.
        off = np.hypot((ax - 0.1) / 1.15, ay) - 0.30
        height = height + np.clip(-1.7 * off, -0.5, 0.42) + 0.03
    fine = fbm(x * 15, y * 15, look.seed + 2, 15 * px, 4)
    water = mix(deep, sea, smooth(-0.55, -0.06, height))
    water = mix(water, sea_light, 0.65 * smooth(-0.1, 0.0, height))
    ground = mix(
        np.asarray(TONES["golden"][0], np.float32) * 0.95, main * 0.92, smooth(0.0, 0.05, height + 0.02 * fine)
    )
    ground = mix(ground, 0.62 * main + 0.3 * dark, smooth(0.08, 0.3, height + 0.25 * fine))
    ground = mix(ground, light * np.array((0.86, 0.8, 0.74), np.float32), smooth(0.3, 0.5, height + 0.2 * fine))
    ground = mix(ground, SNOW, smooth(0.5, 0.6, height + 0.22 * fine))
    relief = (
        height - (0.62 * fbm((x - 0.012) * 3.4, (y - 0.012) * 3.4, look.seed, 3.4 * px, 7, 0.56))
        if look.variant != "islands"
        else fine * 0.1
    )
    shade = 1.0 + np.clip(1.6 * (fine * 0.12 + 0 * relief), -0.25, 0.25)
    ground = ground * shade[..., None]
    river = smooth(0.035, 0.012, np.abs(fbm(x * 4 + 5, y * 4, look.seed + 3, 4 * px, 5))) * smooth(0.5, 0.1, height)
    ground = mix(ground, sea, 0.75 * river)
    color = mix(water, ground, smooth(-1.2 * px, 1.2 * px + 0.004, height))
    if look.extra == "clouds":
        swirl = fbm(x * 2, y * 2, look.seed + 5, 2 * px, 2)
        cloud = fbm(x * 3 + 1.5 * swirl, y * 5 + swirl, look.seed + 4, 5 * px, 6, 0.58)
        bank = fbm((x - 0.02) * 3 + 1.5 * swirl, (y - 0.02) * 5 + swirl, look.seed + 4, 5 * px, 6, 0.58)
        color = color * (1 - 0.3 * smooth(0.15, 0.5, bank))[..., None]
        color = mix(color, (1.0, 1.0, 1.0), 0.92 * smooth(0.18, 0.5, cloud))
    tint = lighting(color, look, x, y) if look.light != "mist" else color
    return tint, smooth(0.92, 0.55, np.hypot(x, y))


def paint_coast(x, y, px, look: Look, nested: bool):
    """Sea, surf, sand and grass along a shore, or a whole small island."""
    shallow, water, deep = (np.asarray(t, np.float32) for t in look.second_tones)
    sand = np.asarray(look.tones[0] if look.color != "black" else look.tones[1], np.float32)
    ax, ay = turn(x, y, look.turn)
    rough = fbm(x * 3.2, y * 3.2, look.seed, 3.2 * px, 6, 0.5)
    if look.variant == "island":
        s = 0.34 - np.hypot(ax, ay * 1.2) + 0.17 * rough
    else:
        s = ax + 0.16 + 0.17 * rough
    fine = fbm(x * 22, y * 22, look.seed + 2, 22 * px, 4)
    ripple = noise_waves(ax, ay, look, px)
    color = mix(deep, water, smooth(-0.5, -0.12, s))
    color = mix(color, shallow, smooth(-0.2, -0.01, s))
    color = color * (1 + 0.10 * ripple * smooth(0.0, -0.05, s))[..., None]
    surf = np.exp(-(((s + 0.018 + 0.012 * fine) / 0.012) ** 2)) + 0.6 * np.exp(
        -(((s + 0.07 + 0.02 * rough + 0.02 * fine) / 0.008) ** 2)
    )
    color = mix(color, (1.0, 1.0, 1.0), np.clip(surf, 0, 0.95))
    shore = sand * (0.92 + 0.12 * fine)[..., None]
    color = mix(color, shore, smooth(-0.006 - px, 0.006 + px, s))
    edge = 0.085
    if look.variant == "cliffs":
        edge = 0.05
        rock = mix((0.5, 0.45, 0.4), (0.74, 0.69, 0.62), smooth(-0.4, 0.5, fine))
        color = mix(color, rock, smooth(0.0, 0.012, s))
        color = color * (1 - 0.35 * np.exp(-(((s - 0.045) / 0.012) ** 2)))[..., None]
    season = look.season or "summer"
    grass = np.asarray(GRASS[season], np.float32) * (0.92 + 0.16 * fine)[..., None]
    inland = smooth(edge - 0.015, edge + 0.03, s + 0.03 * fine)
    color = mix(color, grass, inland)
    f1, _, dx, dy, h, g = cells(x / 0.06, y / 0.06, look.seed + 5, 0.85)
    wood = smooth(0.16, 0.36, s + 0.12 * rough + 0.1 * fine)
    crown = smooth(0.5, 0.34, f1) * (g < 0.25 + 0.75 * wood) * smooth(edge + 0.03, edge + 0.07, s)
    tree = np.asarray(
        {
            "spring": (0.36, 0.66, 0.22),
            "summer": (0.12, 0.42, 0.14),
            "autumn": (0.82, 0.42, 0.12),
            "winter": (0.42, 0.5, 0.52),
        }[season],
        np.float32,
    )
    color = mix(color, tree * (0.75 + 0.45 * h - 0.5 * (dx + dy))[..., None], 0.95 * crown)
    return lighting(color, look, x, y), smooth(0.92, 0.6, np.hypot(x, y))


def noise_waves(ax, ay, look: Look, px):
    """Swell that runs along the shore, -1..1."""
    bend = fbm(ax * 5, ay * 5, look.seed + 9, 5 * px, 2)
    return np.sin(ax * 75 + 5 * bend) * float(np.clip(2 - px * 75, 0, 1))


def crowns(x, y, px, look: Look, width: float, seed: int):
    """Trees of about `width` from above: colour, cover and shadow."""
    light, main, dark = (np.asarray(t, np.float32) for t in look.tones)
    s_light, s_main, s_dark = (np.asarray(t, np.float32) for t in look.second_tones)
    f1, f2, dx, dy, h, g = cells(x / width, y / width, seed, 0.7)
    wob = 0.13 * fbm(x / width * 3.3, y / width * 3.3, seed + 1, 3.3 * px / width, 3)
    if look.variant == "fir":
        spokes = 0.07 * np.cos(7 * np.arctan2(dy, dx) + 30 * h) * float(np.clip(2.0 - 9 * px / width, 0, 1))
        f1 = f1 + spokes
    edge = 1.3 * px / width
    cover = smooth(0.52 + edge, 0.43 - edge, f1 + wob) * smooth(0.0, 0.1, f2 - f1 + 0.06)
    leaf = fbm(x / width * 7, y / width * 7, seed + 2, 7 * px / width, 2)
    tone = mix(main, s_main, (g > 0.62).astype(np.float32)) * (0.86 + 0.34 * h)[..., None]
    dome = np.clip(0.95 - 0.95 * (dx + dy) - 0.9 * f1 * f1 + 0.34 * leaf, 0.28, 1.5)
    if look.variant == "fir":
        dome = np.clip(1.15 - 1.2 * (dx + dy) * 0.8 - 1.0 * f1 + 0.3 * leaf, 0.22, 1.6)
    color = tone * dome[..., None]
    color = mix(color, mix(light, s_light, (g > 0.62).astype(np.float32)), 0.5 * smooth(1.0, 1.35, dome))
    if look.season == "winter" and look.variant != "fir":
        color = mix(color, (0.5, 0.5, 0.56), 0.45 * smooth(0.1, 0.5, leaf))
    return color, cover, dome


def floor(x, y, px, look: Look):
    """The ground between trees."""
    fine = fbm(x * 18, y * 18, look.seed + 31, 18 * px, 4)
    base = {
        "spring": (0.3, 0.5, 0.17),
        "summer": (0.12, 0.26, 0.09),
        "autumn": (0.36, 0.2, 0.09),
        "winter": (0.74, 0.8, 0.9),
    }[look.season]
    return np.asarray(base, np.float32) * (0.85 + 0.4 * fine)[..., None]


def paint_forest(x, y, px, look: Look, nested: bool):
    """Tree tops from above, perhaps with a river, a path or a clearing."""
    ground = floor(x, y, px, look)
    color, cover, _ = crowns(x, y, px, look, 0.135, look.seed)
    low, low_cover, _ = crowns(x + 0.4, y + 0.2, px, look, 0.085, look.seed + 50)
    out = mix(ground, low * 0.6, low_cover)
    color = mix(out, color, cover)
    if look.extra:
        ax, ay = turn(x, y, look.turn)
        bend = fbm(ay * 2.2, ax * 0.4, look.seed + 40, px, 3)
        gap = np.abs(ax - 0.27 + 0.13 * bend)
        if look.extra == "river":
            water = mix((0.1, 0.3, 0.5), (0.35, 0.66, 0.85), smooth(0.055, 0.02, gap))
            color = mix(color, (0.62, 0.58, 0.42), smooth(0.078, 0.068, gap + 0.01 * bend))
            color = mix(color, water, smooth(0.066 + px, 0.058 - px, gap))
        elif look.extra == "path":
            color = mix(color, (0.78, 0.66, 0.46), smooth(0.034 + px, 0.026 - px, gap))
        else:
            d = np.hypot(ax - 0.3, ay - 0.06) + 0.06 * fbm(x * 6, y * 6, look.seed + 41, 6 * px, 3)
            color = mix(
                color,
                np.asarray(GRASS[look.season], np.float32) * (0.95 + 0.1 * bend)[..., None],
                smooth(0.17, 0.15, d),
            )
    return lighting(color, look, x, y), smooth(0.92, 0.62, np.hypot(x, y))


def paint_tree(x, y, px, look: Look, nested: bool):
    """One tree from straight above, with its shadow on the ground."""
    light, main, dark = (np.asarray(t, np.float32) for t in look.tones)
    s_light, s_main, _ = (np.asarray(t, np.float32) for t in look.second_tones)
    r, phase = np.hypot(x, y), np.arctan2(y, x)

    def reach(ox, oy):
        q, a = np.hypot(x - ox, y - oy), np.arctan2(y - oy, x - ox)
        wob = fbm(np.cos(a) * 2.4, np.sin(a) * 2.4, look.seed, px, 4)
        if look.variant == "fir":
            return q - 0.36 - 0.055 * np.cos(9 * a + 1.5 * wob) - 0.02 * np.cos(27 * a)
        return q - 0.39 - 0.05 * wob - 0.018 * fbm((x - ox) * 22, (y - oy) * 22, look.seed + 1, 22 * px, 2)

    meadow = np.asarray(GRASS[look.season], np.float32)
    blades = fbm(x * 26, y * 26, look.seed + 3, 26 * px, 3)
    color = meadow * (0.8 + 0.22 * blades)[..., None]
    if look.season == "autumn":
        litter, h, g = spots(x, y, px, 0.035, 0.009, look.seed + 4)
        color = mix(color, mix(main, s_main, h), litter * (g < 0.7))
    color = color * (1 - 0.5 * smooth(0.03, -0.03, reach(0.045, 0.045)))[..., None]
    shade = np.clip(0.92 - 0.75 * (x + y) - 0.8 * r * r, 0.3, 1.3)
    body = np.broadcast_to(main * 0.5, x.shape + (3,)) * shade[..., None]
    if look.variant == "fir":
        spoke = np.cos(9 * phase + 1.2 * fbm(x * 3, y * 3, look.seed + 5, 3 * px, 3))
        rows = np.cos(40 * r + 3.0 * np.abs(spoke))
        needles = fbm(x * 30, y * 30, look.seed + 6, 30 * px, 2)
        dome = shade * (0.85 + 0.35 * spoke * smooth(0.02, 0.15, r) + 0.22 * rows + 0.3 * needles - 0.5 * r)
        body = main * np.clip(dome, 0.15, 1.5)[..., None]
        body = mix(body, light, 0.6 * smooth(0.95, 1.3, dome))
    else:
        for o, (size, base) in enumerate(((0.125, 0.62), (0.07, 0.82), (0.045, 1.0))):
            f1, f2, dx, dy, h, g = cells(x / size + 3.3 * o, y / size, look.seed + 20 + o, 0.9)
            blob = smooth(0.56 + px / size, 0.42 - px / size, f1) * (h > 0.12 * o)
            tone = (
                mix(main, s_main, (g > 0.66).astype(np.float32))
                if look.extra != "blossom"
                else mix(main, s_light, (g > 0.25 + 0.2 * (2 - o)).astype(np.float32))
            )
            dome = base * shade * np.clip(1.0 - 0.55 * (dx + dy) - 0.5 * f1 * f1 + 0.25 * (h - 0.5), 0.4, 1.5)
            body = mix(body, mix(tone, light, 0.4 * smooth(0.95, 1.3, dome)) * dome[..., None], blob)
        if look.season == "winter":
            twig = np.abs(fbm(phase * 2.5, r * 3, look.seed + 8, px, 3))
            body = mix(body, (0.3, 0.24, 0.22), 0.75 * smooth(0.12, 0.03, twig) * smooth(0.36, 0.1, r))
    color = mix(color, body, smooth(0.8 * px + 0.003, -0.8 * px - 0.003, reach(0.0, 0.0)))
    cover = smooth(0.07, 0.02, reach(0.02, 0.02)) if nested else smooth(0.9, 0.62, r)
    return lighting(color, look, x, y), cover
