"""The five outer kinds: galaxy cluster, galaxy, nebula, star system, planet.

Every painter takes local coordinates (the kind fills -0.5..0.5), the width of a pixel in
them, its look and whether the next kind lies at its centre; it returns colour [..., 3] and
cover [...] in 0..1.
"""

import numpy as np

from .looks import Look
from .noise import cells, fbm, mix, smooth, spots, stars, turn

SPACE = np.array((0.012, 0.014, 0.035), np.float32)


def paint_cluster(x, y, px, look: Look, nested: bool):
    """Many small galaxies on black, crowded towards the middle."""
    light, main, _ = look.tones
    haze = np.exp(-(x * x + y * y) / 0.12)
    color = np.broadcast_to(SPACE, x.shape + (3,)).copy()
    color += (0.10 * haze)[..., None] * np.asarray(main, np.float32)
    count = 1.0 if look.variant == "rich" else 0.55
    for o, (size, power) in enumerate(((0.2, 1.25), (0.1, 1.1), (0.055, 0.8))):
        ax, ay = turn(x, y, look.turn + o)
        f1, _, dx, dy, h, g = cells(ax / size + 9.1 * o, ay / size, look.seed + o, 0.75)
        dx, dy = dx * np.cos(6.28 * h) + dy * np.sin(6.28 * h), dy * np.cos(6.28 * h) - dx * np.sin(6.28 * h)
        flat = 0.3 + 0.7 * g
        r = np.sqrt(dx * dx + (dy / flat) ** 2)
        phase = np.arctan2(dy / flat, dx)
        arms = 0.6 + 0.4 * np.cos(2 * (phase - 2.5 * np.log(r + 0.08)))
        disc = np.exp(-r / 0.11) * np.where(h > 0.45, arms, 1.0) * smooth(0.5, 0.35, f1)
        core = np.exp(-((r / 0.09) ** 2))
        keep = (np.modf(h * 17.0 + g * 5.0)[0] < count * (0.35 + 0.65 * haze)).astype(np.float32)
        tone = mix(main, look.second_tones[1], (np.modf(g * 13.0)[0] > 0.72).astype(np.float32))
        color += (keep * power * disc)[..., None] * tone * 1.15 + (keep * power * core)[..., None] * np.asarray(
            light, np.float32
        )
    color += 0.6 * stars(x, y, px, look.seed + 5, 0.12, 0.09)
    return color, smooth(0.95, 0.75, np.hypot(x, y))


def paint_galaxy(x, y, px, look: Look, nested: bool):
    """One galaxy seen from above or slantwise: spiral, barred, elliptical or ring."""
    v = look.values
    light, main, dark = (np.asarray(t, np.float32) for t in look.tones)
    ax, ay = turn(x, y, look.turn)
    ay = ay / (0.45 + 0.55 * v[0])
    r, phase = np.hypot(ax, ay) + 1e-4, np.arctan2(ay, ax)
    cloud = fbm(x * 7, y * 7, look.seed, 7 * px, 4)
    arms = 2 + int(v[1] * 2.6)
    twist = (2.0 + 2.2 * v[2]) * (1 if v[3] > 0.5 else -1)
    if look.variant == "elliptical":
        disc, core, lane = 1.3 * np.exp(-r / 0.11), np.exp(-((r / 0.09) ** 2)), 0.0 * r
    elif look.variant == "ring":
        disc = 1.25 * np.exp(-(((r - 0.29 - 0.02 * cloud) / 0.055) ** 2)) * (1 + 0.5 * cloud) + 0.3 * np.exp(-r / 0.1)
        core, lane = np.exp(-((r / 0.055) ** 2)), 0.0 * r
    else:
        bar = 0.0
        if look.variant == "barred":
            bar = np.exp(-((ay / 0.028) ** 2)) * smooth(0.17, 0.11, np.abs(ax))
        wind = phase - twist * np.log(r + 0.03) + 0.25 * cloud
        arm = (0.5 + 0.5 * np.cos(arms * wind)) ** 2
        lane = (0.5 + 0.5 * np.cos(arms * wind + 1.4)) ** 6 * smooth(0.05, 0.14, r)
        disc = np.exp(-r / 0.2) * (0.16 + 1.7 * arm * (0.75 + 0.6 * cloud)) * smooth(0.5, 0.36, r) + bar
        core = np.exp(-((r / 0.06) ** 2)) + 0.4 * np.exp(-r / 0.05)
    color = SPACE + 0.9 * stars(x, y, px, look.seed + 3, 0.3, 0.06)
    glow = np.clip(disc, 0, 1.6)
    color = color + glow[..., None] * mix(main, light, np.clip(glow - 0.45, 0, 1))
    color *= (1 - 0.55 * np.clip(lane, 0, 1) * smooth(0.0, 0.4, glow))[..., None]
    knots, h, _ = spots(ax, ay, px, 0.045, 0.009, look.seed + 8)
    color += (knots * smooth(0.25, 0.8, glow) * smooth(0.5, 0.8, h))[..., None] * np.asarray(
        look.second_tones[0], np.float32
    )
    color += core[..., None] * np.array((1.0, 0.93, 0.78), np.float32) * 0.95
    return color, smooth(0.8, 0.36, np.hypot(x, y))


