"""The sample shop: about 1,000 real products and 90 days of a real shop's orders, and their replay.

An extract of "Online Retail" (D. Chen, doi 10.1057/dbm.2012.17); see ``data/CREDITS.md`` for its
origin, its license and what was changed. Nothing here is privileged: products go in through the
importer and orders through the public HTTP API, as any other program's would.

``files`` says what is shipped, ``history`` turns source lines into a plan, ``client`` speaks HTTP,
``replay`` carries the plan out, ``reconcile`` accounts for every line afterwards.
"""
