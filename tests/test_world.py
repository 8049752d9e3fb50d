"""The procedural world: one scene whatever the scale, seen through the pack's pixels; its captions and words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from demo_model import captions
from demo_model.captions import between_caption, caption, held_out, training_caption
from demo_model.data import AS_LEVELS, LOOSE, caption_of, draw_view, is_between, look_of, training_view, view_of
from demo_model.text import END, LENGTH, START, UNKNOWN, WordTokenizer, padded
from demo_model.upscaler import shrink
from demo_model.world import KINDS, draw, draw_stack, looks
from zoom_core import ZoomLevels, downscale


def test_the_same_seed_draws_the_same_world_and_another_seed_another():
    assert np.array_equal(draw(5, 4.2), draw(5, 4.2))
    assert np.abs(draw(5, 4.2) - draw(6, 4.2)).mean() > 0.02


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_every_kind_has_contrast_and_variety(kind):
    pictures = np.stack([draw(seed, kind) for seed in range(6)])
    assert pictures.shape == (6, 64, 64, 3) and pictures.dtype == np.float32
    assert pictures.min() >= 0 and pictures.max() <= 1
    assert pictures.std(axis=(1, 2, 3)).min() > 0.04
    assert np.abs(pictures[1:] - pictures[:1]).mean(axis=(1, 2, 3)).min() > 0.02


def test_a_shifted_view_shows_the_same_scene_shifted():
    still, moved = draw(3, 7.0, 64), draw(3, 7.0, 64, center=(4 / 64, 0.0))
    assert np.abs(still[:, 4:] - moved[:, :-4]).max() < 2e-3


@pytest.mark.parametrize("scale", [1.0, 3.0, 4.0, 5.0, 8.0, 9.0, 11.0])
def test_a_pixel_is_a_gaussian_view_of_finer_pixels(scale):
    fine = torch.from_numpy(draw(11, scale, 256)).permute(2, 0, 1)[None]
    coarse = torch.from_numpy(draw(11, scale, 64)).permute(2, 0, 1)
    through = shrink(fine)[0]
    other = torch.from_numpy(draw(12, scale, 64)).permute(2, 0, 1)
    error = (through - coarse)[:, 4:-4, 4:-4].abs().mean()
    assert error < 0.03
    assert error < 0.25 * (through - other).abs().mean()


@pytest.mark.parametrize("start", [0.0, 3.0, 6.0])
def test_the_levels_of_a_drawn_stack_show_one_place(start):
    stacks = [torch.from_numpy(draw_stack(seed, 5, 4.0, 64, start)) for seed in (21, 22, 23, 24)]
    geometry = ZoomLevels.uniform(5, 4.0).resolve(64, 64)
    right, wrong = [], []
    for i, inset in enumerate(geometry.insets):
        seen = stacks[0][i][:, inset.top : inset.top + inset.height, inset.left : inset.left + inset.width]
        off = [(seen - downscale(stack[i + 1], inset.height, inset.width)).abs().mean() for stack in stacks]
        right.append(off[0])
        wrong += off[1:]
    # Detail finer than a pixel fades out instead of being averaged, hence not equal.
    assert max(right) < 0.08
    assert sum(right) / len(right) < 0.4 * sum(wrong) / len(wrong)


def test_a_scale_outside_the_world_is_refused():
    with pytest.raises(ValueError, match="scale: expected -0.75 to 11.75, got 13"):
        draw(1, 13)


def test_views_are_of_the_kind_they_name():
    view = view_of(25)
    assert KINDS[view["kind"]] == KINDS[25 % 12] and abs(view["scale"] - view["kind"]) <= 0.35
    assert look_of(view).kind == view["kind"]
    assert draw_view(view).dtype == np.uint8


def test_pictures_between_two_kinds_are_said_to_show_both():
    numbers = [n for n in range(900) if is_between(n)]
    assert 0.1 < len(numbers) / 900 < 0.25
    rng = np.random.default_rng(3)
    nouns = [{noun for (kind, _), words in captions.NOUNS.items() if kind == name for noun in words} for name in KINDS]
    for number in numbers:
        view = training_view(number)
        assert 0.349 < view["scale"] - view["kind"] < 0.651 and not view["only"]
        said = caption_of(number, rng)
        for kind in (view["kind"], view["kind"] + 1):
            assert any(noun in said for noun in nouns[kind]), said
    assert all(training_view(n, LOOSE) == view_of(n) for n in range(60) if not is_between(n))


def test_the_model_learns_from_pictures_that_lie_as_levels_do():
    views = [training_view(n) for n in range(6000) if not is_between(n)]
    moved = {kind: [view["scale"] != kind for view in views if view["kind"] == kind] for kind in range(len(KINDS))}
    shares = {KINDS[kind]: sum(found) / len(found) for kind, found in moved.items()}
    assert shares == {kind: pytest.approx(share, abs=0.08) for kind, share in AS_LEVELS.moved.items()}
    # A level shows the next one in its middle; a caption alone does not say so.
    assert sum(view["only"] for view in views) / len(views) == pytest.approx(AS_LEVELS.alone, abs=0.02)
    still = [view for view in views if view["scale"] == view["kind"]]
    assert all(view["center"] == (0, 0) and view["angle"] == 0 for view in still)


def test_captions_between_two_kinds_never_name_a_kept_out_colour(monkeypatch):
    named = []
    monkeypatch.setattr(captions, "caption", lambda look, rng, form, color: named.append((look, form, color)) or "x")
    rng = np.random.default_rng(1)
    for seed in range(60):
        scene = looks(seed)
        for outer, inner in zip(scene, scene[1:]):
            between_caption(outer, inner, rng)
    assert any(color for _, _, color in named)
    assert not any(color and held_out(look, form) for look, form, color in named)


def test_training_never_says_a_kept_out_combination(monkeypatch):
    said = []
    monkeypatch.setattr(captions, "caption", lambda look, rng, form: said.append((look, form)))
    rng = np.random.default_rng(0)
    for seed in range(150):
        for look in looks(seed, apart=True):
            training_caption(look, rng)
    assert len(said) == 1800
    assert not any(held_out(look, form) for look, form in said)
    everything = [held_out(look, form) for look, _ in said for form in captions.FORMS]
    assert 0.05 < np.mean(everything) < 0.2


def test_captions_name_the_colour_and_the_kind():
    rng = np.random.default_rng(2)
    for seed in range(40):
        look = looks(seed)[1]
        text = caption(look, rng, "plain", color=True)
        assert "galaxy" in text
        assert any(word in text for word in captions.COLORS[look.color])


def test_the_tokenizer_knows_every_word_of_the_grammar():
    tokenizer, rng = WordTokenizer.from_pretrained(), np.random.default_rng(4)
    letters = {tokenizer.index["#" + c] for c in "abcdefghijklmnopqrstuvwxyz"}
    for seed in range(100):
        for look in looks(seed, apart=bool(seed % 2)):
            tokens = tokenizer(caption(look, rng))["input_ids"]
            assert tokens[0] == START and tokens[-1] == END
            assert not letters & set(tokens) and UNKNOWN not in tokens


@pytest.mark.parametrize(
    "text", ["", "GALAXIES!!", "una galaxia", "星系", "x" * 500, "a\nb\tc", "sci-fi (space:1.2) \\ art", "🌌 42"]
)
def test_the_tokenizer_takes_any_text(text):
    tokenizer = WordTokenizer.from_pretrained()
    tokens = padded(tokenizer(text)["input_ids"])
    assert len(tokens) == LENGTH and all(0 <= t < len(tokenizer.words) for t in tokens)
    assert tokenizer("Galaxies, RED.") == tokenizer("galaxies red")
