"""Identity's units of work: API keys, accounts, sessions, roles."""

from tradewind.contexts.identity.handlers.accounts import ask as ask
from tradewind.contexts.identity.handlers.accounts import reset_passwords as reset_passwords
from tradewind.contexts.identity.handlers.accounts import verify_addresses as verify_addresses
from tradewind.contexts.identity.handlers.holders import begin_totp as begin_totp
from tradewind.contexts.identity.handlers.holders import change_passwords as change_passwords
from tradewind.contexts.identity.handlers.holders import close_accounts as close_accounts
from tradewind.contexts.identity.handlers.holders import confirm_totp as confirm_totp
from tradewind.contexts.identity.handlers.holders import drop_totp as drop_totp
from tradewind.contexts.identity.handlers.holders import move_addresses as move_addresses
from tradewind.contexts.identity.handlers.holders import note_forgotten as note_forgotten
from tradewind.contexts.identity.handlers.holders import record_consents as record_consents
from tradewind.contexts.identity.handlers.keys import create_keys as create_keys
from tradewind.contexts.identity.handlers.keys import provide_first_key as provide_first_key
from tradewind.contexts.identity.handlers.keys import record_use as record_use
from tradewind.contexts.identity.handlers.keys import revoke_keys as revoke_keys
from tradewind.contexts.identity.handlers.keys import rotate_keys as rotate_keys
from tradewind.contexts.identity.handlers.roles import keep_roles as keep_roles
from tradewind.contexts.identity.handlers.roles import remove_roles as remove_roles
from tradewind.contexts.identity.handlers.roles import set_roles as set_roles
from tradewind.contexts.identity.handlers.roles import set_statuses as set_statuses
from tradewind.contexts.identity.handlers.sessions import begin_sign_ins as begin_sign_ins
from tradewind.contexts.identity.handlers.sessions import end_sessions as end_sessions
from tradewind.contexts.identity.handlers.sessions import find_discarded as find_discarded
from tradewind.contexts.identity.handlers.sessions import forget_errands as forget_errands
from tradewind.contexts.identity.handlers.sessions import forget_sessions as forget_sessions
from tradewind.contexts.identity.handlers.sessions import open_sessions as open_sessions
