"""Identity: who may use the platform, and for what.

Owns API keys and their scopes. Announces KeyCreated, KeyRevoked. Listens to nobody. Keeps no
secret: an API key's secret is derived from the server's master key, and only its hash is stored.
"""
