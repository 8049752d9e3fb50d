"""The level editor on Zoom Prompt List in ComfyUI's real frontend, in both of its renderers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from viewer_pages import hold_still, new_page, wait_until_ready

from zoom_core import parse_prompts

COLOURS = [(0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8), (0.7, 0.7, 0.1)]
TEXT = "a galaxy\na star\na planet\na coast"
MAKE = """([type, values]) => {
    const node = window.LiteGraph.createNode(type)
    window.app.graph.add(node)
    for (const [name, value] of Object.entries(values)) {
        const widget = node.widgets.find((widget) => widget.name === name)
        widget.value = value
        widget.callback?.(value)
    }
    return node.id
}"""
# The server keeps settings, so an earlier test's panel, with text boxes of its own, may still be open.
SETUP = """async (vue) => {
    const {setting} = window.app.extensionManager
    await setting.set("Comfy.TutorialCompleted", true)
    await setting.set("Comfy.VueNodes.Enabled", vue)
    await setting.set("Comfy.RightSidePanel.IsOpen", false)
    window.widget = (name) => window.node.widgets.find((widget) => widget.name === name)
}"""


class Editor:
    """One Zoom Prompt List on an empty graph."""

    def __init__(self, page) -> None:
        self.page = page
        self.rows = page.locator(".zse-row")

    def make(self, text: str = TEXT, **values) -> Editor:
        self.page.evaluate("window.app.graph.clear()")
        # Named one and all: a new node with an old number takes over what the one before it held.
        given = {"prompts": text, "negative": "", "zoom": 2.0, "prefix": "", "suffix": "", **values}
        self.id = self.page.evaluate(MAKE, ["ZoomPromptList", given])
        self.page.evaluate(
            """(id) => {
                const {app} = window
                window.node = app.graph.getNodeById(id)
                window.node.pos = [0, 0]
                app.canvas.ds.scale = 1
                app.canvas.ds.offset = [120, 120]
                app.canvas.setDirty(true, true)
            }""",
            self.id,
        )
        self.rows.first.wait_for()
        hold_still(self.page, ".zse")
        return self

    @property
    def text(self) -> str:
        return self.page.evaluate("window.widget('prompts').value")

    def queued(self) -> dict:
        """The node's inputs as a run would get them."""
        return self.page.evaluate("window.app.graphToPrompt().then(({output}) => output[window.node.id].inputs)")

    def levels(self):
        return parse_prompts(self.text)

    def prompt(self, row: int):
        return self.rows.nth(row).get_by_label(f"Prompt of level {row}")

    def grip(self, row: int):
        return self.rows.nth(row).locator(".zse-grip")

    def button(self, name: str):
        return self.page.locator(".zse").get_by_role("button", name=name, exact=True)

    def open(self, row: int):
        self.rows.nth(row).locator(".zse-chip").click()
        hold_still(self.page, ".zse")
        return self.rows.nth(row)

    def shown(self) -> list[str]:
        return [area.input_value() for area in self.page.locator(".zse-body textarea").all()]


def drag(page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    page.mouse.move(*end)
    page.mouse.up()


def middle(locator) -> tuple[float, float]:
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.fixture(scope="module")
def pictures(comfy) -> list[dict]:
    """What the browser gets of a run that rendered four plain pictures as levels."""
    names = [comfy.put_input(f"editor-{i}.png", np.full((48, 64, 3), colour)) for i, colour in enumerate(COLOURS)]
    graph = {str(i): {"class_type": "LoadImage", "inputs": {"image": name}} for i, name in enumerate(names)}
    graph["batch"] = {
        "class_type": "BatchImagesNode",
        "inputs": {f"images.image{i}": [str(i), 0] for i in range(4)},
    }
    graph["demo"] = {"class_type": "ZoomDemoModelLoader", "inputs": {}}
    graph["prompts"] = {
        "class_type": "ZoomPromptList",
        "inputs": {"clip": ["demo", 1], "prompts": TEXT, "negative": "", "zoom": 2.0, "prefix": "", "suffix": ""},
    }
    graph["stack"] = {
        "class_type": "ZoomStackRender",
        "inputs": {
            "images": ["batch", 0],
            "levels": ["prompts", 2],
            "blending": "none",
            "feather": 0.0,
            "zoom": 2.0,
        },
    }
    graph["show"] = {"class_type": "PreviewImage", "inputs": {"images": ["stack", 1]}}
    files = comfy.run(graph).outputs["stack"]["zoom_levels"]
    assert len(files) == len(COLOURS)
    return files


@pytest.fixture(scope="module", params=["canvas", "vue"])
def page(request, chromium, comfy):
    page = new_page(chromium, 1200, 1000)
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: "zse" in message.text and page.problems.append(message.text))
    page.goto(comfy.url)
    wait_until_ready(page)
    page.evaluate(SETUP, request.param == "vue")
    page.reload()
    wait_until_ready(page)
    page.evaluate(SETUP, request.param == "vue")
    yield page
    page.close()