def paint_nebula(x, y, px, look: Look, nested: bool):
    """Glowing clouds of gas with stars, or a cluster of stars; brightest in the middle."""
    light, main, dark = (np.asarray(t, np.float32) for t in look.tones)
    r = np.hypot(x, y)
    wx, wy = fbm(x * 3, y * 3, look.seed, 3 * px, 3), fbm(x * 3 + 8, y * 3, look.seed + 1, 3 * px, 3)
    gas = fbm(x * 4 + 1.1 * wx, y * 4 + 1.1 * wy, look.seed + 2, 4 * px, 5, 0.55)
    ridge = 1.0 - np.abs(fbm(x * 5 - wx, y * 5 + wy, look.seed + 3, 5 * px, 4)) * 2.2
    thin = look.variant == "stars"
    body = np.clip(0.5 + 0.8 * gas, 0, 1) * (0.25 + 0.9 * np.exp(-((r / 0.42) ** 2))) * (0.4 if thin else 1.0)
    color = mix(SPACE, dark, smooth(0.03, 0.35, body))
    color = color * (1 - smooth(0.25, 0.75, body))[..., None] + (smooth(0.25, 0.75, body))[..., None] * main
    rim = np.clip(ridge, 0, 1) ** 4 * smooth(0.15, 0.5, body)
    color += (0.55 * rim)[..., None] * light
    other = smooth(0.05, 0.5, wx) * smooth(0.1, 0.5, body)
    color = mix(color, np.asarray(look.second_tones[1], np.float32), 0.7 * other)
    color *= (1 - 0.65 * smooth(0.1, 0.45, wy) * smooth(0.3, 0.0, ridge))[..., None]
    color += stars(x, y, px, look.seed + 9, 0.75 if thin else 0.3, 0.045) * (1.5 if thin else 1.1)
    if thin:
        amount, h, g = spots(x, y, px, 0.085, 0.011, look.seed + 12)
        near = (g < np.exp(-((r / 0.3) ** 2))).astype(np.float32)
        color += (1.4 * near * amount)[..., None] * mix(light, main, 0.5 * h)
    color += (0.5 * np.exp(-((r / 0.11) ** 2)))[..., None] * light
    return color, smooth(0.85, 0.25, r)


