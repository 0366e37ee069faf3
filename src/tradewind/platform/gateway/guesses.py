"""What stops who tries passwords: wrong guesses are counted by address, by account, and in all.

A guess is counted before it is looked at, so that a thousand at once are a thousand, and given back
when it was right. So people who know their passwords are never stopped, however many share an
address; and nobody can lock the owner of an account out from elsewhere: where they signed in
before, their address has a count of its own.

    guess = request.guess(account)   # raises TooManyRequests: the password is not even looked at
    ... check it ...
    guess.was_right()                # where it was
"""

from typing import NamedTuple

from tradewind.platform.gateway.limits import Limits, Policy, Verdict, network_of

# One address: a mistyping office, not a list of passwords.
BY_ADDRESS = Policy(quota=30, window_s=3_600, burst=30)
# One account, from wherever nobody signed in to it before.
BY_ACCOUNT = Policy(quota=10, window_s=3_600, burst=10)
# One account, from an address that is known to it.
FAMILIAR = Policy(quota=30, window_s=3_600, burst=30)
# All accounts and all strange addresses together: a list that is spread over a thousand addresses.
# A shop with a million customers sees fifty honest mistakes a minute at its busiest.
ALL_TOGETHER = Policy(quota=600, window_s=600, burst=300)
FAMILIAR_FOR_S = 90 * 86_400.0


class Count(NamedTuple):
    """One of the counts that a guess is in."""

    policy: Policy
    name: str
    who: str
    keyed: bool


class Guess:
    """One try of a password, or of a code; counted when it is made."""

    def __init__(self, limits: Limits | None, account: str, address: str) -> None:
        self._limits = limits
        self._pair = f"{account}\0{network_of(address)}"
        self._counted: list[Count] = []
        self._wanted = [Count(BY_ADDRESS, "guess.address", address, False)]
        if limits is not None and limits.is_marked("guess.familiar", self._pair):
            self._wanted.append(Count(FAMILIAR, "guess.familiar", self._pair, True))
        else:
            self._wanted.append(Count(BY_ACCOUNT, "guess.account", account, True))
            self._wanted.append(Count(ALL_TOGETHER, "guess.all", "", True))

    def take(self) -> Verdict | None:
        """Count it. The verdict where it must not be tried; then it is counted nowhere."""
        if self._limits is None:
            return None
        for count in self._wanted:
            verdict = self._limits.take_of(count.policy, count.name, count.who, keyed=count.keyed)
            if not verdict.allowed:
                self._undo(self._limits)
                return verdict
            self._counted.append(count)
        return None

    def was_right(self) -> None:
        """It does not count, and this address is known to the account from now on."""
        self.was_none()
        if self._limits is not None:
            self._limits.mark("guess.familiar", self._pair, for_s=FAMILIAR_FOR_S)

    def was_none(self) -> None:
        """It does not count: it was not wrong, and proved nothing yet (a code is missing)."""
        if self._limits is not None:
            self._undo(self._limits)

    def _undo(self, limits: Limits) -> None:
        for count in self._counted:
            limits.give_back(count.policy, count.name, count.who, keyed=count.keyed)
        self._counted.clear()
