"""What OpenAPI says about the pages that are no routes: health, metrics, documentation."""

from typing import Any

JSON_OBJECT = {"application/json": {"schema": {"type": "object"}}}
HTML = {"text/html": {"schema": {"type": "string"}}}


def system_paths() -> dict[str, dict[str, Any]]:
    """Their path items. All are open to anyone and not rate-limited."""
    return {
        "/livez": page("livez", "Whether the process answers.", JSON_OBJECT),
        "/readyz": page(
            "readyz",
            "Whether orders can be taken; the reasons where not.",
            JSON_OBJECT,
            unready=True,
        ),
        "/version": page("version", "What runs here.", JSON_OBJECT),
        "/metrics": page(
            "metrics",
            "Figures in the Prometheus text format.",
            {"text/plain": {"schema": {"type": "string"}}},
        ),
        "/openapi.json": page("openapi", "This document.", JSON_OBJECT),
        "/docs": page("docs", "The API as a page to read.", HTML),
        "/problems": page("problems", "Every problem code there is.", JSON_OBJECT | HTML),
        "/problems/{code}": {
            "get": page("problem", "What a problem code means.", JSON_OBJECT | HTML, absent=True)[
                "get"
            ],
            "parameters": [
                {"name": "code", "in": "path", "required": True, "schema": {"type": "string"}}
            ],
        },
    }


def page(
    operation_id: str,
    summary: str,
    content: dict[str, Any],
    *,
    unready: bool = False,
    absent: bool = False,
) -> dict[str, Any]:
    """A path item with one GET."""
    responses: dict[str, Any] = {"200": {"description": "OK", "content": content}}
    if unready:
        responses["503"] = {"description": "Not ready", "content": content}
    if absent:
        problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        responses["404"] = {"description": "`not_found`", "content": problem}
    return {
        "get": {
            "operationId": operation_id,
            "tags": ["system"],
            "summary": summary,
            "responses": responses,
            "security": [{}],
        }
    }