def paint_system(x, y, px, look: Look, nested: bool):
    """A sun with the orbits of its planets. Nested, a planet is in the middle and the sun beside it."""
    v = look.values
    light, main, dark = (np.asarray(t, np.float32) for t in look.tones)
    away = 0.3 if nested else 0.0
    sx, sy = away * np.cos(look.turn), away * np.sin(look.turn)
    r, phase = np.hypot(x - sx, y - sy), np.arctan2(y - sy, x - sx)
    color = SPACE + stars(x, y, px, look.seed, 0.3, 0.07) * 0.7
    haze = fbm(x * 3, y * 3, look.seed + 1, 3 * px, 3)
    color = color + (0.10 * np.clip(haze + 0.3, 0, 1))[..., None] * np.asarray(look.second_tones[1], np.float32)
    step = 0.09 + 0.045 * v[0]
    orbits = [away] if nested else []
    orbits += [q for q in (0.13 + step * n for n in range(5)) if not nested or abs(q - away) > 0.06]
    wide = max(0.0035, 0.6 * px)
    for n, q in enumerate(orbits):
        line = np.exp(-(((r - q) / wide) ** 2)) * min(1.0, 0.0035 / wide + 0.25)
        color += (0.55 * line)[..., None] * mix(np.full(3, 0.75, np.float32), light, np.full_like(r, 0.5))
        if nested and n == 0:
            continue
        a = 6.2832 * v[1 + n % 7] + 2.4 * n
        size = 0.013 + 0.02 * ((v[2] * 7 + n * 0.618) % 1.0)
        cx, cy = sx + q * np.cos(a), sy + q * np.sin(a)
        d = np.hypot(x - cx, y - cy)
        lit = np.clip(0.55 - ((x - cx) * (cx - sx) + (y - cy) * (cy - sy)) / (q * size * 1.6), 0.12, 1)
        hues = ((0.35, 0.6, 1), (0.95, 0.6, 0.3), (0.85, 0.35, 0.25), (0.9, 0.85, 0.65), (0.5, 0.85, 0.7))
        inside = smooth(size + 0.7 * px, size - 0.7 * px, d)
        color = mix(color, lit[..., None] * np.asarray(hues[(n + int(v[3] * 5)) % 5], np.float32), inside)
    if look.variant == "belt":
        rocks, h, g = spots(phase * 0.3, r, px, 0.014, 0.0035, look.seed + 4)
        q = 0.24 if not nested else 0.2
        color += (rocks * np.exp(-(((r - q) / 0.025) ** 2)) * (g < 0.8))[..., None] * np.array(
            (0.8, 0.72, 0.6), np.float32
        )
    size = 0.06 + 0.02 * v[4]
    color += (0.8 * np.exp(-((r / (1.7 * size)) ** 1.2)))[..., None] * main
    color = mix(color, light, smooth(size + px, size * 0.9 - px, r) * 0.95)
    color += (0.5 * np.exp(-((r / size) ** 2)))[..., None]
    return color, smooth(0.85, 0.3, np.hypot(x, y))


def surface(x, y, px, look: Look, land: Look):
    """The face of a planet as a flat map: colour [..., 3]. `land` colours living worlds."""
    v = look.values
    light, main, dark = (np.asarray(t, np.float32) for t in look.tones)
    second = [np.asarray(t, np.float32) for t in look.second_tones]
    if look.variant == "gas":
        ax, ay = turn(x, y, 0.6 * (v[0] - 0.5))
        flow = fbm(ax * 3, ay * 9, look.seed, 9 * px, 4)
        band = np.sin(ay * (22 + 14 * v[1]) + 1.6 * flow + 6 * v[2])
        color = mix(main, light, smooth(-0.2, 0.9, band))
        color = mix(color, second[1], 0.75 * smooth(-0.1, -0.9, band))
        d = np.hypot((ax - 0.12) / 1.7, ay - 0.14 + 0.1 * v[4])
        return mix(color, second[2], 0.8 * smooth(0.07, 0.03, d) * (v[5] > 0.5))
    height = fbm(x * 4.2, y * 4.2, look.seed, 4.2 * px, 6, 0.55)
    height = height + 0.45 * np.exp(-(x * x + y * y) / 0.03)
    fine = fbm(x * 13, y * 13, look.seed + 2, 13 * px, 3)
    if look.variant in ("ocean", "living"):
        level = 0.12 if look.variant == "ocean" else -0.06
        _, shallow, deep = land.second_tones
        sea = mix(deep, shallow, smooth(level - 0.6, level, height + 0.1 * fine))
        low, high = land.tones[1], land.tones[0]
        ground = mix(np.asarray(low, np.float32) * 0.85, high, smooth(level + 0.05, level + 0.6, height + 0.3 * fine))
        color = mix(sea, ground, smooth(level - 1.5 * px, level + 1.5 * px + 0.02, height))
        color = mix(color, (0.97, 0.98, 1.0), smooth(0.33, 0.38, np.abs(y) + 0.05 * fine))
        cloud = fbm(x * 4 + 3 * height, y * 8, look.seed + 4, 8 * px, 5)
        return mix(color, (1.0, 1.0, 1.0), 0.85 * smooth(0.12, 0.45, cloud))
    if look.variant == "ice":
        color = mix(main, light, smooth(-0.5, 0.4, height))
        cracks = smooth(0.05, 0.0, np.abs(fine + 0.5 * height))
        return mix(color, second[1], 0.65 * cracks)
    if look.variant == "lava":
        color = mix(dark, main, smooth(-0.5, 0.6, height + 0.3 * fine))
        glow = smooth(0.14, 0.0, np.abs(height + 0.25 * fine))
        color = mix(color, (0.95, 0.22, 0.05), glow)
        return mix(color, (1.0, 0.8, 0.25), smooth(0.75, 1.0, glow))
    color = mix(dark + 0.25 * main, main, smooth(-0.6, 0.1, height))
    color = mix(color, light, smooth(0.0, 0.7, height + 0.3 * fine))
    f1, _, dx, dy, h, _ = cells(x * 7, y * 7, look.seed + 6, 0.9)
    crater = smooth(0.32, 0.26, f1) * (h > 0.6)
    return color * (1 - 0.35 * crater * smooth(0.3, -0.3, dx + dy))[..., None]


