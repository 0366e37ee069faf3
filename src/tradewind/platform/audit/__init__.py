"""Who did what: an append-only record that nobody can change without being found out.

Entries are inserted in the transaction of what they tell about, unchained. One sealer puts them
into a chain of hashes in the order of their commits; the heads of the chain are signed and kept
outside the database. Nothing here is personal: principals are ids, addresses tokens, reasons
sealed.
"""
