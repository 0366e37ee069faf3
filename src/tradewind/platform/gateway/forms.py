"""Form bodies (application/x-www-form-urlencoded) into Structs: what OAuth and HTML pages send.

As RFC 6749 has it: a parameter that nobody knows is ignored, one that is empty was not sent, and
one that stands twice is refused. The refusal is an OAuth error and a problem in one document.
"""

from typing import Any

import msgspec

from tradewind.kernel.problems import Problem
from tradewind.platform.gateway.explaining import humane, split_path
from tradewind.platform.gateway.parameters import parameters
from tradewind.platform.gateway.problems import InvalidQuery

FORM = "application/x-www-form-urlencoded"
FORM_BYTES_MAX = 8_192


class InvalidForm(Problem):
    """A field of the form is missing, stands twice or cannot be what it is."""

    status = 400
    code = "invalid_form"
    title = "The form is not right."
    media_type = "application/json"


class Form:
    """Reads the forms of one route into its Struct."""

    may_be_empty = False

    def __init__(self, shape: type[msgspec.Struct]) -> None:
        self.shape = shape
        self._known = {field.encode_name for field in msgspec.structs.fields(shape)}

    def read(self, raw: bytes) -> Any:
        """The form as `shape`. Raises `InvalidForm`."""
        values: dict[str, str] = {}
        try:
            for name, value in parameters(raw):
                if name in values:
                    raise invalid_form(f"{name[:60]} is given twice")
                if name in self._known and value:
                    values[name] = value
            return msgspec.convert(values, self.shape, strict=False)
        except InvalidQuery as problem:
            raise invalid_form(problem.detail) from None
        except msgspec.ValidationError as error:
            message, where = split_path(str(error))
            name = f"{where[0]}: " if where else ""
            raise invalid_form(f"{name}{humane(message)}") from None


def invalid_form(detail: str) -> InvalidForm:
    """The refusal of a form."""
    return InvalidForm(detail, error="invalid_request", error_description=detail)
