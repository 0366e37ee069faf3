"""What belongs to accounts: orders that are claimed, and carts at the moment of signing in."""

from collections.abc import Sequence

from tradewind.contexts.identity.events import SessionOpened
from tradewind.contexts.orders.commands import ClaimOrders
from tradewind.contexts.orders.events import OrdersClaimed
from tradewind.contexts.orders.handlers.carts import close_desk, open_desk
from tradewind.contexts.orders.tables.carts import OwnedCart
from tradewind.kernel.messages import NOTHING, Decision, Event
from tradewind.platform.database.transaction import Transaction

# A claim is one unit of work: who has more asks again.
CLAIMED_AT_ONCE_MAX = 500

# Served by orders_by_contact.
TO_CLAIM = """
    SELECT order_id FROM orders.orders
     WHERE contact = $1 AND account IS NULL ORDER BY placed_at DESC, order_id DESC LIMIT $2"""
# Served by the primary key. The version stays: nothing of the order has changed.
CLAIM = """
    UPDATE orders.orders o SET account = c.account
      FROM unnest($1::text[], $2::text[]) AS c (order_id, account)
     WHERE o.order_id = c.order_id AND o.account IS NULL"""


async def claim_orders(tx: Transaction, commands: Sequence[ClaimOrders]) -> Decision:
    """Claim guests' orders. Safe to repeat: what is claimed is nobody else's to claim.

    An address is that of one account, so two claims meet only where one came twice: the second
    finds rows taken, runs anew, and claims what is left.
    """
    claimed: dict[str, str] = {}
    events: list[Event] = []
    outcomes: list[list[str]] = []
    for command in commands:
        found = await tx.fetch_values(TO_CLAIM, command.contact, CLAIMED_AT_ONCE_MAX)
        ids = [order_id for order_id in found if order_id not in claimed]
        outcomes.append(ids)
        if ids:
            claimed.update(dict.fromkeys(ids, command.account))
            events.append(
                OrdersClaimed(
                    sequence=1,
                    claim_id=command.claim_id,
                    account=command.account,
                    order_ids=tuple(ids),
                    claimed_at=tx.now,
                )
            )
    if claimed:
        tx.write(CLAIM, list(claimed), list(claimed.values()), expect=len(claimed))
    causes = {command.claim_id: f"request of {command.account}" for command in commands}
    return Decision(events=events, outcomes=outcomes, causes=causes)


# Served by carts_by_customer: newest first.
OPEN_CARTS = """
    SELECT c.customer, c.cart_id
      FROM orders.carts c LEFT JOIN orders.orders o USING (order_id)
     WHERE c.customer = ANY ($1::text[]) AND c.ended IS NULL
       AND (c.order_id IS NULL OR o.status = 'rejected')
     ORDER BY c.cart_id DESC"""


async def merge_at_sign_in(tx: Transaction, events: Sequence[SessionOpened]) -> Decision:
    """Let the cart that was filled as a guest join the account's, or be it where there is none.

    Safe to repeat: a cart that was merged or given is so already. What cannot be merged - it was
    ordered, it ended, it is somebody else's - stays as it is.
    """
    signed_in = [event for event in events if event.guest_cart is not None]
    if not signed_in:
        return NOTHING
    accounts = sorted({event.account_id for event in signed_in})
    mine: dict[str, list[str]] = {}
    for owned in await tx.fetch(OPEN_CARTS, accounts, into=OwnedCart):
        mine.setdefault(owned.customer, []).append(owned.cart_id)
    wanted = [event.guest_cart or "" for event in signed_in]
    wanted += [cart_id for cart_ids in mine.values() for cart_id in cart_ids[:1]]
    desk = await open_desk(tx, wanted)
    for event in signed_in:
        newest = next(iter(mine.get(event.account_id, ())), None)
        taken = desk.take_over(event.guest_cart or "", newest, event.account_id)
        if taken is not None:
            mine.setdefault(event.account_id, []).insert(0, taken)
    return close_desk(tx, desk)
