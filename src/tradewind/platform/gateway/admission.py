"""Who is let in, and how often: what the gateway asks of a request once it knows whose it is.

A caller is counted by the key, by the account whose several tokens it may be one of, or by the
address where there is no credential (the token of an order or a cart costs its holder nothing, so
it is none). With `TRADEWIND_LIMITS=off` nothing is counted, and proxies are believed all the same.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tradewind.kernel.problems import Problem
from tradewind.platform.gateway.endpoint import Header
from tradewind.platform.gateway.guesses import Guess
from tradewind.platform.gateway.limits import PLANS, Limits, Policy, Verdict, network_of
from tradewind.platform.gateway.problems import (
    Forbidden,
    NotFound,
    QuotaExceeded,
    TooManyAtOnce,
    TooManyRequests,
    Unauthenticated,
)
from tradewind.platform.gateway.proxies import Proxies
from tradewind.platform.gateway.quotas import DAY_S, Quotas
from tradewind.platform.security.authentication import Credential
from tradewind.platform.settings import Settings

if TYPE_CHECKING:
    from tradewind.platform.gateway.request import Request

# All tokens of one account together may do as much as two keys.
ACCOUNT_SHARE = 2


class Admission:
    """The limits of one process, as the gateway applies them."""

    def __init__(
        self,
        settings: Settings,
        limits: Limits | None,
        quotas: Quotas | None = None,
        *,
        behind: bool = False,
    ) -> None:
        self.limits = limits
        self._behind = behind  # a gateway is the only client here, and counts its own
        self._quotas = quotas
        self._quota_per_day = settings.quota_per_day
        counts = limits is not None and not behind
        self._at_once_max = settings.requests_per_client_max if counts else 0
        self.proxies = Proxies(settings.trusted_proxies, settings.proxy_header)
        self._at_work: dict[str, int] = {}

    def address_of(self, peer: Any, headers: Mapping[bytes, bytes]) -> str:
        """The network address of the client behind a connection; "" where there is none."""
        if not peer:
            return ""
        return self.proxies.client(peer[0], headers) if self.proxies.trusted else str(peer[0])

    def connection_of(self, peer: Any) -> str:
        """Whose connection this is, for the count of connections; "" of a proxy of ours."""
        if not peer or self._behind or (self.proxies.trusted and self.proxies.trusts(peer[0])):
            return ""
        return network_of(peer[0])

    def refused(self, address: str) -> None:
        """Count a wrong credential. Raises `TooManyRequests` for who keeps guessing."""
        if self.limits is not None:
            verdict = self.limits.take("refused", address, keyed=False)
            if not verdict.allowed:
                raise over(verdict)

    def guess(self, account: str, address: str) -> Guess:
        """Count a try of a password. Raises `TooManyRequests` where it must not be tried."""
        guess = Guess(self.limits, account, address)
        verdict = guess.take()
        if verdict is not None:
            raise TooManyRequests(
                f"Too many wrong tries. Come back in {verdict.reset_s} s.",
                headers={"retry-after": str(verdict.reset_s)},
            )
        return guess

    def count(self, name: str, request: "Request", extra: list[Header]) -> None:
        """Count a request in a class, tell the caller where he stands, stop him where he is over.

        Raises `TooManyRequests`.
        """
        if self.limits is None:
            return
        verdicts = self.verdicts(name, request.credential, request.client)
        extra += limit_headers(verdicts)
        if not verdicts[-1][1].allowed:
            raise over(verdicts[-1][1])

    def verdicts(
        self, name: str, credential: Credential | None, address: str
    ) -> list[tuple[str, Verdict]]:
        """Count a request in a class: what each limit says. The last one decides."""
        limits = self.limits
        assert limits is not None, "nothing is limited"
        if credential is None or not is_name(credential):
            return [(name, limits.take(name, address, keyed=False))]
        verdicts = [(name, take_keyed(limits, name, credential))]
        account = credential.account_id
        if verdicts[0][1].allowed and account is not None and account != credential.id:
            policy = of_account(limits.classes[name].keyed)
            taken = limits.take_of(policy, f"account {name}", account, keyed=True)
            verdicts.append(("account", taken))
            if not taken.allowed:
                limits.give_back(verdicts[0][1].policy, name, credential.id, keyed=True)
        return verdicts

    def has_quota(self, credential: Credential | None) -> bool:
        """Whether requests of this caller are counted by the day."""
        if self._quotas is None or credential is None or not is_name(credential):
            return False
        return self._quota_per_day > 0 or credential.limits in PLANS

    async def count_day(self, credential: Credential, extra: list[Header]) -> None:
        """Count a request in the day's quota. Raises `QuotaExceeded`."""
        assert self._quotas is not None
        plan = PLANS.get(credential.limits)
        quota = self._quota_per_day if plan is None else plan.per_day
        standing = await self._quotas.take(credential.id, quota)
        policy = Policy(quota, DAY_S, quota)
        verdict = Verdict(standing.allowed, standing.remaining, standing.reset_s, policy)
        joined = [header for header in extra if header[0].startswith(b"ratelimit")]
        for header, (name, value) in zip(joined, limit_headers([("day", verdict)]), strict=False):
            extra[extra.index(header)] = (name, header[1] + b", " + value)
        if not joined:
            extra += limit_headers([("day", verdict)])
        if not standing.allowed:
            raise QuotaExceeded(
                f"At most {quota} requests a day. Come back in {standing.reset_s} s, at midnight "
                "UTC.",
                headers={"retry-after": str(standing.reset_s)},
            )

    def begin(self, request: "Request") -> str:
        """A request of a caller is at work from now on, until `end` of what is returned.

        Raises `TooManyAtOnce`.
        """
        if not self._at_once_max:
            return ""
        credential = request.credential
        if credential is not None and is_name(credential):
            caller = credential.account_id or credential.id
        else:
            caller = network_of(request.client)
        count = self._at_work.get(caller, 0)
        if count >= self._at_once_max:
            raise TooManyAtOnce(
                f"At most {self._at_once_max} requests of one caller are at work at once.",
                headers={"retry-after": "1"},
            )
        self._at_work[caller] = count + 1
        return caller

    def end(self, caller: str) -> None:
        """It is done."""
        if caller:
            left = self._at_work[caller] - 1
            if left:
                self._at_work[caller] = left
            else:
                del self._at_work[caller]


