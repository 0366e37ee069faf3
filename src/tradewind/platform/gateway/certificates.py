"""The certificate with which a client came, where TLS ends before us: a header of a trusted proxy.

Off by default (setting `client_certificate_header`). The header counts only from an address in
`trusted_proxies`, which must set or remove it on every request; from anybody else it is ignored.
Read are the form of RFC 9440 (``:BASE64:``) and a PEM with percent escapes (nginx, HAProxy).
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from hashlib import sha256
from urllib.parse import unquote

PEM_BEGIN = "-----BEGIN CERTIFICATE-----"
PEM_END = "-----END CERTIFICATE-----"
# A certificate has 500 to 2,000 bytes.
DER_BYTES_MAX = 8_192


class Certificates:
    """Reads the certificate of a request."""

    def __init__(self, header: str, trusts: Callable[[str], bool]) -> None:
        self._header = header.lower().encode()
        self._trusts = trusts

    def thumbprint(self, headers: Mapping[bytes, bytes], peer: str) -> str | None:
        """SHA-256 of the client's certificate (``x5t#S256``); None where it came without one.

        `peer` is the address at the other end of the connection: the proxy that ended TLS.
        """
        value = headers.get(self._header) if self._header else None
        if value is None or not self._trusts(peer):
            return None
        der = der_of(value.decode("latin-1").strip())
        if der is None:
            return None
        return base64.urlsafe_b64encode(sha256(der).digest()).rstrip(b"=").decode()


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
