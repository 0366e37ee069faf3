"""What identity decides: about keys, accounts, guesses and roles. Pure."""

from tradewind.contexts.identity.rules.keys import LIFE_MAX as LIFE_MAX
from tradewind.contexts.identity.rules.keys import MANAGES_KEYS as MANAGES_KEYS
from tradewind.contexts.identity.rules.keys import create as create
from tradewind.contexts.identity.rules.keys import created as created
from tradewind.contexts.identity.rules.keys import first_key as first_key
from tradewind.contexts.identity.rules.keys import recorded as recorded
from tradewind.contexts.identity.rules.keys import revoke as revoke
from tradewind.contexts.identity.rules.keys import revoked as revoked
from tradewind.contexts.identity.rules.keys import rotate as rotate
from tradewind.contexts.identity.rules.keys import rotated as rotated
from tradewind.contexts.identity.rules.keys import works as works