@pytest.fixture
def editor(page):
    yield Editor(page).make()
    assert page.problems == []


def test_typing_in_a_row_changes_its_line(editor):
    editor.prompt(1).fill('a red star & "more" 🌟')
    assert editor.text == 'a galaxy\na red star & "more" 🌟\na planet\na coast'
    # Lines with tags, as language models write them, are read for their answer: JSON says what is meant.
    editor.prompt(1).fill("a <b>red</b> star")
    assert json.loads(editor.text) == ["a galaxy", "a <b>red</b> star", "a planet", "a coast"]
    assert editor.queued()["prompts"] == editor.text
    assert editor.page.locator(".zse b").count() == 0


def test_rows_are_added_split_joined_and_removed_from_the_keyboard(editor):
    press = editor.page.keyboard.press
    editor.prompt(0).click()
    press("End")
    press("Enter")
    editor.page.keyboard.type("a nebula")
    assert editor.text == "a galaxy\na nebula\na star\na planet\na coast"
    press("Home")
    press("Backspace")
    assert editor.text == "a galaxya nebula\na star\na planet\na coast"
    editor.grip(0).focus()
    press("Delete")
    assert editor.text == "a star\na planet\na coast"
    editor.grip(0).focus()
    press("Alt+ArrowDown")
    press("Alt+ArrowDown")
    assert editor.text == "a planet\na coast\na star"
    assert editor.shown() == ["a planet", "a coast", "a star"]
    assert editor.page.locator(".zse-live").inner_text() == "Level 1 is now level 2."
    # The keys did not reach the graph.
    assert editor.page.evaluate("window.app.graph._nodes.length") == 1


def test_several_pasted_lines_become_rows(editor):
    editor.prompt(3).click()
    editor.page.evaluate(
        """() => {
            const data = new DataTransfer()
            data.setData("text/plain", " of rock\\na shell\\n\\na grain of sand")
            const event = new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true})
            document.activeElement.setSelectionRange(7, 7)
            document.activeElement.dispatchEvent(event)
        }"""
    )
    assert editor.text == TEXT + " of rock\na shell\na grain of sand"


def test_a_row_is_dragged_to_another_place(editor):
    x, y = middle(editor.grip(3))
    above = editor.rows.nth(1).bounding_box()["y"] + 2
    drag(editor.page, (x, y), (x, above))
    assert editor.text == "a galaxy\na coast\na star\na planet"
    drag(editor.page, middle(editor.grip(0)), (x, editor.rows.nth(2).bounding_box()["y"] + 30))
    assert editor.text == "a coast\na star\na galaxy\na planet"


def test_rows_that_need_more_make_json_and_plain_rows_lines_again(editor):
    row = editor.open(2)
    row.get_by_label("Zoom", exact=True).fill("3.5")
    row.get_by_label("x", exact=True).fill("0,3")
    row.get_by_label("Negative").fill("people")
    wanted = {"prompt": "a planet", "zoom": 3.5, "center": [0.3, 0.5], "negative": "people"}
    assert json.loads(editor.text) == ["a galaxy", "a star", wanted, "a coast"]
    assert (editor.levels()[2].zoom, editor.levels()[2].center) == (3.5, (0.3, 0.5))
    row.get_by_role("button", name="Duplicate").click()
    assert [level.zoom for level in editor.levels()] == [1, 2, 3.5, 3.5, 2]
    editor.rows.nth(2).get_by_role("button", name="Remove").click()
    row = editor.rows.nth(2)
    editor.open(2)
    for field, value in (("Zoom", ""), ("x", ""), ("Negative", "")):
        row.get_by_label(field, exact=True).fill(value)
    assert editor.text == TEXT
    editor.prompt(0).fill("[detailed] galaxy")
    assert json.loads(editor.text) == ["[detailed] galaxy", "a star", "a planet", "a coast"]


