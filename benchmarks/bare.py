"""The partner of reads: a bare Starlette route that returns bytes it is given at its start.

uvicorn as the platform runs it: the same loop, the same parser, no access log, one process. No
check, no limit, no id, no figure; the headers are those that Starlette adds by itself.
"""

import argparse
from pathlib import Path

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def application(answers: dict[str, bytes]) -> Starlette:
    """One route for a product, by its id, and one for a list, whatever is asked of it."""

    async def product(request: Request) -> Response:
        return Response(answers[request.path_params["id"]], media_type="application/json")

    async def listed(request: Request) -> Response:
        return Response(answers[""], media_type="application/json")

    return Starlette(routes=[Route("/v1/products/{id}", product), Route("/v1/products", listed)])


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--answers", type=Path, required=True, help="msgpack: id -> bytes")
    given = parser.parse_args()
    answers = msgspec.msgpack.decode(given.answers.read_bytes(), type=dict[str, bytes])
    uvicorn.run(
        application(answers),
        host="127.0.0.1",
        port=given.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
