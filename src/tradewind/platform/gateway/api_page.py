"""The API as a page to read, written from the OpenAPI document. No script, nothing from elsewhere.

Everything that comes from the document is escaped; of its texts only paragraphs and `code` are
kept as formatting.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from tradewind.kernel.money import Amount
from tradewind.platform.gateway.page_style import STYLE

METHODS = ("get", "post", "put", "patch", "delete")
SERVER = "http://127.0.0.1:8080"
DEPTH_MAX = 4
MONEY = Amount.__name__  # shown as "money" and never taken apart: the introduction says what it is
CODE = re.compile(r"``?([^`]+)``?")
PARAMETER = re.compile(r"(\{[^}]+\})")

# A small sail, in the colour of the page's accent.
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Cpath fill='%230b6e74' d='M8 1v10H2zM9 4l5 7H9zM1 12h14l-2 3H3z'/%3E%3C/svg%3E"
)


def api_page(document: Mapping[str, Any]) -> str:
    """The whole page."""
    components = document["components"]["schemas"]
    groups = grouped(document)
    info = document["info"]
    menu = navigation(info, groups)
    sections = []
    for tag, operations in groups.items():
        sections.append(f'<h2 class="group" id="{escape(slug(tag))}">{escape(tag)}</h2>')
        sections += [
            article(method, path, operation, (components, document["components"]["examples"]))
            for method, path, operation in operations
        ]
    body = f"""<details class="menu"><summary>Contents</summary>{menu}</details>
<div class="frame">{menu}
<main><header><h1>{escape(info["title"])} API</h1>
<p class="version">Version {escape(info["version"])} · OpenAPI {escape(document["openapi"])} ·
<a href="/openapi.json">openapi.json</a> · <a href="/problems">problem codes</a></p>
<div class="text">{prose(info["description"])}</div></header>
{"".join(sections)}
<footer>Generated from the route table that serves these requests.</footer></main></div>"""
    return page(f"{info['title']} API", body)


def problem_page(explained: Sequence[Mapping[str, Any]]) -> str:
    """Problem codes and what they mean."""
    articles = []
    for problem in explained:
        code, status = escape(problem["code"]), problem["status"]
        kept = (
            "<p>Part of what the business decided: an idempotent repetition gets it again.</p>"
            if problem["replayed"]
            else ""
        )
        articles.append(
            f'<article id="{code}"><h3><a href="/problems/{code}">{escape(problem["title"])}</a>'
            f'</h3><p class="call"><span class="status s{status // 100}">{status}</span>'
            f'<code>{code}</code></p><div class="text">{prose(problem["description"])}{kept}</div>'
            f"<details><summary>Example</summary>{code_block(problem['example'])}</details>"
            "</article>"
        )
    single = len(explained) == 1
    heading = "Problem" if single else "Problem codes"
    text = (
        "A refusal is a problem document (RFC 9457). Programs look at <code>code</code>; people "
        "read <code>detail</code>; <code>errors</code> names the places at fault."
    )
    more = '<a href="/problems">All codes</a> · ' if single else ""
    body = f"""<main><header><h1>{heading}</h1><p>{text}</p></header>{"".join(articles)}
<footer>{more}<a href="/docs">The API</a></footer></main>"""
    return page(heading, body)


def page(title: str, body: str) -> str:
    """A complete HTML document."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="{ICON}"><style>{STYLE}</style></head>
