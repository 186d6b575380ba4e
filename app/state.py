"""The URL holds the view: controls are set from it, and write into it. Nothing else remembers a choice.

So a link, Back, a reload and a change of page all show what the URL says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from leaderboards.links import Query, View, read_view, write_view
from suite.boards.board import boards

OWN = ("a", "b", "r", "run", "protocol", "image", "images", "item", "beside", "drawn", "study", "row")  # pages' own


def query() -> Query:
    """What the URL asks for."""
    return {name: st.query_params.get_all(name) for name in st.query_params}


def view() -> View:
    return asked()[0]


def asked() -> tuple[View, list[str]]:
    """The view that the URL asks for, and what it asks for that there is not."""
    return read_view(query(), board_names())


def board_names() -> list[str]:
    """The boards that can be asked for: those of the suite, and of what the store has runs on."""
    return list(st.session_state.get("boards", boards()))


def own(name: str, default: str = "") -> str:
    """What the URL asks of a page alone."""
    return st.query_params.get(name, default)


def params(of: View | None = None, **more: str | list[str] | None) -> list[tuple[str, str]]:
    """The query of a link to a page: the view, and what is asked of that page; None is left out."""
    found = write_view(of or view()) | {
        name: [value] if isinstance(value, str) else value for name, value in more.items() if value
    }
    return [(name, value) for name, values in found.items() for value in values]


def go(of: View | None = None, **more: str | list[str] | None) -> None:
    """Change the URL: another view, or something else asked of this page; None takes it out."""
    kept = {name: values for name, values in query().items() if name in OWN}
    changed = {name: [value] if isinstance(value, str) else value for name, value in more.items()}
    found = write_view(of or view()) | {name: values for name, values in (kept | changed).items() if values}
    st.query_params.from_dict(found)


def change(**fields: Any) -> None:
    """Change the view, and with it the URL."""
    go(replace(view(), **fields))


def control(field: str, value: Any, told: Callable[[Any], Any] = lambda value: value) -> dict[str, Any]:
    """What a widget of the view's field takes: its value from the URL, and how it writes its value into it."""
    key = f"view {field}"
    st.session_state[key] = value

    def write() -> None:
        change(**{field: told(st.session_state[key])})

    return {"key": key, "on_change": write}


def own_control(name: str, value: Any, told: Callable[[Any], str | list[str]] = str) -> dict[str, Any]:
    """Likewise for what is asked of a page alone."""
    key = f"page {name}"
    st.session_state[key] = value

    def write() -> None:
        go(None, **{name: told(st.session_state[key])})

    return {"key": key, "on_change": write}


def pick(label: str, name: str, options: Mapping[str, str], **more: Any) -> str | None:
    """A list of what a page can show, by id and in words; what the URL asks for and is not in it is said."""
    wanted = own(name)
    if wanted and wanted not in options:
        from leaderboards.render.foreign import plain

        st.warning(plain(f"The link asks for {wanted}, which is not here; it may have been deleted or moved."))
    if not options:
        return None
    found = wanted if wanted in options else next(iter(options))
    told: str = st.selectbox(
        label, list(options), format_func=lambda id: options[id], **own_control(name, found), **more
    )
    return told
