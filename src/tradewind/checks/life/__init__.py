"""The life of an order, explored to its end: every order of events, every crash, every reply lost.

The real rules of orders, inventory, payments and fraud run over rows in memory, against a provider
that may do what it likes. A breadth-first search visits every state they can reach, once, and holds
the promises against each. ``model`` is a state, ``units`` the units of work, ``bank`` the provider,
``steps`` what can happen next, ``promises`` what must hold, ``explore`` the search.

What is assumed, and proved elsewhere (``tests/simulation``): a unit of work takes effect as a whole
and once, and each partition is handed over in the order of the log. Time is not counted: whatever
waits may be over at any moment, and whatever has a deadline may miss it.
"""
