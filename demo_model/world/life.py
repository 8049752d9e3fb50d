"""The kinds under the magnifying glass: leaf, tissue, cell."""

import numpy as np

from .earth import lighting
from .looks import Look
from .noise import cells, fbm, mix, smooth, spots, turn


def blade(x, y, look: Look):
    """Signed distance-like shape of a leaf: below 0 inside, the stem points to -x."""
    a, r = np.arctan2(y, x), np.hypot(x, y)
    if look.variant == "maple":
        lobes = 0.30 + 0.105 * np.cos(5 * a) + 0.035 * np.cos(15 * a) - 0.05 * np.cos(a)
        return r - np.where(np.abs(a) > 2.75, 0.15, lobes) * 1.02
    if look.variant == "heart":
        return r - 0.29 * (
            1.18
            - 0.38 * np.cos(a) ** 3
            + 0.42 * np.exp(-(((a) / 0.35) ** 2))
            - 0.5 * np.exp(-(((np.abs(a) - np.pi) / 0.3) ** 2))
        )
    if look.variant == "round":
        return r - 0.36 + 0.012 * np.cos(18 * a)
    width = 0.12 if look.variant == "long" else 0.215
    t = np.clip((x + 0.42) / 0.84, 0, 1)
    half = width * np.clip(np.sin(np.pi * t**0.8), 0, 1) ** 0.8 * 1.15
    return np.where((x > -0.42) & (x < 0.42), np.abs(y) - half, 1.0)


def paint_leaf(x, y, px, look: Look, nested: bool):
    """One leaf with its veins before dim foliage."""
    light, main, dark = (np.asarray(t, np.float32) for t in look.tones)
    ax, ay = turn(x, y, look.turn)
    f1, _, dx, dy, h, g = cells(x * 4.2 + 3, y * 4.2, look.seed, 0.9)
    back = {
        "spring": (0.22, 0.42, 0.12),
        "summer": (0.07, 0.23, 0.08),
        "autumn": (0.28, 0.13, 0.05),
        "winter": (0.78, 0.84, 0.92),
    }[look.season]
    color = (
        np.asarray(back, np.float32)
        * (0.55 + 0.75 * h * smooth(0.8, 0.2, f1) + 0.15 * fbm(x * 9, y * 9, look.seed + 1, 9 * px, 3))[..., None]
    )
    sx, sy = turn(x - 0.03, y - 0.03, look.turn)
    color = color * (1 - 0.55 * smooth(0.04, -0.04, blade(sx, sy, look)))[..., None]
    edge = blade(ax, ay, look)
    stem = smooth(0.014 + px, 0.009 - px, np.abs(ay + 0.1 * (ax + 0.3) ** 2)) * (ax < -0.15) * (ax > -0.5)
    color = mix(color, 0.6 * main + 0.2, stem)
    grain = fbm(ax * 16, ay * 16, look.seed + 2, 16 * px, 3)
    patch = fbm(ax * 4, ay * 4, look.seed + 3, 4 * px, 3)
    body = mix(main * 0.9, main * 0.55 + 0.3 * dark, smooth(0.0, 0.6, patch))
    if look.season == "autumn":
        body = mix(body, np.asarray(look.second_tones[1], np.float32), 0.55 * smooth(0.15, 0.6, -patch))
    body = body * (1.0 + 0.1 * grain - 0.9 * ay * 0.4 * np.sign(look.values[0] - 0.5))[..., None]
    if look.variant == "maple":
        v = np.full_like(ax, 1.0)
        for q in (-2.513, -1.2566, 0.0, 1.2566, 2.513):
            vx, vy = turn(ax + 0.06, ay, q)
            v = np.minimum(v, np.where(vx > 0, np.abs(vy) + 0.012 * vx / 0.3, 1.0))
            ribs = np.abs(np.mod(vx * 11 - np.abs(vy) * 9, 1.0) - 0.5) / 11
            v = np.minimum(v, np.where((vx > 0.03) & (np.abs(vy) < 0.28 * vx + 0.02), ribs + 0.004, 1.0))
    else:
        v = np.abs(ay) * 0.75
        slope = 0.75 + 0.3 * look.values[1]
        step = 8.5 + 3 * look.values[2]
        ribs = np.abs(np.mod((ax - slope * np.abs(ay) * (1 + 0.8 * np.abs(ay))) * step, 1.0) - 0.5) / step
        v = np.minimum(v, ribs + 0.0045)
    wide = max(0.008, 0.8 * px)
    body = mix(body, light, 0.75 * smooth(wide + 0.006, 0.25 * wide, v))
    shine = smooth(-0.02, -0.14, edge) * np.clip(0.35 + 0.9 * patch, 0, 0.3)
    body = body + (0.35 * shine)[..., None]
    body = body * smooth(0.03, -0.05, edge + 0.0)[..., None] ** 0.25
    color = mix(color, body, smooth(0.8 * px, -0.8 * px, edge))
    if look.extra == "drops":
        f, _, qx, qy, h, g = cells(x * 6.5, y * 6.5, look.seed + 8, 0.7)
        size = 0.17 + 0.2 * h
        drop = smooth(size, size - 0.06 - 6 * px, f) * (g > 0.35) * smooth(0.0, -0.03, edge)
        color = mix(color, mix(color * 0.75, light, np.clip(0.5 + 1.2 * (qx + qy), 0, 1)), 0.75 * drop)
        glint = np.exp(-((qx + 0.3 * size) ** 2 + (qy + 0.3 * size) ** 2) / (0.05 + 2 * px) ** 2)
        color = color + (drop * glint * 1.1)[..., None]
    cover = smooth(0.06, 0.01, np.minimum(edge, blade(sx, sy, look))) if nested else smooth(0.9, 0.62, np.hypot(x, y))
    return lighting(color, look, x, y), cover


