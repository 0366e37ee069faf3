"""OpenAPI 3.1, written from the route table: what is served is what is documented."""

import inspect
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from tradewind.kernel.problems import FieldError, Problem
from tradewind.platform.gateway import problems as ours
from tradewind.platform.gateway.endpoint import Endpoint
from tradewind.platform.gateway.examples import example_of
from tradewind.platform.gateway.forms import FORM, InvalidForm
from tradewind.platform.gateway.idempotency import KEY_CHARACTERS_MAX
from tradewind.platform.gateway.paths import PARAMETER
from tradewind.platform.gateway.reasons import LENGTH_MAX as REASON_LENGTH_MAX
from tradewind.platform.gateway.routing import (
    Anyone,
    CartHolder,
    Keyed,
    OrderHolder,
    OwnCredentials,
    Route,
    Scope,
    SignedIn,
    Whose,
)
from tradewind.platform.gateway.system_paths import HTML, system_paths

REF = "#/components/schemas/{name}"
INTRODUCTION = """\
Tradewind's API. Every refusal is a problem (RFC 9457) with a stable `code` and a `trace_id`; \
`errors` names the place in the body, or the parameter, that is at fault.

Money is `{"amount": "12.75", "currency": "GBP"}`, a decimal text. Times are RFC 3339 in UTC. \
Lists are `{"items": [...], "next": "CURSOR"}`: pass `next` as `cursor`; `null` is the end.

Send `Authorization: Bearer KEY` with an API key. The answer to a placed order has an \
`order_token`, which opens that order in the same way, and that to a new cart a `cart_token`.

A request with an `Idempotency-Key` may be repeated as often as needed: it takes effect once, and \
the first answer comes again, to the byte, with `Idempotent-Replayed: true`."""

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457. Some problems have further members that a client can act on.",
    "required": ["type", "title", "status", "code", "detail", "trace_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "What it means."},
        "title": {"type": "string", "description": "The same for every problem of this code."},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable: what a program looks at."},
        "detail": {"type": "string", "description": "This case, and what to do about it."},
        "trace_id": {"type": "string", "description": "Finds this request in the logs."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "message"],
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "JSON pointer into the body, or a parameter's name.",
                    },
                    "message": {"type": "string"},
                },
            },
        },
    },
}
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def openapi_document(endpoints: Sequence[Endpoint], version: str) -> dict[str, Any]:
    """The description of all endpoints, in the order they are declared."""
    schemas, components = schemas_of(endpoints)
    components["Problem"] = PROBLEM_SCHEMA
    paths: dict[str, dict[str, Any]] = {}
    ids: set[str] = set()
    refusals: dict[str, type[Problem]] = {}
    for endpoint in endpoints:
        path = PARAMETER.sub(r"{\1}", endpoint.route.path)
        operation = operation_of(endpoint, schemas, components)
        if operation["operationId"] in ids:
            operation["operationId"] = f"{endpoint.context}_{operation['operationId']}"
        ids.add(operation["operationId"])
        paths.setdefault(path, {})[endpoint.route.method.lower()] = operation
        refusals.update({kind.code: kind for kind in refusals_of(endpoint.route)})
    for path, item in system_paths().items():
        paths.setdefault(path, {}).update(item)
    tags = dict.fromkeys(tag_of(endpoint) for endpoint in endpoints)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tradewind",
            "version": version,
            "description": INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in [*tags, "system"]],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "examples": {code: problem_example(refusals[code]) for code in sorted(refusals)},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key (`tw_live_...`), the token of a session "
                    "(`st_...`), or that of one order or cart.",
                }
            },
        },
    }


