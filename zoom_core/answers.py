"""Prompts out of what a language model answers: what it wrote around them is taken away.

Text that a person typed, one prompt a line, comes back line by line as it is.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

from . import loose_json
from .wording import opening

_THOUGHT = re.compile(r"<(/?)(?:think|thinking|thought|reasoning|analysis)\b[^<>]{0,80}>", re.I)
_TAGS = re.compile(r"</?(?:answer|output|response|result|prompts?|list)\s*>|<\|[^|<>\n]{1,40}\|>|<br\s*/?>", re.I)
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200e\u200f\u2060"))
_FENCE = re.compile(r"^\s*(?:```|~~~)")
# Where JSON may begin: a bracket before a quote or a brace. `[cat:dog:0.5]` and `{a|b}` are prompts.
_JSON = re.compile(r"^[ \t]*(?:[\w ]{0,20}[:=][ \t]*)?(?=\[\s*[\"'\u201c\u2018{]|\{\s*[\"'\u201c\u2018])", re.M)
_TRIES = 20  # beginnings that are looked at: text with more of them is no list
_MOST = 1000  # lines: beyond that nothing is a list of levels
_LISTS = ("prompts", "levels", "zoom_levels", "scales", "list", "answer", "items", "stack")

_KIND = r"(?:level|scale|step|prompt|zoom(?:\s+level)?|stage|layer|image|picture|frame|scene)"
# Between the objects of an answer; nothing counts too.
_GAP = re.compile(r"[\s,]*")
_NUMBERED = re.compile(
    rf"""(?:[-*+\u2022]\s{{1,4}})?(?P<mark>(?:\#{{1,6}}\s{{1,4}})?(?:\*\*|__)?\s{{0,4}})
    (?:\#?[\[(]?\d{{1,2}}(?:[.):\]](?!\d)|\s{{0,4}}[-\u2013\u2014]\s)  |  {_KIND}\s{{0,4}}\#?\d{{1,2}}\b)
    (?P<rest>.*)""",
    re.X | re.I,
)
_BULLET = re.compile(r"(?P<mark>)[-*+\u2022\u2013\u2014\u25e6\u25aa\u27a4\u2192]\s+(?P<rest>.*)")
_HEADING = re.compile(r"^\s*(?:#{1,6}\s+.*|(?:\*\*|__)[^*_]+(?:\*\*|__):?)\s*$")
_RULE = re.compile(r"^\s*(?:[-*_=]\s*){3,}$")
_ROW = re.compile(r"^\s*\|(.*)\|\s*$")
_RUN_ON = re.compile(r"(?:^|(?<=\s))\(?(\d{1,2})[.)]\s+")
_NAME = re.compile(r"^(?:\*\*|__)(?P<name>[^*_\n]{1,60}?):?(?:\*\*|__)\s*(?:[:\u2013\u2014-]\s*)?(?P<text>\S.*)$")
_FIELD = re.compile(r"^(?:\*\*|__)?(?:prompt|description|text|caption)(?:\*\*|__)?\s*:\s*(?:\*\*|__)?\s*", re.I)
_PICTURE = re.compile(
    r"^(?:this |the |an? )?(?:image|picture|illustration|depiction) (?:of|showing|shows|depicting|depicts)\s+", re.I
)
_BEFORE = re.compile(
    r"^(?:sure|certainly|of course|absolutely|okay|ok|great|alright|yes|here(?:'s|\u2019s| is| are)|below|these are|"
    r"the following|i(?:'ve|\u2019ve| have)? (?:created|written|made)|as requested|let's|let\u2019s)\b",
    re.I,
)
_ABOUT = re.compile(r"\b(?:prompts?|levels?|scales?|zoom|list|answer|output)\b", re.I)
_AFTER = re.compile(
    r"^(?:let me know|i hope|feel free|would you like|these (?:prompts|levels|descriptions|lines)|"
    r"note(?: that)?\b\s*:?|each (?:prompt|level|line)|if you(?:'d| would|\u2019d)? (?:like|want|need)|enjoy\b|"
    r"hope this|this (?:sequence|list)|all (?:prompts|levels|lines))",
    re.I,
)
_REFUSAL = re.compile(r"^(?:i(?:'m|\u2019m| am) sorry|sorry,|i (?:can(?:'t|\u2019t|not)|am unable)|as an ai\b)", re.I)
_QUOTED = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb", "`": "`"}


def read_entries(text: str) -> list[Any]:
    """The entries of a text, in order: lines of text, or what a JSON array in it holds.

    Understands think blocks (also unclosed), fences, sentences before and after, numbering, bullets,
    headings, tables, bold names, quotes, loose JSON (see `loose_json`), "An image of ...".
    Raises ValueError quoting what came where nothing usable is left.
    """
    plain = _without_thoughts(text)
    entries = _json(plain)
    if entries is None:
        plain = _inside_fences(plain)
        entries = _json(plain)
    if entries is None:
        entries = _lines(plain)
    if not entries and text.strip():
        raise ValueError(f"prompts holds nothing that can be used as a prompt: {opening(text)}.")
    return entries


def _without_thoughts(text: str) -> str:
    text = text.translate(_INVISIBLE)
    kept, begin, thinking = [], 0, False
    for tag in _THOUGHT.finditer(text):
        if tag.group(1):
            if not thinking:
                # The opening tag stood in the model's template: all so far is thought.
                kept = []
            begin, thinking = tag.end(), False
        elif not thinking:
            kept.append(text[begin : tag.start()])
            thinking = True
    if not thinking:
        kept.append(text[begin:])
    plain = "\n".join(kept)
    if thinking and not plain.strip():
        raise ValueError(
            "prompts ends before the language model has finished thinking: give it a larger max_length, or switch "
            f"thinking off. It begins: {opening(text)}."
        )
    return _TAGS.sub(lambda tag: "\n" if tag.group().lower().startswith("<br") else " ", plain)


def _inside_fences(text: str) -> str:
    """The fenced part that says most, or all of them where each holds a line."""
    blocks: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        if _FENCE.match(line):
            inside = not inside
            blocks += [[]] if inside else []
        elif inside and line.strip():
            blocks[-1].append(line)
    largest = max(blocks, key=len, default=[])
    if not largest:
        return text
    return "\n".join(largest if len(largest) > 1 else [line for block in blocks for line in block])


def _json(text: str) -> list[Any] | None:
    """The entries of the JSON in a text; None where there is none."""
    for start in islice(_JSON.finditer(text), _TRIES):
        try:
            value, end = loose_json.read_value(text, start.end())
        except loose_json.NotJson as error:
            if start.start() or text[: start.end()].strip() or text.lstrip()[:1] not in "[{":
                continue
            if not re.match(r"\[\s*[\"{]|\{\s*\"", text.lstrip()):
                continue
            line = text.count("\n", 0, error.position) + 1
            column = error.position - text.rfind("\n", 0, error.position)
            raise ValueError(
                f"prompts starts like JSON but does not parse at line {line}, column {column}. "
                "Give one prompt a line, or a JSON array."
            ) from error
        if isinstance(value, list):
            return value
        entries = [value]
        while (gap := _GAP.match(text, end)) and (following := _JSON.match(text, gap.end())):
            try:
                value, end = loose_json.read_value(text, following.end())
            except loose_json.NotJson:
                break
            entries.append(value)
        return entries if len(entries) > 1 else entries_of(entries[0])
    return None


def entries_of(data: dict[str, Any]) -> list[Any]:
    """An object as entries: the list it holds, its values where they are numbered, or itself."""
    for name in _LISTS:
        if isinstance(data.get(name), list):
            return data[name]
    if len(data) == 1 and isinstance(only := next(iter(data.values())), list):
        return only
    if data and all(re.fullmatch(rf"(?:{_KIND}[\s_]*)?#?\d{{1,2}}", name, re.I) for name in data):
        return list(data.values())
    return [data]


def _lines(text: str) -> list[str]:
    """One prompt for each line that is one."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not _RULE.match(line)]
    if len(lines) > _MOST:
        return lines
    lines = [line for line in lines if not _FENCE.match(line)]
    if len(lines) == 1:
        lines = _split_run_on(lines[0])
    if sum(bool(_ROW.match(line)) for line in lines) >= 2:
        lines = _table(lines)
    introduced = len(lines) > 1 and _introduces(lines[0])
    lines = lines[1:] if introduced else lines
    while len(lines) > 1 and _AFTER.match(lines[-1].strip()):
        lines = lines[:-1]
    if lines and _REFUSAL.match(lines[0].strip()):
        return []
    items = [_clean(item) for item in _items(lines, introduced)]
    for peel in (_unquoted, _without_picture):
        peeled = [peel(item) for item in items]
        # A person may quote one prompt of several, or speak of an image; a model does it in all of them.
        if all(before != after for before, after in zip(items, peeled)):
            items = peeled
    return [item for item in items if item]


def _split_run_on(line: str) -> list[str]:
    """A single line "1. one 2. two" as lines; the line itself where it is none."""
    marks = list(_RUN_ON.finditer(line))
    numbers = [int(mark.group(1)) for mark in marks]
    if len(marks) < 2 or numbers != list(range(numbers[0], numbers[0] + len(marks))) or numbers[0] > 1:
        return [line]
    ends = [mark.start() for mark in marks[1:]] + [len(line)]
    head = [line[: marks[0].start()].strip()] if line[: marks[0].start()].strip().endswith(":") else []
    return head + [line[mark.start() : end].strip(" ;,") for mark, end in zip(marks, ends)]


def _table(lines: list[str]) -> list[str]:
    """The longest cell of every row of a Markdown table."""
    rows = [[cell.strip() for cell in row.group(1).split("|")] for row in map(_ROW.match, lines) if row]
    ruled = [all(re.fullmatch(r":?-{1,}:?", cell) for cell in row) for row in rows]
    first = ruled.index(True) + 1 if True in ruled else 0
    return [max(row, key=len) for row, rule in zip(rows[first:], ruled[first:]) if not rule]


def _items(lines: list[str], introduced: bool) -> list[str]:
    """Lines as the entries of a list, where they are one, their marks off."""
    for pattern in (_NUMBERED, _BULLET):
        marked = {i: match for i, line in enumerate(lines) if (match := pattern.match(line.lstrip()))}
        # Marks further in belong to an entry; a mark on one line of many is part of that prompt.
        depth = min(map(_indent, (lines[i] for i in marked)), default=0)
        marked = {i: match for i, match in marked.items() if _indent(lines[i]) <= depth + 1}
        if len(marked) > 1 or marked and (len(lines) == 1 or introduced):
            return _listed(lines, marked)
    headings = [bool(_HEADING.match(line)) for line in lines]
    if 0 < sum(headings) <= len(lines) / 2 and (sum(headings) > 1 or lines[0].startswith("#") and len(lines) > 2):
        # A heading above every prompt, or one above all of them.
        lines = [line for line, heading in zip(lines, headings) if not heading]
    return [line.strip() for line in lines]


def _indent(line: str) -> int:
    return len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip())


def _listed(lines: list[str], marked: dict[int, re.Match]) -> list[str]:
    places = sorted(marked)
    items = []
    for i, following in zip(places, [*places[1:], len(lines)]):
        title = _title(marked[i])
        below = [line.strip() for line in lines[i + 1 : following]]
        fields = [line for line in map(_unmarked, below) if _FIELD.match(line)]
        if following == len(lines):
            below = _until_farewell(below)
        if fields:
            items.append(fields[0])
        elif below and (not title or _is_name(marked[i], title)):
            items.append(" ".join(map(_unmarked, below)))
        else:
            # Lines further in, under a prompt, go on with it; others are talk.
            going_on = [line.strip() for line in lines[i + 1 : following] if line[:1].isspace()]
            items.append(" ".join([title, *map(_unmarked, going_on)]).strip())
    return items


def _title(match: re.Match) -> str:
    """What stands behind a mark such as "Level 1 (x4):", without it."""
    rest = match["rest"]
    if match["mark"].strip(" #\t"):
        # Bold began before the number: "**Level 1:** text", "**Level 1: a name**".
        bold = match["mark"].strip(" #\t")
        name, closed, text = rest.partition(bold)
        if closed:
            rest = text if text.strip(" :\u2013\u2014-") else name
    rest = re.sub(r"^\s*\((?=[^)]{1,40}\)\s*[:\u2013\u2014-])[^)]*\)", "", rest)
    return re.sub(r"^[\s:.)\]\u2013\u2014-]+", "", rest).strip()


def _is_name(match: re.Match, title: str) -> bool:
    """Whether the text on the marked line only names the level, with the prompt in the lines below."""
    return bool(match["mark"].strip() or title.endswith(":") or re.fullmatch(r"(?:\*\*|__).*(?:\*\*|__):?", title))


def _unmarked(line: str) -> str:
    bullet = _BULLET.match(line.lstrip())
    return bullet["rest"] if bullet else line


def _until_farewell(lines: list[str]) -> list[str]:
    for i, line in enumerate(lines):
        if _AFTER.match(line):
            return lines[:i]
    return lines


def _introduces(line: str) -> bool:
    text = line.strip().strip("*_")
    if _BEFORE.match(text) and text.endswith((":", ".", "!")):
        return True
    return text.endswith(":") and bool(_ABOUT.search(text))


def _clean(item: str) -> str:
    """A prompt without the Markdown around it."""
    item = _FIELD.sub("", item.strip())
    if named := _NAME.match(item):
        item = named["text"]
    for mark in ("**", "__", "*"):
        if (
            item.startswith(mark)
            and item.endswith(mark)
            and len(item) > 2 * len(mark)
            and mark not in item[len(mark) : -len(mark)]
        ):
            item = item[len(mark) : -len(mark)].strip()
    item = re.sub(r"\*\*([^*]+)\*\*", r"\1", item)
    return _FIELD.sub("", item).strip()


def _unquoted(item: str) -> str:
    inner = item.rstrip(",; ")
    if len(inner) > 2 and _QUOTED.get(inner[0]) == inner[-1]:
        return inner[1:-1].strip()
    return item


def _without_picture(item: str) -> str:
    return _PICTURE.sub("", item)


def without_marks(prompts: list[str]) -> list[str]:
    """The texts of JSON entries, where all of them carry a number or an "An image of" without it."""
    titles = [_title(match) if (match := _NUMBERED.match(prompt.lstrip())) else None for prompt in prompts]
    if all(titles):
        prompts = [_clean(title) for title in titles if title]
    pictured = [_without_picture(prompt) for prompt in prompts]
    return pictured if all(before != after for before, after in zip(prompts, pictured)) else prompts