def paint_tissue(x, y, px, look: Look, nested: bool):
    """Many plant cells side by side, as under a microscope."""
    light, main, dark = (np.asarray(t, np.float32) for t in look.tones)
    nucleus = np.asarray(look.second_tones[2], np.float32)
    ax, ay = turn(x, y, look.turn)
    size = 0.19
    stretch = 1.0 + 0.8 * look.values[0]
    f1, f2, dx, dy, h, g = cells(ax / (size * stretch), ay / size, look.seed, 0.62)
    wall = f2 - f1
    edge = px / size
    body = mix(light * 0.92, main, 0.25 + 0.5 * h) * (1.02 - 0.25 * f1 - 0.12 * (dx + dy))[..., None]
    dots, q, o = spots(ax, ay, px, 0.055, 0.0115, look.seed + 2)
    green = np.asarray(0.75 * main + 0.1 * dark, np.float32)
    body = mix(
        body, green * (0.7 + 0.4 * q)[..., None], 0.9 * smooth(0.25, 0.6, dots) * (o < 0.75) * smooth(0.12, 0.24, wall)
    )
    core = smooth(0.17 + edge, 0.13 - edge, np.hypot(dx + 0.1, dy - 0.08)) * (g > 0.35)
    body = mix(body, nucleus + 0.12, 0.9 * core)
    thick = 0.13 if look.variant == "wall" else 0.22
    color = mix(dark * 0.9 + 0.1 * main, body, smooth(thick * 0.45 - edge, thick + edge, wall))
    line = smooth(0.05 + edge, 0.0, wall)
    color = mix(color, light, 0.65 * line)
    return color, smooth(0.9, 0.3, np.hypot(x, y))


def paint_cell(x, y, px, look: Look, nested: bool):
    """One cell with its nucleus and organelles."""
    light, main, dark = (np.asarray(t, np.float32) for t in look.tones)
    core_light, core, core_dark = (np.asarray(t, np.float32) for t in look.second_tones)
    ax, ay = turn(x, y, look.turn)
    a, r = np.arctan2(ay, ax), np.hypot(ax, ay)
    plant = look.variant == "plant"
    glow = look.variant == "glowing"
    wob = 0.035 * fbm(np.cos(a) * 1.8, np.sin(a) * 1.8, look.seed, px, 3)
    if plant:
        six = np.cos(np.mod(a + np.pi / 6, np.pi / 3) - np.pi / 6)
        reach = r * (0.75 * six + 0.25) - 0.40 - 0.6 * wob
    else:
        reach = r - 0.38 - 1.6 * wob
    fine = fbm(x * 14, y * 14, look.seed + 1, 14 * px, 4)
    outside = np.asarray((0.02, 0.03, 0.05) if glow else 0.82 * light + 0.12 * main, np.float32)
    color = outside * (0.95 + 0.12 * fine)[..., None]
    inner = mix(
        main * (0.62 if glow else 0.9), light * (0.6 if glow else 0.97), np.clip(0.5 + 0.5 * fine - 0.4 * (x + y), 0, 1)
    )
    if glow:
        strands = 1 - np.abs(fbm(ax * 7, ay * 7, look.seed + 5, 7 * px, 4)) * 3
        inner = 0.55 * inner + (0.6 * np.clip(strands, 0, 1) ** 2)[..., None] * light
    nx, ny = 0.09 * (look.values[0] - 0.5), 0.09 * (look.values[1] - 0.5)
    if plant:
        d = np.hypot(ax - 0.17, ay + 0.06) + 0.04 * wob
        inner = mix(inner, 0.55 * light + 0.45 * np.array((0.8, 0.93, 1.0), np.float32), 0.75 * smooth(0.2, 0.18, d))
        nx, ny = nx - 0.13, ny + 0.08
    f1, _, dx, dy, h, g = cells(ax * 8.5, ay * 8.5, look.seed + 7, 0.75)
    bx, by = turn(dx, dy, 0.0)
    c, s = np.cos(6.28 * h), np.sin(6.28 * h)
    rod = np.hypot((bx * c + by * s) * 0.62, by * c - bx * s)
    size = 0.17 + 0.09 * g
    organ = smooth(size + 8.5 * px, size - 8.5 * px, rod) * (g > 0.25) * smooth(-0.025, -0.05, reach)
    tint = np.asarray(0.55 * main + 0.35 * dark if plant else core * 0.7 + 0.2 * main, np.float32)
    inner = mix(inner, tint * (1.15 - 0.9 * (dx + dy))[..., None] * (1.5 if glow else 1), 0.9 * organ)
    q = np.hypot(ax - nx, ay - ny)
    size = 0.125 + 0.03 * look.values[2]
    ball = core * (1.25 - 1.9 * ((x - y * 0) * 0.5 + y * 0.5) + 0.28 * fine)[..., None]
    inner = mix(inner, core_dark, 0.8 * smooth(size + 0.02 + px, size + 0.008 - px, q))
    inner = mix(inner, ball, smooth(size + px, size - px, q))
    inner = mix(
        inner,
        core_dark if not glow else core_light,
        0.9 * smooth(0.048 + px, 0.04 - px, np.hypot(ax - nx - 0.03, ay - ny - 0.02)),
    )
    color = mix(color, inner, smooth(0.8 * px, -0.8 * px, reach))
    wide = 0.03 if plant else 0.016
    skin = np.exp(-((reach / max(wide, px)) ** 2))
    color = mix(color, main * 0.75 + 0.25 * dark if not glow else light, 0.9 * skin)
    cover = smooth(0.05, 0.02, reach) if nested else smooth(0.9, 0.66, np.hypot(x, y))
    return color, cover
