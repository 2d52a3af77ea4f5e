"""Files that were damaged or edited: bytes changed anywhere, or the structure of the JSON."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

ODD: tuple[Any, ...] = (
    None, True, 0, -1, 7, 10**30, 1.5, "", "x", "404", "\x00", "☃", "running", [], {}, [[]], {"x": 1}, ["x"],
    "12X", "a=b,size=8Q", "999.1.2.3/99", "+nosuch", "99999:1", "zentoria-id: lab/404",
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with one to three changes of its bytes."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(found) - 1, 0)))
        match draw(st.sampled_from(["flip", "cut", "insert", "end", "double"])):
            case "flip" if found:
                found[at] ^= draw(st.integers(1, 255))
            case "cut":
                del found[at : at + draw(st.integers(1, 40))]
            case "insert":
                found[at:at] = draw(st.binary(min_size=1, max_size=4))
            case "end":
                del found[at:]
            case _:
                found[at:at] = found[at : at + draw(st.integers(1, 40))]
    return bytes(found)


@st.composite
def edited(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with one to three changes of its structure; it is JSON still."""
    value = json.loads(content)
    for _ in range(draw(st.integers(1, 3))):
        _edit(draw, value)
    return json.dumps(value).encode()


def _edit(draw: st.DrawFn, value: Any) -> None:
    """Change one thing, somewhere in a tree."""
    places = [*_places(value)]
    if not places:
        return
    holder, key = draw(st.sampled_from(places))
    match draw(st.sampled_from(["replace", "remove", "rename", "double", "other"])):
        case "remove":
            del holder[key]
        case "rename" if isinstance(holder, dict):
            holder[f"{key}x"] = holder.pop(key)
        case "double" if isinstance(holder, list):
            holder.insert(key, holder[key])
        case "other":  # what stands elsewhere, and so may be of the right kind
            other, at = draw(st.sampled_from(places))
            if at in other if isinstance(other, dict) else at < len(other):
                holder[key] = json.loads(json.dumps(other[at]))
        case _:
            holder[key] = json.loads(json.dumps(draw(st.sampled_from(ODD))))  # a list of its own


def _places(value: Any) -> Any:
    found = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in [*found]:
        yield value, key
        yield from _places(one)