<body>{body}</body></html>"""


def grouped(document: Mapping[str, Any]) -> dict[str, list[tuple[str, str, dict[str, Any]]]]:
    """Operations by tag, in the order of the document."""
    groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
        tag["name"]: [] for tag in document["tags"]
    }
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                operation = dict(item[method])
                shared = item.get("parameters", [])
                operation["parameters"] = [*shared, *operation.get("parameters", [])]
                groups[operation["tags"][0]].append((method, path, operation))
    return {tag: operations for tag, operations in groups.items() if operations}


def navigation(
    info: Mapping[str, Any], groups: Mapping[str, list[tuple[str, str, dict[str, Any]]]]
) -> str:
    """The list of contents."""
    parts = [
        f'<nav aria-label="Contents"><a class="brand" href="#"><b>{escape(info["title"])}</b>'
        f"<span>API {escape(info['version'])}</span></a>"
    ]
    for tag, operations in groups.items():
        parts.append(f"<h2>{escape(tag)}</h2><ul>")
        for method, _, operation in operations:
            parts.append(
                f'<li><a href="#{escape(operation["operationId"])}">'
                f'<span class="method {method}">{short(method)}</span>'
                f"<span>{escape(operation['summary'].rstrip('.'))}</span></a></li>"
            )
        parts.append("</ul>")
    parts.append("</nav>")
    return "".join(parts)


def article(
    method: str,
    path: str,
    operation: Mapping[str, Any],
    known: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> str:
    """One operation. `known` has the schemas and the examples that it refers to."""
    components, examples = known
    operation_id = escape(operation["operationId"])
    shown_path = PARAMETER.sub(r"<i>\1</i>", escape(path))
    parts = [
        f'<article id="{operation_id}"><h3><a href="#{operation_id}">'
        f"{escape(operation['summary'].rstrip('.'))}</a></h3>"
        f'<div class="call"><span class="method {method}">{method.upper()}</span>'
        f'<span class="path">{shown_path}</span>{permission(operation)}</div>'
    ]
    if operation.get("description"):
        parts.append(f'<div class="text">{prose(operation["description"])}</div>')
    if operation["parameters"]:
        parts.append("<h4>Parameters</h4>" + parameter_table(operation["parameters"], components))
    content = operation.get("requestBody", {}).get("content", {})
    for media_type, body in content.items():
        rows = field_rows(body["schema"], components)
        heading = f"Body <code>{escape(media_type)}</code>"
        parts.append(f"<h4>{heading}</h4>" + (table(rows) if rows else ""))
    parts.append("<h4>Answers</h4>" + answer_table(operation["responses"], components))
    parts.append(refusals(operation["responses"], examples))
    command = curl(method, path, operation)
    parts.append(f"<details><summary>Try it with curl</summary>{code_block(command)}</details>")
    parts.append("</article>")
    return "".join(parts)


def permission(operation: Mapping[str, Any]) -> str:
    """Who may call, as a small label."""
    needed = [scope for entry in operation["security"] for scope in entry.get("bearer", [])]
    if {} in operation["security"]:
        return '<span class="who">open</span>'
    return f'<span class="who">{" or ".join(f"<code>{escape(n)}</code>" for n in needed)}</span>'


def parameter_table(parameters: Sequence[Mapping[str, Any]], components: Mapping[str, Any]) -> str:
    """Path, query and header parameters."""
    rows = []
    for parameter in parameters:
        # A parameter that may be null is one that may be left out.
        kind = kind_of(parameter["schema"], components).removesuffix(" or null")
        kind = f"{kind}, in {escape(parameter['in'])}"
        rows.append(
            row(parameter["name"], kind, parameter.get("required", False), described(parameter))
        )
    return table(rows)


def field_rows(
    schema: Mapping[str, Any], components: Mapping[str, Any], *, answered: bool = False
) -> list[str]:
    """The fields of a body, those of inner objects below them. Answers have nothing to fill in."""
    rows = []
    for name, kind, required in fields(schema, components, "", 0):
        shown = kind_of(kind, components)
        # What may be left out may be null as well: no need to say so each time.
        shown = shown if required or answered else shown.removesuffix(" or null")
        rows.append(row(name, shown, required and not answered, described(kind)))
    return rows


def fields(
    schema: Mapping[str, Any], components: Mapping[str, Any], prefix: str, depth: int
) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """Dotted names of all fields; ``[]`` stands for each item of a list."""
    schema = resolved(schema, components)
    for name, kind in schema.get("properties", {}).items():
        yield prefix + name, kind, name in schema.get("required", ())
        if depth >= DEPTH_MAX:
            continue
        inner, mark = resolved(kind, components), "."
        if inner.get("title") == MONEY:
            continue
        if inner.get("type") == "array":
            inner, mark = resolved(inner.get("items", {}), components), "[]."
        if "properties" in inner:
            yield from fields(inner, components, prefix + name + mark, depth + 1)


def resolved(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself: what it refers to, and of "this or null" this."""
    if "$ref" in schema:
        return resolved(components[schema["$ref"].rpartition("/")[2]], components)
    choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return resolved(choices[0], components) if len(choices) == 1 else schema


