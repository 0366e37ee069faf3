"""Identity: who may use the platform, and for what.

Owns API keys, accounts, sessions, roles and consents; OAuth clients, what people let them do, and
the keys that tokens are signed with. Announces KeyCreated, KeyRotated, KeyRevoked, AccountOpened,
AccountChanged, AccountClosed, RolesGiven, RoleChanged, ConsentRecorded, SessionOpened,
ClientRegistered, ClientSecretRenewed, ClientRevoked, GrantGiven, GrantEnded, and LetterAsked, which
notifications write. Listens to nobody. Keeps no secret and no person: secrets of keys, clients,
codes and refresh tokens are derived from the server's master key, signing keys are sealed under it,
a password and a session are hashes, and who somebody is lies in the vault.
"""
