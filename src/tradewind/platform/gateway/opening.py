"""Sealed texts in an answer, opened for who may read the answer."""

import msgspec

from tradewind.platform.gateway.endpoint import Response
from tradewind.platform.vault.texts import sealed_in, with_texts
from tradewind.platform.vault.vault import Vault

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


async def with_opened_texts(response: Response, vault: Vault) -> Response:
    """The answer with its texts as they were written; null where their person is erased."""
    if not any(name == b"content-type" and b"json" in value for name, value in response.headers):
        return response
    document = _decode(response.body)
    opened = await vault.open_texts(sealed_in(document))
    return response._replace(body=_encode(with_texts(document, opened)))
