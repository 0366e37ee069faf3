"""Whether anything is oversold, lost, doubled or wrongly refused, while everything is killed.

``clients`` buy, cancel and refund, ``nemesis`` kills what serves them, ``history`` keeps what was
asked and answered; then ``checker``, which shares no line with the platform, is the judge. ``run``
puts them together; docs/concepts/never-oversold.md says what is proved and how.
"""