def schemas_of(endpoints: Sequence[Endpoint]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """The schema of every declared type, by type, and the components they refer to."""
    types: list[Any] = []
    for endpoint in endpoints:
        route = endpoint.route
        types += [route.body, route.query, *route.answers.values()]
    distinct: list[Any] = []
    for kind in types:
        if kind is not None and kind is not bytes and kind not in distinct:
            distinct.append(kind)
    if not distinct:
        return {}, {}
    found, components = msgspec.json.schema_components(distinct, ref_template=REF)
    drop_empty_defaults(components)
    # Two contexts may each have a PaymentView: msgspec then writes the module into both names.
    names = {REF.format(name=name): REF.format(name=public_name(name)) for name in components}
    point_elsewhere(list(found), names)
    point_elsewhere(components, names)
    schemas = {id(kind): schema for kind, schema in zip(distinct, found, strict=True)}
    return schemas, {public_name(name): schema for name, schema in components.items()}


def public_name(name: str) -> str:
    """``tradewind.contexts.orders.tables.PaymentView`` as ``OrdersPaymentView``."""
    *modules, short = name.split(".")
    return f"{modules[-2].title()}{short}" if len(modules) >= 2 else short


def point_elsewhere(schema: Any, names: Mapping[str, str]) -> None:
    """Rename what the references of a schema point to."""
    if isinstance(schema, dict):
        for key, inner in schema.items():  # "$ref", and the values of a discriminator's mapping
            if isinstance(inner, str):
                schema[key] = names.get(inner, inner)
            else:
                point_elsewhere(inner, names)
    elif isinstance(schema, list):
        for inner in schema:
            point_elsewhere(inner, names)


def drop_empty_defaults(schema: Any) -> None:
    """An empty default of a text that must not be empty means "left out": no default then."""
    if isinstance(schema, dict):
        if schema.get("default") == "" and schema.get("minLength", 0) > 0:
            del schema["default"]
        if isinstance(schema.get("default"), tuple):  # JSON knows lists only
            schema["default"] = list(schema["default"])
        for inner in schema.values():
            drop_empty_defaults(inner)
    elif isinstance(schema, list):
        for inner in schema:
            drop_empty_defaults(inner)


def operation_of(
    endpoint: Endpoint, schemas: Mapping[Any, Any], components: Mapping[str, Any]
) -> dict[str, Any]:
    """One operation."""
    route = endpoint.route
    operation: dict[str, Any] = {
        "operationId": getattr(route.handler, "__name__", "operation"),
        "tags": [tag_of(endpoint)],
        "summary": route.summary,
    }
    description = inspect.getdoc(route.handler)
    if description:
        operation["description"] = description
    parameters = parameters_of(route, schemas, components)
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        schema = schemas[id(route.body)]
        content = {"schema": schema, "example": example_of(schema, components)}
        operation["requestBody"] = {
            "required": not endpoint.body_may_be_empty,
            "content": dict.fromkeys(route.media_types, content),
        }
    elif route.streamed:
        operation["requestBody"] = {
            "required": True,
            "content": {name: text_of(route, name) for name in route.media_types},
        }
    operation["responses"] = answers_of(route, schemas) | problem_responses(route)
    for status, kind in route.answers.items():
        if kind is bytes and route.page:  # a page, or a problem: both may come with this status
            response = operation["responses"][str(status)]
            response["content"] = {**HTML, **response["content"]}
    operation["security"] = security_of(route)
    operation["x-rate-limit-class"] = route.limit
    return operation


def text_of(route: Route, media_type: str) -> dict[str, Any]:
    """A body that is no JSON document."""
    text: dict[str, Any] = {"schema": {"type": "string"}}
    if media_type in route.examples:
        text["example"] = route.examples[media_type]
    return text


def tag_of(endpoint: Endpoint) -> str:
    """The group of an operation: its own, or its context."""
    return endpoint.route.tag or endpoint.context


def parameters_of(
    route: Route, schemas: Mapping[Any, Any], components: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Path and query parameters, and the headers that matter."""
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name, _ in PARAMETER.findall(route.path)
    ]
    if route.query is not None:
        schema = schemas[id(route.query)]
        schema = components[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        for name, kind in schema.get("properties", {}).items():
            parameter = {"name": name, "in": "query", "schema": kind}
            if kind.get("type") == "object":
                parameter |= {"style": "deepObject", "explode": True}
            if name in schema.get("required", ()):
                parameter["required"] = True
            if "description" in kind:
                parameter["description"] = kind["description"]
            found.append(parameter)
    if route.keyed is not Keyed.NO:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": route.keyed is Keyed.REQUIRED,
                "description": "A new random value per request; the same one to repeat it.",
                "schema": {"type": "string", "minLength": 1, "maxLength": KEY_CHARACTERS_MAX},
            }
        )
    if route.writes or route.personal:
        told = "reason" in getattr(route.body, "__struct_fields__", ())
        found.append(
            {
                "name": "Tradewind-Reason",
                "in": "header",
                "required": route.needs_reason and route.whose is Whose.SHOP and not told,
                "description": "Why staff does this, such as a case number; it goes on record. "
                + ("Staff must say it here" if route.needs_reason else "It may stand here")
                + (", or as `reason` in the body." if told else "."),
                "schema": {"type": "string", "minLength": 1, "maxLength": REASON_LENGTH_MAX},
            }
        )
    return found


def answers_of(route: Route, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    """What the route answers when all is well."""
    found: dict[str, Any] = {}
    for status, kind in route.answers.items():
        response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if kind is bytes and route.page:
            response["content"] = HTML
        elif kind is bytes:
            types = route.answer_types or (route.examples if route.method == "GET" else ())
            response["content"] = {name: text_of(route, name) for name in types} or {
                "application/octet-stream": {}
            }
        elif kind is not None:
            response["content"] = {"application/json": {"schema": schemas[id(kind)]}}
        if route.keyed is not Keyed.NO:
            response["headers"] = {
                "Idempotent-Replayed": {
                    "description": "`true` where this is the first answer, sent again.",
                    "schema": {"type": "string", "const": "true"},
                }
            }
        found[str(status)] = response
    return found


def refusals_of(route: Route) -> list[type[Problem]]:
    """Every problem a route may answer, its own first, those of the gateway by what it reads."""
    found: list[type[Problem]] = [*route.problems]
    if isinstance(route.permission, OwnCredentials):
        pass
    elif isinstance(route.permission, Scope | SignedIn):
        found += [ours.Unauthenticated, ours.Forbidden]
    elif isinstance(route.permission, OrderHolder | CartHolder):
        found += [ours.Unauthenticated, ours.NotFound]
    else:
        found.append(ours.Unauthenticated)
    if PARAMETER.search(route.path):
        found.append(ours.NotFound)  # what no parameter can be, such as a control character
    if route.keyed is not Keyed.NO:
        found += [
            ours.IdempotencyKeyInvalid,
            ours.IdempotencyKeyReused,
            ours.IdempotencyInFlight,
        ]
    if route.keyed is Keyed.REQUIRED:
        found.append(ours.IdempotencyKeyRequired)
    if route.writes or route.personal:
        found.append(ours.ReasonInvalid)
    if route.needs_reason:
        found.append(ours.ReasonRequired)
    if route.body is not None:
        is_form = FORM in route.media_types
        found += [InvalidForm] if is_form else [ours.InvalidJson, ours.InvalidBody]
        found.append(ours.CardDataRefused)
    if route.body is not None or route.streamed:
        found += [ours.BodyTooLarge, ours.UnsupportedMediaType, ours.RequestTimeout]
    if route.method != "GET":
        found.append(ours.DiskIsFull)
    found += [ours.InvalidQuery, *ours.ANYWHERE]
    by_code: dict[str, type[Problem]] = {}
    for kind in found:
        by_code.setdefault(kind.code, kind)
    return list(by_code.values())


def problem_responses(route: Route) -> dict[str, Any]:
    """The refusals of a route by status, an example for each code."""
    by_status: dict[int, list[type[Problem]]] = {}
    for kind in refusals_of(route):
        by_status.setdefault(kind.status, []).append(kind)
    return {
        str(status): {
            "description": ", ".join(f"`{kind.code}`" for kind in kinds),
            "content": {
                media_type: {
                    "schema": {"$ref": REF.format(name="Problem")},
                    "examples": {
                        kind.code: {"$ref": f"#/components/examples/{kind.code}"}
                        for kind in kinds
                        if kind.media_type == media_type
                    },
                }
                for media_type in sorted({kind.media_type for kind in kinds})
            },
        }
        for status, kinds in sorted(by_status.items())
    }


def problem_example(kind: type[Problem]) -> dict[str, Any]:
    """A problem as a client meets it."""
    problem = Problem.__new__(kind)
    Problem.__init__(problem, errors=ERRORS.get(kind.code, ()))
    return {"summary": kind.title, "value": problem.document(trace_id=TRACE_ID)}


ERRORS = {
    ours.InvalidBody.code: (FieldError("/lines/0/quantity", "must be at least 1"),),
    ours.InvalidQuery.code: (FieldError("limit", "must be at most 100"),),
}


def security_of(route: Route) -> list[dict[str, list[str]]]:
    """Who may call."""
    if isinstance(route.permission, Anyone):
        return [{}, {"bearer": []}]
    if isinstance(route.permission, OwnCredentials):
        return [{}]
    if isinstance(route.permission, Scope):
        return [{"bearer": [route.permission.name]}]
    if isinstance(route.permission, SignedIn):
        return [{"bearer": ["(session)"]}]
    kind = "cart" if isinstance(route.permission, CartHolder) else "order"
    owned = [] if route.permission.owner is None else [{"bearer": ["(session)"]}]
    return [{"bearer": [route.permission.scope]}, {"bearer": [f"({kind} token)"]}, *owned]
