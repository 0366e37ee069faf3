"""The simulated payment provider: a program of its own, with its own durable record.

It stands for the bank at the other end of the wire and shares nothing with the platform: neither
process nor database nor fate. What it took stays taken when Tradewind is killed; a key never
charges twice, however often it is sent. The token of the card chooses how it behaves.
"""
