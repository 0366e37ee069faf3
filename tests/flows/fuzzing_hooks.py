"""What schemathesis is told about this API, in its own process: see test_every_operation.py.

Half of the path parameters are ids of things that are there: else nothing but 404 would be tried.
"""

import json
import os
import random
from typing import Any

import schemathesis

KNOWN: dict[str, list[str]] = json.loads(os.environ.get("FUZZING_KNOWN", "{}"))
chance = random.Random(1)


@schemathesis.serializer("application/x-ndjson", "text/csv")
def lines(context: Any, value: Any) -> Any:
    """Lines of an import: a text as it is, anything else as JSON, now and then some more lines."""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else json.dumps(value)


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> Any:
    """Ids that are there, every other time."""
    for name in path_parameters or {}:
        if name in KNOWN and chance.random() < 0.5:
            assert path_parameters is not None
            path_parameters[name] = chance.choice(KNOWN[name])
    return path_parameters
