"""The changes that `mutation.py` makes, each a mistake somebody could make, and the tests that should notice."""

from __future__ import annotations

from typing import NamedTuple


class Change(NamedTuple):
    """`old`, which stands once in `file`, becomes `new`; tests: names of files in tests/, most likely first."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        """The change for people, on one line."""
        return f"{self.file}: {' '.join(self.old.split())} -> {' '.join(self.new.split()) or 'nothing'}"


def _changes(file: str, tests: str, *pairs: tuple[str, str]) -> list[Change]:
    return [Change(file, old, new, tuple(f"test_{name}" for name in tests.split())) for old, new in pairs]


_OPERATORS = "operators geometry arithmetic blending border photograph"
_BLENDING = "border blending endless arithmetic joint_memory"
_FILMS = "fades devices view motion camera stack endless_film"
_SAMPLING = "joint_inputs joint_extras joint_memory joint_guiders cfg_interval endless_nodes sampler_failures"

CHANGES = [
    *_changes(
        "zoom_core/axes.py",
        _OPERATORS,
        # Sigma of P, its reach, and the centre of rows at the frame's ends.
        ("sigma = max(math.sqrt(max(axis.zoom**2 - 1, 0) / 4), _NARROWEST)", "sigma = max(axis.zoom / 2, _NARROWEST)"),
        ("exponent = torch.where(offset.abs() <= reach, -0.5", "exponent = torch.where(offset.abs() <= reach, -0.4"),
        ("reach = max(_REACH * sigma, 1.0)", "reach = max(sigma, 1.0)"),
        ("rows[moved] = _centred(exponent[moved], offset[moved], reach / sigma**2)", "pass"),
        ("for _ in range(60):", "for _ in range(6):"),
        # Sigma of D, at whole and at fractional zooms.
        ("get_gaussian_kernel1d(zoom, zoom / 2,", "get_gaussian_kernel1d(zoom, zoom / 1.8,"),
        ("(offset / (0.5 * axis.zoom)) ** 2", "(offset / (0.55 * axis.zoom)) ** 2"),
        # Its centre, and the tilt that keeps it there.
        ("offset = pixel + 0.5 - (begin + 0.5 * axis.zoom)", "offset = pixel - (begin + 0.5 * axis.zoom)"),
        ("rows = rows * (1 - offset * ", "rows = rows * (1 + offset * "),
        ("torch.where(second > 1e-12, first / second", "torch.where(second > 1e12, first / second"),
        ("inside * torch.exp(", "(inside > 0) * torch.exp("),
        # White noise.
        ("return rows / rows.norm(dim=1, keepdim=True)", "return rows / rows.sum(dim=1, keepdim=True)"),
        ("(vectors * values.rsqrt()) @ vectors.T @ rows", "rows / rows.norm(dim=1, keepdim=True)"),
        # Which pixels lie wholly inside an inset.
        ("begin = math.ceil(start - ROUNDING)", "begin = math.floor(start + ROUNDING)"),
        ("end = math.floor(start + length + ROUNDING)", "end = math.ceil(start + length - ROUNDING)"),
        ("first = (begin - start) * zoom", "first = (start - begin) * zoom"),
        # Expansion.
        ("- 2.5 * distance**2 + 1\n", "- 2.4 * distance**2 + 1\n"),
        ("weight * (1 + beyond)", "weight * (1 - beyond)"),
        ("torch.linalg.solve((down @ smooth).T, smooth.T).T", "smooth"),
        # What the caller's torch is set to.
        ("NEGLIGIBLE = 1e-8", "NEGLIGIBLE = 1e-3"),
        ('("fp32_precision", "ieee")', '("fp32_precision", "tf32")'),
        ("torch.autocast(device.type, enabled=False)", "torch.autocast(device.type, enabled=True)"),
        (
            'with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):\n        tiles',
            'with torch.no_grad(), torch.device("cpu"):\n        tiles',
        ),
        (
            'with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):\n        tiles',
            "with torch.inference_mode(False), torch.no_grad():\n        tiles",
        ),
        # Long axes are built in parts.
        ("reach = _REACH * axis.zoom / 2 + 2", "reach = 2"),
        ("_FADE = 40", "_FADE = 2"),
    ),
    *_changes(
        "zoom_core/operators.py",
        "operators endless arithmetic geometry",
        ("_SMALLEST_NOISE = 1 / 16", "_SMALLEST_NOISE = 1 / 2"),
        ("for pair in outwards(geometry):", "for pair in outwards(geometry)[::-1]:"),
        ("torch.float64 if tensor.dtype == torch.float64 else torch.float32", "tensor.dtype"),
        ("if not 1 <= size <= available:", "if not 1 <= size < available:"),
        ("range(min(deepest + 1, len(geometry) - 1))", "range(min(deepest - 1, len(geometry) - 1))"),
        ("pair.reduce_noise(inner[pair.inner])", "pair.reduce(inner[pair.inner])"),
        ("islice(geometry.inwards(0), count), 1 + 1e-6) < count", "islice(geometry.inwards(0), count), 1) <= count"),
        ("wanted = math.ceil(", "wanted = math.floor("),
    ),
    *_changes(
        "zoom_core/blending.py",
        _BLENDING,
        ("_SHARE = 0.3", "_SHARE = 0.4"),
        ("_DEPTH = 2.0", "_DEPTH = 3.0"),
        ("_BAND_STEP = 4", "_BAND_STEP = 2"),
        ("_ROUND = 0.8, 1.2", "_ROUND = 0.7, 1.1"),
        ("return 1 - (1 - known * border) * (1 - known * corners)", "return known * border"),
        ("return 1 - (1 - known * border) *", "return 1 - (1 - border) *"),
        ("finer.dtype, length, band)", "finer.dtype, length or 1e-9, band)"),
        ("** (band + 1)) ** _FALL", "** band) ** _FALL"),
        ("_FALL = 2.6", "_FALL = 2.0"),
        ("_LENGTH_POWER, _LENGTH_OF_FRAME = 2.5, 0.75", "_LENGTH_POWER, _LENGTH_OF_FRAME = 3.0, 0.75"),
        ("_LENGTH_OF_FRAME = 2.5, 0.75, 0.25", "_LENGTH_OF_FRAME = 2.5, 1.0, 0.25"),
        ("2.5, 0.75, 0.25", "2.5, 0.75, 0.5"),
        ("torch.exp(-distance / length)", "torch.exp(-((distance / length) ** 2))"),
        ("axis.start + axis.count - 1)).abs()", "axis.start + axis.count)).abs()"),
        ("pad(seen - inset, margins", "pad(inset - seen, margins"),
        ("    inset.copy_(seen)\n", "    pass\n"),
        ("torch.addcmul(correction, finer - below, shares)", "torch.addcmul(correction, finer, shares)"),
        ("correction = _SHARE * reduced[-1]", "correction = reduced[-1]"),
        ("alpha=1 / (k * (k + 1))", "alpha=1 / (k * k)"),
        ("reduced[-1] / (len(reduced) * (len(reduced) + 1))", "reduced[-1] / (len(reduced) + 1)"),
        ("if min(size) < 1 - axes.ROUNDING:", "if min(size) < 2 - axes.ROUNDING:"),
        ("(around / (around + 1))", "(around / (around + 2))"),
        ("around = min(geometry.resolved(geometry.outwards(pair.inner)), len(geometry) - 1)", "pass"),
        (
            "own = images[pair.inner].to(device, layers.dtype, copy=True)",
            "own = layers[pair.inner].to(device, copy=True)",
        ),
        ("if not length >= 0:", "if length < -1:"),
    ),
    *_changes(
        "zoom_core/consolidation.py",
        "blending border photograph joint_extras joint_inputs",
        ("levels = constraint.after_rendering(levels)", "pass"),
        ("images = constraint.before_blending(images)", "pass"),
        ("return render_image(levels, geometry)", "return levels"),
        ("alone = len(constraints) == 1 and not geometry.closed", "alone = True"),
        ("gram.diagonal().add_(1e-12", "gram.diagonal().add_(1e-1"),
        ("previous = images if self._rendered is None else self._rendered", "previous = images"),
    ),
    *_changes(
        "zoom_core/geometry.py",
        "geometry endless stack_files operators",
        ("center * size - 0.5 * size / zoom + 0.5)", "center * size - 0.5 * size / zoom)"),
        ("if max(height, width) < smallest", "if min(height, width) < smallest"),
        ("i.left * fx, i.height * fy", "i.left * fy, i.height * fy"),
        ("if inset.height * SMALLEST < geometry.height or", "if inset.height * SMALLEST < geometry.height and"),
        ("fits = fits and inset.left + inset.width <= self.width + 1e-6", "pass"),
        ("chain(reversed(self.steps[:level])", "chain(self.steps[:level]"),
        ("end = start + 1\n", "end = start\n"),
    ),
    *_changes(
        "zoom_core/pairs.py",
        "endless blending operators geometry",
        ("range(last + tail - 1, -1, -1)", "range(last - 1, -1, -1)"),
        ("range(-lead, len(geometry) - 1)", "range(0, len(geometry) - 1)"),
        ("_GONE = 1e-3", "_GONE = 0.5"),
    ),
    *_changes(
        "zoom_core/levels.py",
        "geometry prompts endless",
        ("MIN_ZOOM = 1.25", "MIN_ZOOM = 1.2"),
        ("EDGE_TOLERANCE = 1e-6", "EDGE_TOLERANCE = 1e-2"),
        ("half = 0.5 / zoom", "half = 0.25 / zoom"),
        ("return replace(level, zoom=1.0, center=(0.5, 0.5))", "return level"),
        ("return self._levels, self._geometry, self._loop\n", "return self._levels, self._loop\n"),
    ),
    *_changes(
        "zoom_core/photograph.py",
        "photograph joint_extras",
        ("mean.lerp_(gradient, 0.1)", "mean.lerp_(gradient, 0.2)"),
        ("value=-learning_rate / (1 - 0.9**step)", "value=-learning_rate"),
        ("return difference if term.weight is None else difference * term.weight", "return difference"),
        ("missing *= chain[0].crop(self._where)", "pass"),
        (
            "result[self._level] += (self._picture - result[self._level]) * weight",
            "result[self._level] = self._picture",
        ),
        ("            inside.crop(level).copy_(seen)\n", ""),
        ("antialias=True", "antialias=False"),
        ("((whole - part) // 2 for", "(whole - part for"),
        ("if steps < 0:", "if steps <= 0:"),
        ("missing = inside.crop(correction)", "missing = 0 * inside.crop(correction)"),
        ("return self.level % count", "return abs(self.level)"),
        ("weight = None if self._where is None else self._where[region]", "weight = None"),
    ),
    *_changes(
        "zoom_core/seams.py",
        "seams border endless",
        # The reach over which fine bands fade, and the coarsest.
        ("_BAND_REACH = 4.0", "_BAND_REACH = 6.0"),
        ("_BAND_REACH = 4.0", "_BAND_REACH = 2.0"),
        ("reach = feather * height, feather * width", "reach = feather * width, feather * height"),
        ("_ALIKE, _UNLIKE = 0.99, 0.94", "_ALIKE, _UNLIKE = 0.99, 0.5"),
        ("_ALIKE, _UNLIKE = 0.99, 0.94", "_ALIKE, _UNLIKE = 0.999, 0.99"),
        ("depth = torch.minimum(center, size - center) - 0.5", "depth = torch.minimum(center, size - center)"),
        ("if feather == 0:", "if feather < 0:"),
        ("inner = own[pair.inner].to(device)", "inner = layers[pair.inner].to(device)"),
        ('"none" if method == "border" else method', "method"),
        ("on_level, device).clamp_(0, 1)", "on_level, device)"),
    ),
    *_changes(
        "zoom_core/alignment.py",
        "alignment endless",
        # Gain bounds of the colour match.
        (".clamp(0.8, 1.25)", ".clamp(0.5, 2.0)"),
        (".clamp(0.8, 1.25)", ".clamp(0.9, 1.1)"),
        ("outer_view.mean(1) - gain * inner_view.mean(1)", "outer_view.mean(1) - inner_view.mean(1)"),
        ("GOOD, POOR = 0.95, 0.5", "GOOD, POOR = 0.85, 0.5"),
        ("GOOD, POOR = 0.95, 0.5", "GOOD, POOR = 0.95, 0.1"),
        ("STILL = 0.25", "STILL = 3.0"),
        ("width, height = inset.width / scale, inset.height / scale", "width, height = inset.width, inset.height"),
        ("torch.tensor([degrees])", "torch.tensor([-degrees])"),
        ("MAX_SHIFT, MAX_SCALE, MAX_ROTATION = 0.15", "MAX_SHIFT, MAX_SCALE, MAX_ROTATION = 0.01"),
        ("pixel[:2, 2] = 0.5 * factor - 0.5", "pixel[:2, 2] = 0"),
        ('return "off" if self.aligned > self.likeness + 0.02', 'return "off" if self.aligned > self.likeness - 0.02'),
    ),
    *_changes(
        "zoom_core/compose.py",
        _FILMS,
        # The fade at a border, and the ramp.
        ("FADE = 0.04", "FADE = 0.08"),
        ("FADE = 0.04", "FADE = 0.01"),
        ("RAMP = 0.3\n", "RAMP = 0.2\n"),
        ("FADE_OF_MARGIN = 0.5", "FADE_OF_MARGIN = 1.0"),
        ("RAMP_OF_MARGIN = 1.0", "RAMP_OF_MARGIN = 0.5"),
        ("RAMP_POWER = 1.5", "RAMP_POWER = 1.0"),
        ("0.5 * w - 0.5 * max(w, 1.0)", "0.0"),
        ("max(-math.log2(pixel), 0.0)", "max(math.log2(pixel), 0.0)"),
        ("weight = smooth_step(np.minimum(low, high))", "weight = np.minimum(low, high)"),
        # Levels let go on the device.
        ("for other in list(self._levels)[:-2]:", "for other in list(self._levels)[:0]:"),
        ("for other in list(self._levels)[:-2]:", "for other in list(self._levels)[:-1]:"),
        ("+ 0.5 * step - 0.5\n", "+ 0.5 * step\n"),
        ("axis == 1, step / spacing)", "axis == 1, step)"),
        ("-(-columns.full_begin // tile) * tile", "columns.full_begin // tile * tile"),
        ("if rows.full_begin <= top and top + height <= rows.full_end:", "if rows.full_begin <= top:"),
    ),
    *_changes(
        "zoom_core/resample.py",
        "view world stack",
        ("PIXEL_VARIANCE * (step * step - 1)", "PIXEL_VARIANCE * (step * step)"),
        ("PIXEL_VARIANCE = 0.25", "PIXEL_VARIANCE = 0.2"),
        ("NOISE = 1e-3", "NOISE = 1e-1"),
        ("FADE_START = 2.0", "FADE_START = 4.9"),
        ("FINEST_STEP = 0.5", "FINEST_STEP = 0.1"),
        ("weights += (table[row + 1] - weights)", "weights += 0 * (table[row + 1] - weights)"),
        (
            "np.add.at(matrices[number[i], line[i]], index, weights[i])",
            "matrices[number[i], line[i], index] = weights[i]",
        ),
    ),
    *_changes(
        "zoom_core/path.py",
        "devices camera view endless_film motion",
        # The aim at a level.
        ("*(0.5 * (a + b) for a, b in zip(fixed, fixed[1:]))", "*(a for a, b in zip(fixed, fixed[1:]))"),
        ("ends = [0.5 * (fixed[0] + fixed[-1])] * 2 if closed", "ends = [fixed[0], fixed[-1]] if closed"),
        ("knots[i + 1] = point", "pass"),
        ("return (1 - s) ** 2 * (1 + 2 * s)", "return 1 - s"),
        ("turn *= 0.75", "turn *= 0.25"),
        ("rate = -math.log(scale) * scale**u", "rate = math.log(scale) * scale**u"),
        ("zoom = zoom % self.levels\n        elif", "pass\n        elif"),
        ("return min(max(self._free_start(t), 0.0), 1 - self.scale**t)", "return min(self._free_start(t), 0.5)"),
    ),
    *_changes(
        "zoom_core/camera.py",
        "camera motion endless_film",
        ("_RAMP = 0.15", "_RAMP = 0.25"),
        ("_SNAP = 1e-9", "_SNAP = 1e-2"),
        ("whole * (1 - done if self._outward else done)", "whole * done"),
        ("max(round(abs(whole) / 360), 1) * 360", "round(abs(whole) / 360) * 360"),
        ("1 - motion.strength + motion.strength * sound", "1 - motion.strength * sound"),
        ("self._steps + (not self.path.closed) + sum", "self._steps + 1 + sum"),
        ("(np.arange(self._steps * _PARTS) + 0.5)", "np.arange(self._steps * _PARTS)"),
    ),
    *_changes(
        "zoom_core/view.py",
        _FILMS,
        ("(height - inner_height) // 2, (width - inner_width) // 2", "0, 0"),
        (
            "_DENSE * np.array([[cosine, sine], [-sine, cosine]])",
            "_DENSE * np.array([[cosine, -sine], [sine, cosine]])",
        ),
        ("angle = 0.25 * math.pi * distance", "angle = 0.5 * math.pi * distance"),
        ("np.clip(0.5 * size - distance + 0.5, 0, 1)", "np.clip(0.5 * size - distance + 2.5, 0, 1)"),
        ("scale = min(1.0, 1 / (view.width * across)", "scale = min(0.9, 1 / (view.width * across)"),
    ),
    *_changes(
        "nodes/restarts.py",
        "restarts",
        ("_SEEDS_APART = 0x9E3779B9", "_SEEDS_APART = 1 << 32"),
        ("(1 - (ratios[last] / ratios[first]) ** 2) ** 0.5", "1 - ratios[last] / ratios[first]"),
        ("signal = torch.lerp(latent_image, signal, denoise_mask)", "pass"),
    ),
    *_changes(
        "nodes/devices.py",
        "devices joint_memory",
        # The room asked for on a GPU.
        ("_GPU_HEADROOM = 4", "_GPU_HEADROOM = 1"),
        ("_GPU_HEADROOM = 4", "_GPU_HEADROOM = 16"),
        ("needed = 4 * stack", "needed = stack"),
        ("2 * stack.height * stack.width + 2 * height * width", "2 * stack.height * stack.width"),
        ('or lies.type != "cpu"', ""),
    ),
    *_changes(
        "nodes/joint.py",
        _SAMPLING + " joint_sampler",
        ("shape = [1, *noise_shape[1:]]", "shape = list(noise_shape)"),
        ("[model, *self.loaded_models], memory_required=needed + more", "[model], memory_required=needed + more"),
        ("minimum_memory_required=least + more", "minimum_memory_required=least"),
        ("self.cfg if self._agreement.guided(sigma) else 1.0", "self.cfg"),
        ("if due and len(hooks) > patches:", "if False:"),
        ("hooks.insert(patches, self._agree_uncond)", "hooks.append(self._agree_uncond)"),
        ("samples[i] = latent_image[i]", "pass"),
        ("given[i if len(given) > 1 else 0]", "given[0]"),
        ("return self.model_patcher.model.process_latent_in(latent_image)", "return latent_image"),
        ("if self.draws_noise and len(sigmas) > 1:", "if False:"),
        ("return self._agreement.agree(denoised, sigma) if due else denoised", "return denoised"),
        ("self.__dict__.pop(name, None)", "pass"),
    ),
    *_changes(
        "nodes/agreement.py",
        _SAMPLING,
        ("self._evaluations % self._settings.consistency_every == 0 or sigma <= self._last", "True"),
        ("== 0 or sigma <= self._last", "== 0"),
        ("return due and low <= sigma <= high", "return due and low <= sigma"),
        ("percent_to_sigma(p)) for p in (window.end_percent", "percent_to_sigma(p)) for p in (window.start_percent"),
        ("denoised = torch.lerp(self._latent, denoised, self._mask)", "pass"),
        ("constraints.append(self._kept)", "pass"),
        ("where=1 - kept.mask[level] if partly else None", "where=None"),
        ("for step in (1,) if inwards_only else (-1, 1):", "for step in (-1, 1):"),
        ("return noise / signal if signal > 0 else math.inf", "return sigma"),
        ("return finer * correlation_length", "return correlation_length"),
        ("if not (main if self._iterative", "if not (False if self._iterative"),
        (
            "for held, (low, high) in self._constraints if low <= sigma <= high",
            "for held, (low, high) in self._constraints",
        ),
    ),
    *_changes(
        "nodes/side_by_side.py",
        "joint_inputs joint_extras model_patches model_matrix joint_memory",
        ("HEADROOM = 1.5", "HEADROOM = 0.1"),
        ("own = None if area is None else [*area[:-1], area[-1] - self._offset]", "own = area"),
        ("(*area[:-1], area[-1] + offset)", "(*area[:-1], area[-1])"),
        ('"uuid": uuid.uuid4()}', '"uuid": first["uuid"]}'),
        ('placed["uuid"] = _id_of_level(index)', "pass"),
        ("told = [batch[0] for batch in batches] if whole else _Scattered(kinds)", "told = list(kinds)"),
        ('or "multigpu_clones" in model_options', ""),
        ('and entry["model_conds"] is mark.model_conds', ""),
    ),
    *_changes(
        "nodes/layout.py",
        "joint_inputs endless_nodes sampler_failures joint_extras",
        (
            "samples = [batch[i : i + 1] for i, batch in enumerate(samples)]",
            "samples = [batch[:1] for batch in samples]",
        ),
        ("torch.ones_like(s[:, :1]) if mask is None", "torch.zeros_like(s[:, :1]) if mask is None"),
        ("if pictures.shape[0] not in (1, count):", "if pictures.shape[0] > count:"),
        ("if not bool(mask[i].any())", "if not bool(mask[i].all())"),
        ("if samples.ndim == 5 and samples.shape[2] != 1:", "if samples.ndim == 6:"),
        ("geometry = levels.geometry or levels.resolve(height, width)", "geometry = levels.resolve(height, width)"),
    ),
    *_changes(
        "nodes/lazy_video.py",
        "video endless_film devices",
        ("round(self._span.start * rate / frame_rate)", "0"),
        ("start if start >= 0 else count / rate + start", "abs(start)"),
        ("if self.memory() > free:", "if self.memory() > 4 * free:"),
        ("if shot == last:", "if last is not None:"),
        ("context.color_range = 1", "pass"),
        ("return Fraction(round(self._camera.fps * 1000), 1000)", "return Fraction(round(self._camera.fps))"),
        ("os.replace(part, path)", "os.link(part, path)"),
    ),
    *_changes(
        "nodes/spaces.py",
        "joint_extras joint_memory joint_inputs",
        ("latent + self.encode(changed, latent) - self.encode(pixels, latent)", "self.encode(changed, latent)"),
        ("        self._reload()\n", "        pass\n"),
        ("if self._vae.latent_dim == 3:", "if False:"),
    ),
]