def paint_planet(x, y, px, look: Look, nested: bool, land: Look):
    """A planet's lit disc before stars, with a ring where the look says so."""
    v = look.values
    size = 0.30 if look.extra == "ring" else 0.40
    color = SPACE + stars(x, y, px, look.seed + 3, 0.35, 0.07)
    r2 = (x * x + y * y) / (size * size)
    z = np.sqrt(np.clip(1 - r2, 0, 1))
    bulge = 1.0 / (0.55 + 0.45 * z)
    lx, ly, lz = np.cos(look.turn) * 0.72, np.sin(look.turn) * 0.72, 0.62
    lit = np.clip((x * lx + y * ly) / size + z * lz, 0, 1) ** 0.75
    face = surface(x * bulge * (0.4 / size), y * bulge * (0.4 / size), px * 0.4 / size, look, land)
    face = face * (0.05 + 1.08 * lit)[..., None]
    air = np.asarray(
        {"ocean": (0.45, 0.7, 1), "living": (0.45, 0.7, 1), "lava": (1, 0.4, 0.15)}.get(look.variant, look.tones[0]),
        np.float32,
    )
    face = face + (0.55 * (1 - z) ** 3 * lit)[..., None] * air
    edge = size * (np.sqrt(r2) - 1)
    color += (0.4 * np.exp(-np.clip(edge, 0, 9) / 0.02) * np.clip(0.3 + (x * lx + y * ly) / size, 0, 1))[
        ..., None
    ] * air
    inside = smooth(0.7 * px, -0.7 * px, edge)
    color = mix(color, face, inside)
    if look.extra == "ring":
        ax, ay = turn(x, y, 1.0 * (v[6] - 0.5))
        flat = 0.2 + 0.22 * v[7]
        q = np.hypot(ax, ay / flat)
        band = smooth(0.345, 0.355 + px, q) * smooth(0.49, 0.475 - px, q)
        gaps = (
            0.72
            + 0.28 * np.sin(q * 130 + 5 * v[1]) * smooth(0.02, 0.005, px)
            - 0.6 * np.exp(-(((q - 0.43) / 0.008) ** 2))
        )
        front = np.where(ay > 0, 1.0, 1.0 - inside)
        tone = mix(look.tones[0], (0.95, 0.88, 0.74), np.full_like(q, 0.5))
        color = mix(color, tone * (0.35 + 0.65 * gaps)[..., None], 0.9 * band * front * np.clip(gaps, 0.2, 1))
    cover = smooth(size + 0.05, size, np.hypot(x, y)) if look.extra != "ring" else smooth(0.6, 0.5, np.hypot(x, y))
    return color, np.maximum(cover, smooth(0.9, 0.6, np.hypot(x, y)))
