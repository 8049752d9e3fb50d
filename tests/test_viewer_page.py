"""Save Zoom Page, opened from disk in a real browser: the picture, the ways to fly, and what the page refuses."""

from __future__ import annotations

import base64
import io
import re
import time

import numpy as np
import pytest
import torch
from PIL import Image
from viewer_pages import SLOW, browser, new_page, picture_stack, watched, write_page

from zoom_core import ZoomLevel, ZoomLevels, ZoomStack
from zoom_core.page import bundle, page
from zoom_core.path import CameraPath
from zoom_core.view import StackRenderer, render_view
from zoom_core.web_levels import describe

pytestmark = pytest.mark.browser
STILL = ".zs-root[data-rest] .zs-stage[aria-busy=false]"
HOSTILE = [
    "<script>window.broken = 1</script><img src=x onerror='window.broken=1'>",
    "\"double\" 'single' `back` & </script><!-- \\ \u2028",
    "🌌🔭 family 👩‍👩‍👧‍👦",
    "\u202eמבט מהחלל שלום\u202c",
    "x" * 10_000,
    "",
]


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def stack() -> ZoomStack:
    return picture_stack()


@pytest.fixture(scope="module")
def address(stack, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "zoom.html"
    return write_page(path, stack, 95, title="From a planet to a leaf", license_line="CC BY 4.0")


@pytest.fixture
def opened(chromium, address):
    """The page in a window of its own, ready and without any complaint until the end."""
    tab = new_page(chromium, 900, 640)
    problems = watched(tab)
    tab.goto(address)
    tab.wait_for_selector(STILL)
    yield tab
    tab.close()
    assert problems == []


def decoded(address: str) -> np.ndarray:
    """The picture in a data URL, [H, W, 3] in 0..1."""
    picture = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGB")
    return np.asarray(picture, np.float32) / 255


def seen(tab) -> np.ndarray:
    """What the viewer has drawn."""
    return decoded(tab.evaluate("document.querySelector('.zs-stage canvas').toDataURL('image/png')"))


def until(tab, condition: str, argument=None):
    """Waits for a JavaScript function to give something, and gives that. The page forbids the evaluation that
    wait_for_function needs."""
    end = time.monotonic() + SLOW / 1000
    while not (found := tab.evaluate(condition, argument)):
        assert time.monotonic() < end, condition
        tab.wait_for_timeout(50)
    return found


def go(tab, level: int, t: float, x: float, y: float) -> None:
    """Through the page's address, then wait for the picture at rest."""
    tab.evaluate("(hash) => { location.hash = hash }", f"#at={level},{t!r},{x!r},{y!r}")
    until(
        tab,
        """(wanted) => {
            const rest = document.querySelector(".zs-root").dataset.rest?.split(",").map(Number);
            const busy = document.querySelector(".zs-stage").ariaBusy;
            return rest && busy === "false" && rest.every((value, i) => Math.abs(value - wanted[i]) < 1e-5);
        }""",
        [level, t, x, y],
    )


def place(tab) -> list[float]:
    """Level, t, x, y at rest."""
    text = until(
        tab,
        """() => document.querySelector(".zs-stage").ariaBusy === "false"
            && document.querySelector(".zs-root").dataset.rest""",
    )
    return [float(value) for value in text.split(",")]


def next_place(tab, before: list[float]) -> list[float]:
    """The same after the view has moved from there."""
    until(
        tab,
        """(old) => document.querySelector(".zs-root").dataset.rest?.split(",")
            .some((value, i) => Math.abs(Number(value) - old[i]) > 1e-5)""",
        before,
    )
    return place(tab)


def arrived(tab, level: int) -> None:
    """Waits for a level shown whole."""
    until(tab, "(level) => document.querySelector('.zs-root').dataset.rest?.startsWith(`${level},0,`)", level)


def zoom_of(tab) -> float:
    level, t, _, _ = place(tab)
    return level + t


# Who draws: WebGL in software says so by its name, and is then used for views at rest only.
WITHOUT_WEBGL = """
const own = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
    return kind === "webgl2" ? null : own.call(this, kind, ...more); };
"""
CARD = """
const own = WebGL2RenderingContext.prototype.getParameter;
WebGL2RenderingContext.prototype.getParameter = function (name) {
    return name === 0x9246 ? "A graphics card" : own.call(this, name); };
"""
DRAWERS = {"processor": "", "card": CARD, "browser": WITHOUT_WEBGL}
ZOOMS = (0, 0.2, 0.5, 0.97, 1, 1.4, 2.3, 3.05, 4.6, 5)


def go_to_zoom(tab, path: CameraPath, zoom: float) -> None:
    view = path.view(zoom)
    go(tab, view.level, zoom - view.level, view.left + view.width / 2, view.top + view.height / 2)


@pytest.mark.parametrize(("drawer", "quality", "most"), [("processor", 100, 2), ("card", 100, 2), ("processor", 95, 3)])
def test_the_picture_is_what_render_view_gives(chromium, stack, tmp_path, drawer, quality, most):
    """In steps of 255. These pictures are as saturated as any: WebP alone takes up to 1.6 of the second limit."""
    tab = new_page(chromium, 900, 640)
    tab.add_init_script(DRAWERS[drawer])
    tab.goto(write_page(tmp_path / "views.html", stack, quality))
    path = CameraPath(stack.geometry)
    for zoom in ZOOMS:
        go_to_zoom(tab, path, zoom)
        found = seen(tab)
        expected = render_view(stack, zoom, *found.shape[:2]).movedim(0, -1).numpy()
        assert abs(found - expected).mean() <= most / 255, zoom
        # Another place is far from it: the measure can fail.
        other = render_view(stack, (zoom + 0.3) % 5, *found.shape[:2]).movedim(0, -1).numpy()
        assert abs(found - other).mean() > 4 / 255, zoom
    tab.close()


@pytest.mark.parametrize(("drawer", "most", "share"), [("processor", 2, 0.5), ("card", 2, 0.5), ("browser", 4, 0.75)])
def test_fine_detail_fades_in_where_levels_are_magnified(chromium, tmp_path, drawer, most, share):
    """As the ramp of the renderer: without it, a square of fine detail would begin at the next level's border."""
    small = picture_stack(size=512)
    tab = new_page(chromium, 640, 640)
    tab.add_init_script(DRAWERS[drawer])
    tab.goto(write_page(tmp_path / "small.html", small, 100))
    path = CameraPath(small.geometry)
    for zoom in (0.6, 0.75, 2.6, 2.75):
        go_to_zoom(tab, path, zoom)
        found = seen(tab)
        height, width = found.shape[:2]
        with_ramp, without = (
            StackRenderer(small, height, width, ramp=ramp).render(zoom).movedim(0, -1).numpy() for ramp in (0.3, 0)
        )
        assert abs(found - with_ramp).mean() <= most / 255, zoom
        # Where the ramp changes the picture, the viewer has it.
        ramped = abs(with_ramp - without).max(-1) > 8 / 255
        assert ramped.mean() > 0.01, zoom
        assert abs(found - with_ramp)[ramped].mean() < share * abs(found - without)[ramped].mean(), zoom
    tab.close()


@pytest.mark.parametrize("drawer", DRAWERS)
def test_in_motion_the_picture_is_much_the_same(chromium, address, stack, drawer):
    tab = new_page(chromium, 700, 500)
    tab.add_init_script(DRAWERS[drawer])
    problems = watched(tab)
    tab.goto(address)
    tab.wait_for_selector(STILL)
    path = CameraPath(stack.geometry)
    go_to_zoom(tab, path, 1)
    for zoom in (1.3, 1.6, 1.9):
        view = path.view(zoom)
        place = (view.level, zoom - view.level, view.left + view.width / 2, view.top + view.height / 2)
        # The second frame after the view has changed; at rest it would be drawn again.
        picture = tab.evaluate(
            """async (hash) => {
                // On a busy machine frames may come before the page is told of its new address.
                const told = new Promise((resolve) => addEventListener("hashchange", resolve, { once: true }));
                location.hash = hash;
                await told;
                for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
                return document.querySelector(".zs-stage canvas").toDataURL("image/png");
            }""",
            "#at=" + ",".join(str(value) for value in place),
        )
        found = decoded(picture)
        expected = render_view(stack, zoom, *found.shape[:2]).movedim(0, -1).numpy()
        assert abs(found - expected).mean() < 6 / 255, zoom
    tab.close()
    assert problems == []


def test_no_step_shows_where_levels_change(opened, stack):
    for border in (1, 2, 3, 4):
        pictures = []
        for zoom in (border - 1e-4, border + 1e-4):
            level = int(zoom)
            go(opened, level, zoom - level, 0.5, 0.5)
            pictures.append(seen(opened))
        assert abs(pictures[0] - pictures[1]).mean() < 1 / 255, border


def test_beside_the_path_the_outer_level_shows(opened, stack):
    # Where level 2 ends to the left, half of the view is level 1.
    inset = CameraPath(stack.geometry).insets[1]
    go(opened, 1, 0.9, inset[0], 0.5)
    found = seen(opened)
    size = inset[2] ** 0.9, inset[3] ** 0.9
    height, width = found.shape[:2]
    share = min(1, width / height), min(1, height / width)
    columns = inset[0] + ((np.arange(width // 2) + 0.5) / width - 0.5) * size[0] * share[0]
    rows = 0.5 + ((np.arange(height) + 0.5) / height - 0.5) * size[1] * share[1]
    grid = torch.tensor(np.stack(np.meshgrid(columns, rows), -1) * 2 - 1, dtype=torch.float32)[None]
    outer = torch.nn.functional.grid_sample(stack.layers[1:2], grid, "bicubic", "border", align_corners=False)
    expected = outer[0].movedim(0, -1).clamp(0, 1).numpy()
    margin = width // 2 - 40
    assert abs(found[:, :margin] - expected[:, :margin]).mean() <= 4 / 255


def test_wheel_zooms_at_the_pointer(opened):
    box = opened.locator(".zs-stage").bounding_box()
    opened.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.4 * box["height"])
    before = place(opened)
    _, _, x, y = before
    opened.mouse.wheel(0, -240)
    level, t, x1, y1 = next_place(opened, before)
    assert level + t > 0.3
    share = min(1, box["width"] / box["height"]), min(1, box["height"] / box["width"])
    size = 0.25 ** (level + t)
    # The point under the pointer has stayed under it.
    assert x1 + 0.2 * share[0] * size == pytest.approx(x + 0.2 * share[0], abs=2e-3)
    assert y1 - 0.1 * share[1] * size == pytest.approx(y - 0.1 * share[1], abs=2e-3)
    opened.mouse.wheel(0, 2400)
    level, t, _, _ = next_place(opened, [level, t, x1, y1])
    assert level + t <= 0


def test_a_drag_moves(opened):
    go(opened, 2, 0.3, 0.5, 0.5)
    box = opened.locator(".zs-stage").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    opened.mouse.move(*middle)
    opened.mouse.down()
    for i in range(1, 6):
        opened.mouse.move(middle[0] - 20 * i, middle[1])
    opened.mouse.up()
    level, t, x, y = next_place(opened, [2, 0.3, 0.5, 0.5])
    share = min(1, box["width"] / box["height"])
    dragged = 100 / box["width"] * share * 0.25**0.3
    assert (level, y) == (2, 0.5)
    # As far as the hand, or a little further where it let go in motion.
    assert x - 0.5 > dragged - 1e-4


def test_keys_go_where_they_say(opened):
    for key, expected in (
        ("PageDown", 1), ("PageDown", 2), ("End", 5), ("PageUp", 4), ("0", 0), ("End", 5), ("Home", 0)
    ):  # fmt: skip
        opened.keyboard.press(key)
        arrived(opened, expected)
    opened.keyboard.press("+")
    nearer = zoom_of(opened)
    assert nearer > 0.1
    opened.keyboard.press("-")
    assert zoom_of(opened) == pytest.approx(0, abs=0.01)
    opened.keyboard.press("+")
    # Nothing lies to the right before it has come nearer.
    assert zoom_of(opened) == pytest.approx(nearer, abs=0.01)
    opened.keyboard.press("ArrowRight")
    assert place(opened)[2] > 0.5


def test_play_goes_inwards_and_a_pause_stops_it(opened):
    opened.keyboard.press("Space")
    until(opened, "() => Number(document.querySelector('.zs-rail').getAttribute('aria-valuenow')) > 1")
    opened.keyboard.press("Space")
    zoom = zoom_of(opened)
    opened.wait_for_timeout(400)
    assert zoom_of(opened) == zoom > 0.4
    assert opened.get_by_role("button", name="Play").count() == 1


def test_the_rail_is_a_slider_that_speaks(opened):
    rail = opened.get_by_role("slider")
    box = rail.bounding_box()
    opened.mouse.click(box["x"] + 20, box["y"] + box["height"] * 3.5 / 6)
    assert zoom_of(opened) == pytest.approx(3, abs=0.02)
    assert rail.get_attribute("aria-valuetext") == "level 4 of 6: zoom-4-forest"
    opened.keyboard.press("End")
    arrived(opened, 5)
    assert opened.locator(".zs-live").inner_text() == "× 1,024, level 6 of 6: zoom-6-leaf"


def test_full_screen_and_back(opened):
    opened.keyboard.press("f")
    assert opened.locator("dialog[open] .zs-stage").bounding_box()["height"] > 560
    opened.keyboard.press("End")
    opened.keyboard.press("Escape")
    opened.wait_for_selector("#zoom > .zs-root")
    assert opened.locator("dialog").count() == 0


def test_a_lost_context_comes_back_and_2d_draws_meanwhile(opened, stack):
    expected = render_view(stack, 0, *seen(opened).shape[:2]).movedim(0, -1).numpy()
    # The renderer's canvas is not in the document: catch it where contexts are made.
    opened.add_init_script(
        "const own = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...more) {"
        "  const made = own.call(this, kind, ...more);"
        "  if (kind === 'webgl2') {"
        "    window.lose = made.getExtension('WEBGL_lose_context');"
        "    for (const name of ['lost', 'restored'])"
        "      this.addEventListener(`webglcontext${name}`, () => { window.told = name; }); }"
        "  return made; };"
    )
    opened.reload()
    opened.wait_for_selector(STILL)
    assert opened.evaluate("Boolean(window.lose)")
    opened.evaluate("window.lose.loseContext()")
    until(opened, "() => window.told === 'lost'")
    opened.keyboard.press("PageDown")
    arrived(opened, 1)
    opened.wait_for_selector(STILL)
    second = render_view(stack, 1, *expected.shape[:2]).movedim(0, -1).numpy()
    assert abs(seen(opened) - second).mean() < 6 / 255
    opened.evaluate("window.lose.restoreContext()")
    until(opened, "() => window.told === 'restored'")
    opened.wait_for_selector(STILL)
    assert abs(seen(opened) - second).mean() <= 3 / 255


def test_fingers_drag_and_pinch_on_a_phone(chromium, address):
    context = chromium.new_context(viewport={"width": 390, "height": 760}, has_touch=True, is_mobile=True)
    tab = context.new_page()
    tab.set_default_timeout(SLOW)
    problems = watched(tab)
    tab.goto(address)
    tab.wait_for_selector(STILL)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    touch = context.new_cdp_session(tab)

    def fingers(kind: str, *points: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", (150, 350), (190, 350))
    for i in range(1, 9):
        fingers("touchMove", (150 - 10 * i, 350), (190 + 10 * i, 350))
    fingers("touchEnd")
    next_place(tab, [0, 0, 0.5, 0.5])
    # Five times as far apart: log 5 / log 4 levels.
    assert zoom_of(tab) == pytest.approx(np.log(5) / np.log(4), abs=0.05)
    before = place(tab)
    fingers("touchStart", (170, 300))
    for i in range(1, 6):
        fingers("touchMove", (170, 300 + 10 * i))
    fingers("touchEnd")
    assert next_place(tab, before)[3] < before[3]
    context.close()
    assert problems == []


def test_the_address_opens_the_same_view(chromium, address, stack):
    tab = new_page(chromium, 700, 500)
    tab.goto(f"{address}#at=3,0.25,0.41,0.62")
    tab.wait_for_selector(STILL)
    assert place(tab) == [3, 0.25, 0.41, 0.62]
    for broken in ("#at=99,0,0.5,0.5", "#at=1,NaN,0,0", "#at=<script>", "#nothing", "#at=-1,0,0,0"):
        tab.goto(address + broken)
        tab.reload()
        assert zoom_of(tab) == 0, broken
    tab.close()


def test_an_address_is_opened_that_comes_just_before_the_page_writes_its_own(chromium, address):
    tab = new_page(chromium, 700, 500)
    tab.add_init_script(WITHOUT_WEBGL)
    tab.goto(address)
    tab.wait_for_selector(STILL)
    go(tab, 1, 0.5, 0.5, 0.5)
    # A frame so long that the view is at rest with the next one, which the new address is just ahead of.
    tab.evaluate(
        """() => new Promise((done) => {
            requestAnimationFrame(() => {
                for (const start = performance.now(); performance.now() < start + 400;);
                requestAnimationFrame(() => { location.hash = "#at=2,0,0.5,0.5"; done(); });
            });
            const key = new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true });
            document.querySelector(".zs-stage").dispatchEvent(key);
        })"""
    )
    arrived(tab, 2)
    assert tab.evaluate("location.hash").startswith("#at=2,0,")
    tab.close()


@pytest.mark.parametrize(
    ("locale", "spoken", "play"),
    [("fr-CA", "fr", "Lire"), ("pt", "pt-BR", None), ("zh-TW", "zh-TW", None), ("sw", "en", "Play")],
)
def test_the_page_speaks_the_reader_s_language(chromium, address, locale, spoken, play):
    context = chromium.new_context(viewport={"width": 600, "height": 480}, locale=locale)
    tab = context.new_page()
    tab.set_default_timeout(SLOW)
    tab.goto(address)
    tab.wait_for_selector(STILL)
    assert tab.evaluate("document.documentElement.lang") == spoken
    label = tab.locator(".zs-bar button").first.get_attribute("aria-label")
    assert label == play if play else label != "Play"
    context.close()


def test_a_hostile_text_stays_text_and_nothing_is_fetched(chromium, stack, tmp_path):
    hostile = ZoomStack(stack.layers, stack.geometry, ZoomLevels(ZoomLevel(prompt, zoom=4.0) for prompt in HOSTILE))
    address = write_page(tmp_path / "hostile.html", hostile, 50, title=HOSTILE[0], license_line=HOSTILE[1])
    tab = new_page(chromium, 900, 640)
    problems, asked = watched(tab), []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(address)
    tab.wait_for_selector(STILL)
    assert tab.evaluate("window.broken") is None
    assert tab.locator("h1").inner_text() == HOSTILE[0]
    assert tab.title() == HOSTILE[0]
    assert tab.locator("header p").text_content() == HOSTILE[1].strip()
    assert tab.locator(".zs-cell > span").all_text_contents() == [*HOSTILE[:5], "6"]
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    refused = tab.evaluate("fetch('https://example.org/').then(() => 'came', (error) => 'refused')")
    assert refused == "refused"
    inline = (
        "() => { const s = document.createElement('script'); s.text = 'window.broken = 2'; document.body.append(s) }"
    )
    tab.evaluate(inline)
    assert tab.evaluate("window.broken") is None
    tab.close()
    # The two refusals are in the console; nothing else is.
    assert not [problem for problem in problems if "example.org" not in problem and "inline script" not in problem]


@pytest.mark.parametrize(
    ("count", "height", "width", "zoom"),
    [(1, 64, 64, 2.0), (40, 16, 16, 2.0), (64, 32, 48, 4.0), (3, 16, 512, 2.0), (2, 256, 8, 1.25)],
)
def test_stacks_of_any_shape(chromium, tmp_path, count, height, width, zoom):
    levels = ZoomLevels.uniform(count, zoom)
    layers = torch.rand(count, 3, 1, 1).expand(count, 3, height, width)
    stack = ZoomStack(layers, levels.resolve(height, width), levels)
    tab = new_page(chromium, 600, 480)
    problems = watched(tab)
    tab.goto(write_page(tmp_path / "shape.html", stack, 100))
    tab.wait_for_selector(STILL)
    tab.keyboard.press("End")
    arrived(tab, count - 1)
    tab.wait_for_selector(STILL)
    np.testing.assert_allclose(seen(tab)[200, 200], layers[-1, :, 0, 0], atol=2 / 255)
    tab.close()
    assert problems == []


def test_a_missing_level_is_named_and_the_others_show(chromium, address, tmp_path, stack):
    path = tmp_path / "broken.html"
    write_page(path, stack)
    text = path.read_text("utf-8")
    path.write_text(re.sub(r'(id="level-2">)[^<]{100}', r"\1" + "A" * 100, text), "utf-8")
    tab = new_page(chromium, 600, 480)
    problems = watched(tab)
    tab.goto(path.as_uri())
    tab.wait_for_selector(".zs-note")
    assert "Level 3" in tab.locator(".zs-message").inner_text()
    tab.keyboard.press("End")
    arrived(tab, 5)
    tab.wait_for_selector(STILL)
    expected = render_view(stack, 5, *seen(tab).shape[:2]).movedim(0, -1).numpy()
    assert abs(seen(tab) - expected).mean() <= 3 / 255
    tab.close()
    assert problems == []


def test_a_bundle_refuses_what_it_cannot_join():
    with pytest.raises(ValueError, match="module b is not among"):
        bundle({"page": 'import { x } from "./b.mjs";\nexport function openPage() {}\n'})
    with pytest.raises(ValueError, match="circle"):
        bundle({"page": 'import { x } from "./b.mjs";\n', "b": 'import { y } from "./page.mjs";\n'})


def test_a_page_is_the_same_for_the_same_stack(stack):
    description = describe(stack)
    assert page(description, [b"x"], "1", "t") == page(description, [b"x"], "1", "t")
    with pytest.raises(ValueError, match="script"):
        page(description, [], "'</script>'")
