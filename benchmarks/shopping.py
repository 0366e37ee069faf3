"""The load generator of checkouts: shoppers who click from a cart to an order, one after the other.

As `benchmarks.load`, and as little work: five requests a shopper, filled into prepared bytes. What
is timed is a whole shopper, from the first request sent to the order that is confirmed.
"""

import random

from benchmarks.load import (
    PRODUCTS,
    Connection,
    Load,
    Window,
    arguments,
    run_and_print,
)
from tradewind.supervisor.processes import allow_many_files

CART = (
    b'{"currency":"GBP","lines":[{"sku":"B%04d","quantity":1},{"sku":"B%04d","quantity":1},'
    b'{"sku":"B%04d","quantity":1}]}'
)
PERSON = (
    b'{"email":"%s@bench.example","shipping_address":{"name":"Ada Lovelace",'
    b'"line1":"12 St James\'s Square","city":"London","postal_code":"SW1Y 4JH","country":"GB"}}'
)
SHIPPING = b'{"shipping_option":"standard"}'
PAYMENT = b'{"payment":{"token":"tok_ok"},"expected_total":{"amount":"29.97","currency":"GBP"}}'
REQUESTS = 5  # of a shopper who reaches the end
ID = b'{"id":"'
TOKEN = b'"cart_token":"'


class Shopping(Load):
    """Shoppers, and what they saw; `statuses` counts whole shoppers, by how they ended."""

    def connection(self) -> Connection:
        return Shopper(self)

    def three(self) -> tuple[int, int, int]:
        """Three products, as `Load` draws them."""
        chance, third = random.random, self._third
        return (
            1 + int(chance() * third),
            1 + third + int(chance() * third),
            1 + 2 * third + int(chance() * (self._products - 2 * third)),
        )

    def new_name(self) -> bytes:
        """Somebody who never shopped before."""
        self._number += 1
        return b"%s%08x" % (self._session, self._number)


class Shopper(Connection):
    """One shopper after the other: cart, address, delivery, payment."""

    def __init__(self, load: Shopping) -> None:
        super().__init__(load)
        self._shopping = load
        self._step = 0
        self._began_at = 0.0
        self._cart = self._token = self._name = b""

    def _send(self) -> None:
        super()._send()
        self._began_at = self._sent_at

    def next_request(self) -> bytes:
        """The click that comes next."""
        cart = b"/v1/carts/" + self._cart
        match self._step:
            case 0:
                self._name = self._shopping.new_name()
                self._token = b""
                return self.said(b"POST", b"/v1/carts", CART % self._shopping.three())
            case 1:
                return self.said(b"PATCH", cart, PERSON % self._name)
            case 2:
                return self.said(b"GET", cart + b"/shipping-options", b"")
            case 3:
                return self.said(b"PATCH", cart, SHIPPING)
            case _:
                return self.said(b"POST", cart + b"/checkout", PAYMENT)

    def said(self, method: bytes, path: bytes, body: bytes) -> bytes:
        """A request; each that changes something under a key of its own."""
        lines = [b"%s %s HTTP/1.1" % (method, path), b"Host: bench.example"]
        if self._token:
            lines.append(b"Authorization: Bearer " + self._token)
        if body:
            lines.append(b"Content-Type: application/json")
            lines.append(b"Content-Length: %d" % len(body))
            lines.append(b"Idempotency-Key: %s-%d" % (self._name, self._step))
        return b"\r\n".join([*lines, b"", body])

    def answer_seen(self, answer: bytes, now: float) -> None:
        """Go on with what an answer says; the next shopper after the last, or a refusal."""
        status = answer[9:12]
        if self._step == REQUESTS - 1 or status not in (b"200", b"201"):
            self._step = 0
            self.answer_taken(self._shopping.answered(answer, self._began_at, now))
            return
        if self._step == 0:
            self._cart = between(answer, ID)
            self._token = between(answer, TOKEN)
        self._step += 1
        self._sent_at = now
        self._waiting = True
        self._transport.write(self.next_request())


def between(answer: bytes, before: bytes) -> bytes:
    """The text behind some bytes, up to its quote."""
    start = answer.index(before) + len(before)
    return answer[start : answer.index(b'"', start)]


def main() -> None:
    """Read the arguments, run, print the count."""
    allow_many_files()
    given = arguments(__doc__).parse_args()
    window = Window(given.begin, given.end, given.until)
    run_and_print(Shopping(given.host, given.port, window, products=PRODUCTS), given)


if __name__ == "__main__":
    main()
