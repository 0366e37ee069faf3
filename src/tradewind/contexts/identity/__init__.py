"""Identity: who may use the platform, and for what.

Owns API keys, accounts, sessions, roles and consents. Announces KeyCreated, KeyRotated, KeyRevoked,
AccountOpened, AccountChanged, AccountClosed, RolesGiven, RoleChanged, ConsentRecorded,
SessionOpened, and LetterAsked, which notifications write. Listens to nobody. Keeps no secret and no
person: an API key's secret is derived from the server's master key, a password and a session are
hashes, and who somebody is lies in the vault.
"""