def is_name(credential: Credential) -> bool:
    """Whether a credential names a caller; tokens of orders and carts anybody makes for himself."""
    return credential.cart_id is None and credential.order_id is None


def take_keyed(limits: Limits, name: str, credential: Credential) -> Verdict:
    """Count a request of a key, by its plan where it has one."""
    plan = PLANS.get(credential.limits)
    policy = plan.classes.get(name) if plan is not None else None
    if policy is None:
        return limits.take(name, credential.id, keyed=True)
    return limits.take_of(policy, name, credential.id, keyed=True)


def of_account(policy: Policy) -> Policy:
    """What all tokens of one account may do together."""
    return Policy(policy.quota * ACCOUNT_SHARE, policy.window_s, policy.burst * ACCOUNT_SHARE)


def limit_headers(verdicts: Sequence[tuple[str, Verdict]]) -> list[Header]:
    """Where the caller stands with each limit: RateLimit-Policy and RateLimit, lists (RFC 9651)."""
    policies = ", ".join(f'"{name}";{verdict.policy.header}' for name, verdict in verdicts)
    standing = ", ".join(
        f'"{name}";r={verdict.remaining};t={verdict.reset_s}' for name, verdict in verdicts
    )
    return [(b"ratelimit-policy", policies.encode()), (b"ratelimit", standing.encode())]


def notice_of(refusal: Problem, *, shown: bool) -> str:
    """What a security system hears of a refusal; "" where it hears nothing.

    Who shows no credential at all has tried nothing.
    """
    if isinstance(refusal, TooManyRequests | QuotaExceeded):
        return "rate_limited"
    if not shown:
        return ""
    if isinstance(refusal, Unauthenticated):
        return "credential_refused"
    return "permission_refused" if isinstance(refusal, Forbidden | NotFound) else ""


def over(verdict: Verdict) -> TooManyRequests:
    """The refusal of a caller who is over a limit."""
    policy = verdict.policy
    return TooManyRequests(
        f"At most {policy.quota} requests in {policy.window_s} s. "
        f"Come back in {verdict.reset_s} s.",
        headers={"retry-after": str(verdict.reset_s)},
    )