def test_what_is_wrong_is_said_while_typing(editor):
    row = editor.open(2)
    for typed, sentence in (
        ("40", "level 2: zoom must be from 1.25 to 16, got 40."),
        ("wide", "level 2: zoom must be a number, got 'wide'."),
    ):
        row.get_by_label("Zoom", exact=True).fill(typed)
        assert row.locator(".zse-problem").inner_text() == sentence
        with pytest.raises(ValueError, match=sentence.replace("(", "\\(")):
            editor.levels()
    row.get_by_label("Zoom", exact=True).fill("2")
    assert row.locator(".zse-problem").is_hidden()
    row.get_by_label("y", exact=True).fill("0.1")
    assert "center y = 0.1 puts part of the inset outside" in row.locator(".zse-problem").inner_text()
    editor.prompt(0).fill("")
    assert editor.rows.nth(0).locator(".zse-problem").inner_text() == (
        "prompts: entry 0 needs a 'prompt' that is not empty."
    )
    editor.page.evaluate("window.widget('negative').value = 'x\\ny'; window.widget('negative').callback?.('x\\ny')")
    general = editor.page.locator(".zse > .zse-problem")
    assert general.inner_text() == "negative has 2 lines, prompts has 4 entries: give 1 or 4."


def test_lines_of_the_negative_go_with_their_rows(page):
    editor = Editor(page).make(negative="n0\nn1\nn2\nn3")
    editor.grip(3).focus()
    page.keyboard.press("Alt+ArrowUp")
    page.keyboard.press("Alt+ArrowUp")
    editor.grip(0).focus()
    page.keyboard.press("Delete")
    assert editor.text == "a coast\na star\na planet"
    assert page.evaluate("window.widget('negative').value") == "n3\nn1\nn2"


def test_the_text_can_be_edited_at_any_time(editor):
    page = editor.page
    editor.button("Edit as text").click()
    editor.rows.first.wait_for(state="hidden")
    boxes = "[...document.querySelectorAll('textarea:not(.zse textarea)')]"
    page.wait_for_function(f"(text) => {boxes}.some((box) => box.value === text)", arg=TEXT)
    area = page.evaluate_handle(f"(text) => {boxes}.find((box) => box.value === text)", TEXT).as_element()
    assert area.is_visible()
    area.fill('["one", {"prompt" "two"}]')
    page.wait_for_function(
        "document.querySelector('.zse > .zse-problem').textContent.includes('does not parse at line 1')"
    )
    area.fill('["one", {"prompt": "two", "zoom": 3}]')
    editor.button("Edit as rows").click()
    editor.rows.first.wait_for()
    page.wait_for_function(
        "[...document.querySelectorAll('textarea:not(.zse textarea)')].filter((a) => a.offsetParent).length === 1"
    )
    assert editor.shown() == ["one", "two"]
    assert "×3" in editor.rows.nth(1).inner_text()
    assert editor.text == '["one", {"prompt": "two", "zoom": 3}]'


def test_the_side_panel_leaves_the_editor_on_its_node(editor):
    page = editor.page
    panel = page.get_by_test_id("properties-panel")
    open_panel = "(open) => window.app.extensionManager.setting.set('Comfy.RightSidePanel.IsOpen', open)"
    page.evaluate("window.app.canvas.selectNode(window.node)")
    page.evaluate(open_panel, True)
    try:
        panel.get_by_text("prefix", exact=True).wait_for()
        # The hidden text is not offered a second time beside its rows.
        assert TEXT not in [area.input_value() for area in panel.locator("textarea").all()]
        assert panel.locator(".zse").count() == 0
        editor.prompt(1).fill("a red star")
        assert editor.text == "a galaxy\na red star\na planet\na coast"
    finally:
        page.evaluate(open_panel, False)


def test_a_link_takes_the_editor_s_place(editor):
    page = editor.page
    page.evaluate(
        """() => {
            const source = window.LiteGraph.createNode("PrimitiveStringMultiline")
            source.pos = [-600, 0]
            window.app.graph.add(source)
            window.source = source
            source.connect(0, window.node, window.node.inputs.findIndex((input) => input.name === "prompts"))
        }"""
    )
    editor.rows.first.wait_for(state="hidden")
    assert page.locator(".zse-count").inner_text() == "The prompts come from another node."
    assert isinstance(editor.queued()["prompts"], list)
    page.evaluate("window.node.disconnectInput(window.node.inputs.findIndex((i) => i.name === 'prompts'))")
    editor.rows.first.wait_for()
    assert editor.shown() == TEXT.split("\n")


