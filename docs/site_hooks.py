"""What the site computes when it is built: the command line's page, the tables of fields, and formulas as MathML.

A page asks for a computed part by a comment: `<!-- site: command line -->`, `<!-- site: fields of an export -->` or
`<!-- site: fields of a result -->`. A notebook NAME.ipynb, which is kept without outputs, is run and becomes the page
NAME.md; `mkdocs serve` shows it without outputs.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import latex2mathml.converter
import nbformat
import typer.cli
import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
ASKED = re.compile(r"<!-- site: (?P<what>.*?) -->")
INLINE = re.compile(r'<span class="arithmatex">\\\((?P<tex>.*?)\\\)</span>', re.DOTALL)
DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(?P<tex>.*?)\\\]\s*</div>', re.DOTALL)
NOTEBOOK = re.compile(r"(?<=\]\()(?P<name>[\w./-]+)\.ipynb(?=\))")
commands: list[str] = []


def on_startup(command: str, **_: Any) -> None:
    commands.append(command)


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        page = file.src_uri.replace(".ipynb", ".md")
        files.append(File.generated(config, page, content=notebook(file, run="serve" not in commands)))
    return files


def notebook(file: File, *, run: bool) -> str:
    """A notebook in Markdown, with what its programs print, but not their progress, if they are to be run."""
    content: Any = nbformat.reads(file.content_string, as_version=4)
    if run:
        with TemporaryDirectory() as folder:
            NotebookClient(content, resources={"metadata": {"path": folder}}).execute()
    parts = [f"<a href='{file.name}.ipynb' download>Download this page as a notebook.</a>"]
    for cell in content.cells:
        parts.append(cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```")
        if printed := "".join(map(text_of, cell.get("outputs", ()))):
            parts.append(f"```text\n{printed}\n```")
    parts[:2] = reversed(parts[:2])
    return "\n\n".join(parts)


def text_of(output: Any) -> str:
    """What a program printed, or the value of its last line."""
    if output.output_type == "execute_result":
        return str(output.data["text/plain"])
    return str(output.text) if output.get("name") == "stdout" else ""


def on_page_markdown(markdown: str, **_: Any) -> str:
    markdown = NOTEBOOK.sub(r"\g<name>.md", markdown)
    return ASKED.sub(lambda found: computed_part(found["what"]), markdown)


def on_page_content(content: str, **_: Any) -> str:
    content = INLINE.sub(lambda found: mathml(found["tex"], "inline"), content)
    return DISPLAY.sub(lambda found: mathml(found["tex"], "block"), content)


def mathml(tex: str, display: str) -> str:
    """A formula as MathML, which browsers show without scripts or fonts; the converter knows no arg."""
    tex = html.unescape(tex).strip().replace(r"\arg", r"\operatorname{arg}\,")
    found = latex2mathml.converter.convert(tex, display=display)
    return found.replace("<mo>&#x02016;</mo>", '<mo stretchy="false">&#x02016;</mo>')


def computed_part(what: str) -> str:
    return {"command line": command_line, "fields of an export": export_fields, "fields of a result": result_fields}[
        what
    ]()


def command_line() -> str:
    """Every command with its arguments and options, in Markdown, from the typer app itself."""
    from suite.cli.main import app

    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name="suite")
    text = typer.cli.get_docs_for_click(obj=command, ctx=context, name="suite").partition("\n")[2]
    text = re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+", "", text)  # its one-line helps are cut off; the headings follow
    return re.sub(r"(?<=`: )(.*)", lambda found: re.sub(r"([\[$<])", r"\\\1", found[1]), text)


def export_fields() -> str:
    return field_table(exported())


def result_fields() -> str:
    from suite.store.result import Result

    meanings = {name: {"description": field.get("description", "")} for name, field in exported().items()}
    fields = Result.model_json_schema()["properties"]
    return field_table({name: meanings.get(name, {}) | field for name, field in fields.items()})


def exported() -> dict[str, dict[str, Any]]:
    """The fields of a row in the JSON Schema of boards."""
    from leaderboards.render.schema import schema

    return dict(schema()["properties"]["rows"]["items"]["properties"])


def field_table(fields: dict[str, dict[str, Any]]) -> str:
    """The fields in a JSON Schema: name, type and description."""
    lines = ["| field | type | meaning |", "| --- | --- | --- |"]
    for name, field in fields.items():
        meaning = field.get("description", "").replace("|", "\\|")
        lines.append(f"| `{name}` | {kind(field)} | {meaning or '–'} |")
    return "\n".join(lines)


def kind(field: dict[str, Any]) -> str:
    """A field's type in a word or two: "number or null", one of some values, or what it is by name."""
    if "anyOf" in field:
        return " or ".join(map(kind, field["anyOf"]))
    if "enum" in field:
        return ", ".join("null" if value is None else f"`{value}`" for value in field["enum"])
    if "oneOf" in field:
        return " or ".join(map(kind, field["oneOf"]))
    if "const" in field:
        return f"`{field['const']}`"
    if "$ref" in field:
        return str(field["$ref"].rpartition("/")[2].replace("_", " "))
    types = field["type"] if isinstance(field["type"], list) else [field["type"]]
    return " or ".join(types)