def kind_of(schema: Mapping[str, Any], components: Mapping[str, Any]) -> str:
    """The type of a value and its limits, as HTML."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        target = resolved(schema, components)
        if "enum" in target:
            return kind_of(target, components)
        return "money" if name == MONEY else escape(name)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(kind_of(one, components) for one in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    kind = schema.get("type", "any")
    if kind == "array":
        inner = kind_of(schema.get("items") or {}, components)
        return f"list of {inner}" + bounds(schema, "minItems", "maxItems", " items")
    if kind == "string":
        return escape(schema.get("format", "text")) + bounds(
            schema, "minLength", "maxLength", " characters"
        )
    names = {"integer": "integer", "boolean": "true or false", "object": "object", "any": "any"}
    return escape(names.get(kind, kind)) + bounds(schema, "minimum", "maximum")


def bounds(schema: Mapping[str, Any], low: str, high: str, unit: str = "") -> str:
    """``, 1 to 100``."""
    least, most = schema.get(low), schema.get(high)
    if least is not None and most is not None:
        return f", {least} to {most}{unit}"
    if most is not None:
        return f", up to {most}{unit}"
    return f", from {least}{unit}" if least is not None else ""


def described(schema: Mapping[str, Any]) -> str:
    """The description of a field, and its default."""
    parts = [inline(schema["description"])] if schema.get("description") else []
    default = schema.get("default", schema.get("schema", {}).get("default"))
    if default not in (None, "", [], {}):
        parts.append(f"Default <code>{escape(json.dumps(default))}</code>.")
    return " ".join(parts)


def answer_table(responses: Mapping[str, Any], components: Mapping[str, Any]) -> str:
    """What comes back when all is well."""
    rows = []
    for status, response in responses.items():
        if status >= "4" and response["description"].startswith("`"):
            continue
        content = response.get("content", {}).get("application/json", {})
        kind = kind_of(content["schema"], components) if content.get("schema") else ""
        fields_shown = field_rows(content["schema"], components, answered=True) if kind else []
        shown = (
            f"<details><summary>{kind}</summary>{table(fields_shown)}</details>"
            if fields_shown
            else kind
        )
        rows.append(
            f'<tr><td class="name"><span class="status s{status[0]}">{escape(status)}</span> '
            f"{escape(response['description'])}</td><td>{shown}</td></tr>"
        )
    return table(rows)


def refusals(responses: Mapping[str, Any], examples: Mapping[str, Any]) -> str:
    """The problems of an operation, folded up."""
    rows = []
    for status, response in responses.items():
        content = response.get("content", {}).get("application/problem+json", {})
        for code in content.get("examples", {}):
            rows.append(
                f'<tr><td class="name"><span class="status s{status[0]}">{escape(status)}</span> '
                f'<a href="/problems/{escape(code)}"><code>{escape(code)}</code></a></td>'
                f"<td>{escape(examples[code]['summary'])}</td></tr>"
            )
    if not rows:
        return ""
    count = f"{len(rows)} ways it may be refused" if len(rows) > 1 else "How it may be refused"
    return f"<details><summary>{count}</summary>{table(rows)}</details>"


def row(name: str, kind: str, required: bool, text: str) -> str:
    """One line of a table of fields."""
    outer, dot, inner = name.rpartition(".")
    shown = f'<span class="deep">{escape(outer + dot)}</span>{escape(inner)}'
    mark = " <em>required</em>" if required else ""
    return (
        f'<tr><td class="name"><code>{shown}</code></td>'
        f'<td class="kind">{kind}{mark}</td><td>{text}</td></tr>'
    )


def table(rows: Sequence[str]) -> str:
    """Rows in a frame that scrolls where the screen is narrow."""
    return f'<div class="scroll"><table><tbody>{"".join(rows)}</tbody></table></div>'


def curl(method: str, path: str, operation: Mapping[str, Any]) -> str:
    """A command that can be pasted."""
    parts = ["curl" if method == "get" else f"curl -X {method.upper()}"]
    parts[0] += f" '{SERVER}{path}'"
    if {} not in operation["security"]:
        parts.append('-H "Authorization: Bearer $KEY"')
    for parameter in operation["parameters"]:
        if parameter["in"] == "header":
            parts.append(f'-H "{parameter["name"]}: $(uuidgen)"')
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"-H 'Content-Type: {media_type}'")
        if "example" in content:
            text = json.dumps(content["example"], ensure_ascii=False).replace("'", "'\\''")
            parts.append(f"-d '{text}'")
        else:
            parts.append("-T products.ndjson")
        break
    return " \\\n  ".join(parts)


def code_block(value: Any) -> str:
    """Code, or a JSON value, as it stands."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'


def prose(text: str) -> str:
    """Paragraphs of a text, as HTML."""
    return "".join(f"<p>{inline(part)}</p>" for part in re.split(r"\n\s*\n", text.strip()))


def inline(text: str) -> str:
    """A text with its `code` marked, as HTML."""
    return CODE.sub(r"<code>\1</code>", escape(text, quote=False))


def short(method: str) -> str:
    """A method's name in the narrow column of the contents."""
    return {"delete": "DEL"}.get(method, method.upper())


def slug(tag: str) -> str:
    """A tag as an anchor."""
    return "tag-" + re.sub(r"[^a-z0-9]+", "-", tag.lower()).strip("-")