def test_a_frame_is_placed_and_resized_on_the_level_before(editor):
    page = editor.page
    row = editor.open(1)
    frame, box = row.locator(".zse-frame"), row.locator(".zse-placing").bounding_box()
    x, y = middle(frame)
    drag(page, (x, y), (x - box["width"] * 0.1, y + box["height"] * 0.2))
    level = editor.levels()[1]
    assert level.zoom == 2
    assert level.center == pytest.approx((0.4, 0.7), abs=0.01)
    # Beyond the edge it stops inside.
    x, y = middle(frame)
    drag(page, (x, y), (x - box["width"], y))
    assert editor.levels()[1].center == pytest.approx((0.25, 0.7), abs=0.01)
    # A corner changes the zoom, the opposite corner stays where it is.
    right = box["x"] + box["width"] * 0.5
    top = box["y"] + box["height"] * 0.45
    drag(page, (right, top), (right - box["width"] * 0.25, top + box["height"] * 0.25))
    level = editor.levels()[1]
    assert level.zoom == pytest.approx(4, abs=0.15)
    assert level.center == pytest.approx((0.125, 0.825), abs=0.01)
    before = level
    frame.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    level = editor.levels()[1]
    assert level.center[0] == pytest.approx(before.center[0] + 0.01, abs=1e-3)
    assert level.zoom == pytest.approx(before.zoom * 1.05, abs=0.01)


def test_another_view_can_place_the_next_level(editor):
    """As the viewer asks: from any node downstream, also for a level that is not there yet."""
    editor.page.evaluate(
        """() => {
            const place = (level, zoom, center) => window.dispatchEvent(
                new CustomEvent("zoom-stack-place", {detail: {node: window.node, level, zoom, center}}))
            place(2, 4, [0.3, 0.4])
            place(4, 3, [0.2, 0.9])
            place(9, 3, [0.2, 0.9])
        }"""
    )
    rows = json.loads(editor.text)
    assert rows[2] == {"prompt": "a planet", "zoom": 4, "center": [0.3, 0.4]}
    # The last one is moved inside, and waits for its prompt.
    assert rows[4] == {"prompt": "", "zoom": 3, "center": [0.2, 0.8333]}
    assert len(rows) == 5


def test_a_saved_workflow_comes_back_as_it_was(editor):
    page = editor.page
    editor.open(3).get_by_label("Zoom", exact=True).fill("5")
    saved = page.evaluate("window.app.graph.serialize()")
    (node,) = saved["nodes"]
    assert node["widgets_values"][:5] == [editor.text, "", 2, "", ""]
    assert None not in node["widgets_values"]
    page.evaluate("async (saved) => { await window.app.loadGraphData(saved) }", saved)
    page.wait_for_function("document.querySelectorAll('.zse-row').length === 4")
    assert "×5" in editor.rows.nth(3).inner_text()
    again = page.evaluate("window.app.graph.serialize()")
    assert again["nodes"][0]["widgets_values"] == node["widgets_values"]


def test_long_and_foreign_prompts_and_many_rows_keep_their_shape(page):
    texts = ["<img src=x onerror=alert(1)>", "مدينة في الليل", "x" * 10_000, *["a level"] * 61]
    editor = Editor(page).make("\n".join(texts))
    assert editor.rows.count() == 64
    assert editor.button("Add level").is_hidden()
    assert page.locator(".zse img[src='x']").count() == 0
    box = page.locator(".zse").bounding_box()
    assert box["height"] < 560
    assert editor.rows.nth(2).bounding_box()["height"] < 120
    assert editor.rows.nth(2).bounding_box()["width"] <= box["width"]
    assert editor.text == "\n".join(texts)


def test_rows_show_the_pictures_of_the_last_run(editor, pictures):
    page = editor.page
    page.evaluate(
        """(files) => {
            const stack = window.LiteGraph.createNode("ZoomStackRender")
            window.app.graph.add(stack)
            window.node.connect(2, stack, stack.inputs.findIndex((input) => input.name === "levels"))
            window.app.nodeOutputs = {...window.app.nodeOutputs, [stack.id]: {zoom_levels: files}}
        }""",
        pictures,
    )
    thumbnails = page.locator(".zse-thumb")
    page.wait_for_function(
        "[...document.querySelectorAll('.zse-thumb')].filter((i) => i.naturalWidth === 64 && !i.hidden).length === 4"
    )
    seen = page.evaluate(
        """() => [...document.querySelectorAll(".zse-thumb")].map((image) => {
            const canvas = new OffscreenCanvas(1, 1).getContext("2d")
            canvas.drawImage(image, 0, 0, 4, 4, 0, 0, 1, 1)
            return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
        })"""
    )
    assert np.abs(np.array(seen) / 255 - COLOURS).max() < 0.05
    row = editor.open(2)
    placed = row.locator(".zse-placing img")
    placed.wait_for()
    assert placed.get_attribute("src") == thumbnails.nth(1).get_attribute("src")
