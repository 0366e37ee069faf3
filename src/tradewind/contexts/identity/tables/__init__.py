"""Rows of identity's tables and shapes of its answers, field by field."""

from tradewind.contexts.identity.tables.keys import KEY_COLUMNS as KEY_COLUMNS
from tradewind.contexts.identity.tables.keys import KeyId as KeyId
from tradewind.contexts.identity.tables.keys import KeyIssued as KeyIssued
from tradewind.contexts.identity.tables.keys import KeyList as KeyList
from tradewind.contexts.identity.tables.keys import KeyPage as KeyPage
from tradewind.contexts.identity.tables.keys import KeyRow as KeyRow
from tradewind.contexts.identity.tables.keys import KeyShown as KeyShown
from tradewind.contexts.identity.tables.keys import NewKey as NewKey
from tradewind.contexts.identity.tables.keys import Rotation as Rotation
from tradewind.contexts.identity.tables.keys import shown as shown
