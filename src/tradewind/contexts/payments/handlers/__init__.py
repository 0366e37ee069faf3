"""Load, decide, save: payments and their operations.

Every unit takes the payments it touches with what they have under way - from memory, where this
process wrote them last, else in one statement - lets the rules fold its messages over them, and
writes what changed, guarded by the payments' versions: if another unit was faster on one of them,
all of it is read and decided again.
"""
