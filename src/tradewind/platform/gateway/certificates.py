"""The certificate with which a client came, where TLS ends before us: a header of a trusted proxy.

Off by default (setting `client_certificate_header`). The header counts only from an address in
`trusted_proxies`, which must set or remove it on every request; from anybody else it is ignored.
Read are the form of RFC 9440 (``:BASE64:``) and a PEM with percent escapes (nginx, HAProxy).
"""

import base64
import binascii
import ipaddress
from collections.abc import Mapping, Sequence
from hashlib import sha256
from urllib.parse import unquote

PEM_BEGIN = "-----BEGIN CERTIFICATE-----"
PEM_END = "-----END CERTIFICATE-----"
# A certificate has 500 to 2,000 bytes.
DER_BYTES_MAX = 8_192


class Certificates:
    """Reads the certificate of a request."""

    def __init__(self, header: str, proxies: Sequence[str]) -> None:
        self._header = header.lower().encode()
        try:
            self._proxies = tuple(ipaddress.ip_network(one, strict=False) for one in proxies)
        except ValueError as error:
            raise ValueError(
                f"TRADEWIND_TRUSTED_PROXIES must list addresses or networks, by commas: {error}"
            ) from None

    def thumbprint(self, headers: Mapping[bytes, bytes], client: str) -> str | None:
        """SHA-256 of the client's certificate (``x5t#S256``); None where it came without one."""
        value = headers.get(self._header) if self._header else None
        if value is None or not self._trusts(client):
            return None
        der = der_of(value.decode("latin-1").strip())
        if der is None:
            return None
        return base64.urlsafe_b64encode(sha256(der).digest()).rstrip(b"=").decode()

    def _trusts(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)


def der_of(text: str) -> bytes | None:
    """The bytes of a certificate; None for what is none, or more than one."""
    if text.startswith(":") and text.endswith(":") and len(text) > 2:
        inner = text[1:-1]
    else:
        plain = unquote(text).strip()
        if not plain.startswith(PEM_BEGIN) or not plain.endswith(PEM_END):
            return None
        inner = "".join(plain[len(PEM_BEGIN) : -len(PEM_END)].split())
    try:
        der = base64.b64decode(inner, validate=True)
    except (binascii.Error, ValueError):
        return None
    # A DER sequence, as every certificate is one; who vouches for it is the proxy.
    return der if 64 <= len(der) <= DER_BYTES_MAX and der[0] == 0x30 else None
