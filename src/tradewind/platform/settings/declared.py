"""The settings of every process: name, unit, default, range, meaning. Those of installations of
several services stand in `services`.
"""

from pathlib import Path
from typing import Annotated

from msgspec import Struct

from tradewind.platform.settings.about import About


class ProcessSettings(Struct, frozen=True, kw_only=True):
    """What every process is told."""

    # Where it runs
    home: Annotated[
        Path, About(text="The folder that holds the database, the admin key and the logs.")
    ] = Path(".tradewind")
    host: Annotated[str, About(text="The address the HTTP server listens on.")] = "127.0.0.1"
    port: Annotated[
        int, About(text="The port of the HTTP server; 0 takes a free one.", low=0, high=65_535)
    ] = 8080
    workers: Annotated[
        int, About(text="Web processes; one per core is the most that helps.", low=1, high=64)
    ] = 1
    sample: Annotated[
        bool, About(text="Load the sample shop when the platform starts for the first time.")
    ] = True
    database_url: Annotated[
        str | None,
        About(
            text="A PostgreSQL server (15 or newer) to use in place of the embedded one.",
            schemes=("postgresql", "postgres"),
        ),
    ] = None
    secret_key: Annotated[
        str | None,
        About(
            text="Master keys of the server, base64, newest first; empty: the file server.key.",
            secret=True,
        ),
    ] = None
    transit_url: Annotated[
        str | None,
        About(
            text="A HashiCorp Vault or OpenBao whose transit engine has the vault's master key; "
            "empty: server.key has it.",
            schemes=("http", "https"),
        ),
    ] = None
    transit_token: Annotated[
        str | None,
        About(text="The token for that server.", secret=True),
    ] = None
    transit_mount: Annotated[
        str,
        About(
            text="Where its transit engine is mounted.",
            pattern=r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*",
            like="transit",
        ),
    ] = "transit"
    transit_key: Annotated[
        str,
        About(text="The name of the key there.", pattern=r"[A-Za-z0-9_-]+", like="tradewind"),
    ] = "tradewind"
    transit_namespace: Annotated[
        str | None, About(text="The namespace there, where the server has several.")
    ] = None
    papers_retained_years: Annotated[
        int,
        About(
            text="How long the law wants tax papers whole: their names and addresses outlive an "
            "erasure until the end of that year, for the papers only; 0: they do not.",
            unit="years",
            low=0,
            high=100,
        ),
    ] = 10
    data_folder: Annotated[
        Path,
        About(
            text="Where tests and benchmarks look for the large data sets; may be missing.",
            variable="TRADEWIND_DATA",
        ),
    ] = Path("../shared/data")
    connections_max: Annotated[
        int,
        About(
            text="Database connections of one web process; more than 16 in all lose throughput.",
            low=4,
            high=64,
        ),
    ] = 12
    disk_reserve_mb: Annotated[
        int,
        About(
            text="With less room on the disk of the embedded database nothing is written.",
            unit="MiB",
            low=0,
            high=1_000_000,
        ),
    ] = 128
    memory_mb: Annotated[
        int,
        About(
            text="What one web process may remember of answers; 0: every read asks the database.",
            unit="MiB",
            low=0,
            high=1_000_000,
        ),
    ] = 64
    search_mb: Annotated[
        int,
        About(
            text="What the search index of one web process may take; a larger shop, and any with 0 "
            "here or above, is searched in its rows.",
            unit="MiB",
            low=0,
            high=1_000_000,
        ),
    ] = 256
    archive_days: Annotated[
        int, About(text="Older events move to files; 0: none do.", unit="days", low=0, high=36_500)
    ] = 30
    gc_freeze: Annotated[
        bool,
        About(text="Move everything loaded at the start out of the garbage collector's sight."),
    ] = True

    # Logs and traces
    log_level: Annotated[
        str,
        About(
            text="The least important log line that is written.",
            choices=("debug", "info", "warning", "error"),
        ),
    ] = "info"
    log_format: Annotated[
        str,
        About(
            text="How log lines look; auto is console on a terminal and json elsewhere.",
            choices=("auto", "json", "console"),
        ),
    ] = "auto"
    trace_sample: Annotated[
        float, About(text="The share of requests that are traced.", low=0, high=1)
    ] = 0.01

    # The edge
    limits: Annotated[
        bool, About(text="Limit the rate of requests per caller; off for load tests.")
    ] = True
    quota_per_day: Annotated[
        int,
        About(
            text="Requests a key without a plan may make between two midnights, UTC; 0: as many as "
            "its rate lets.",
            low=0,
            high=1_000_000_000_000,
        ),
    ] = 0
    requests_per_client_max: Annotated[
        int,
        About(
            text="Requests of one caller at work at once in one web process; others get 429.",
            low=1,
            high=1_000_000,
        ),
    ] = 512
    connections_per_client_max: Annotated[
        int,
        About(
            text="Connections of one address to one web process, trusted proxies apart.",
            low=1,
            high=1_000_000,
        ),
    ] = 1_024
    trusted_proxies: Annotated[
        tuple[str, ...],
        About(
            text="Networks of proxies, by commas: they tell the client's address and certificate.",
            networks=True,
        ),
    ] = ()
    proxy_header: Annotated[
        str,
        About(
            text="The header in which those proxies say it; the other one is not looked at.",
            choices=("x-forwarded-for", "forwarded"),
        ),
    ] = "x-forwarded-for"
    cors_origins: Annotated[
        tuple[str, ...],
        About(text="Web origins that may call the API from a browser, separated by commas."),
    ] = ()
    header_bytes_max: Annotated[
        int,
        About(text="The largest request head accepted.", unit="bytes", low=1_024, high=1_048_576),
    ] = 16_384
    head_timeout_s: Annotated[
        float,
        About(text="How long a client may take to send a head.", unit="s", low=0.1, high=3_600),
    ] = 10
    idle_timeout_s: Annotated[
        float,
        About(
            text="How long a connection may be idle; longer than at the load balancer before it.",
            unit="s",
            low=1,
            high=3_600,
        ),
    ] = 75
    answer_timeout_s: Annotated[
        float,
        About(
            text="How long a client may take nothing of an answer that is there.",
            unit="s",
            low=0.1,
            high=3_600,
        ),
    ] = 30
    body_timeout_s: Annotated[
        float,
        About(text="How long a client may take to send a body.", unit="s", low=0.1, high=3_600),
    ] = 15
    wait_default_s: Annotated[
        float,
        About(
            text="How long an order request waits for its decision without a Prefer header.",
            unit="s",
            low=0,
            high=300,
        ),
    ] = 10
    wait_max_s: Annotated[
        float,
        About(
            text="The longest wait a Prefer header may ask for, and keeps a connection open.",
            unit="s",
            low=0,
            high=300,
        ),
    ] = 30
    waiting_max: Annotated[
        int,
        About(
            text="Requests waiting for a decision in one process; more are answered 202 at once.",
            low=0,
            high=1_000_000,
        ),
    ] = 1_000
    batch_queue_max: Annotated[
        int,
        About(
            text="Commands queued for one kind of work; more are answered 503 busy.",
            low=1,
            high=1_000_000,
        ),
    ] = 1_024
    drain_timeout_s: Annotated[
        float,
        About(
            text="How long a stopping web process finishes what it began.", unit="s", low=0, high=60
        ),
    ] = 6

    # Who signs in, and which programs may call
    client_certificate_header: Annotated[
        str,
        About(
            text="The header in which a trusted proxy hands over the client's TLS certificate; "
            "empty: none does.",
            pattern="[A-Za-z0-9-]{1,64}",
            like="Client-Cert",
        ),
    ] = ""
    access_token_s: Annotated[
        int,
        About(text="How long an access token lives.", unit="s", low=60, high=600),
    ] = 300
    refresh_token_days: Annotated[
        int,
        About(
            text="How long a program may go on for a person without asking again.",
            unit="days",
            low=1,
            high=365,
        ),
    ] = 30
    signing_key_days: Annotated[
        int,
        About(text="How long a key signs tokens.", unit="days", low=1, high=365),
    ] = 30
    oidc_issuer: Annotated[
        str | None,
        About(
            text="An OpenID Connect issuer whose access tokens are taken, in place of our own.",
            schemes=("https", "http"),
        ),
    ] = None
    oidc_audience: Annotated[
        str | None,
        About(text="Whom the tokens of that issuer must be for; empty: the public URL with /v1."),
    ] = None
    oidc_roles_claim: Annotated[
        str,
        About(
            text="The claim of that issuer's tokens that lists roles; dots lead into objects.",
            pattern="[A-Za-z0-9_.:/-]{1,200}",
            like="realm_access.roles",
        ),
    ] = "roles"
    oidc_roles: Annotated[
        str,
        About(
            text="The scopes that each of those roles has; roles are separated by semicolons.",
            pattern=r"([A-Za-z0-9_.:/-]+=[a-z:, ]*;? *)*",
            like="clerk=orders:read,orders:write; buyer=catalog:write",
        ),
    ] = ""

    # The bus
    lease_s: Annotated[
        float,
        About(text="How long a process keeps unrenewed partitions.", unit="s", low=1, high=300),
    ] = 5
    poll_floor_ms: Annotated[
        float,
        About(
            text="How often the log is looked at when no doorbell rings.",
            unit="ms",
            low=1,
            high=10_000,
        ),
    ] = 50

    # An order in time
    authorise_attempt_timeout_s: Annotated[
        float,
        About(text="How long one authorisation may take.", unit="s", low=0.05, high=120),
    ] = 3
    authorise_attempts_max: Annotated[
        int, About(text="How often an authorisation is tried.", low=1, high=20)
    ] = 3
    authorise_total_timeout_s: Annotated[
        float,
        About(
            text="How long all attempts together may take; then the order is refused.",
            unit="s",
            low=0.05,
            high=600,
        ),
    ] = 8
    decide_within_s: Annotated[
        float,
        About(
            text="An order that is not decided by then is rejected.", unit="s", low=1, high=604_800
        ),
    ] = 900
    review_within_s: Annotated[
        float,
        About(
            text="A held order that nobody reviewed by then is rejected.",
            unit="s",
            low=1,
            high=31_536_000,
        ),
    ] = 172_800
    low_stock_quantity: Annotated[
        int,
        About(
            text="A product with at most this many available is shown as low.",
            unit="units",
            low=0,
            high=1_000_000_000,
        ),
    ] = 5
    cart_abandoned_hours: Annotated[
        int,
        About(
            text="A cart that nobody touched for so long is announced as abandoned.",
            unit="hours",
            low=1,
            high=8_760,
        ),
    ] = 24
    cart_expires_days: Annotated[
        int,
        About(text="A cart that nobody touched for so long ends.", unit="days", low=1, high=3_650),
    ] = 30
    cart_hold_minutes: Annotated[
        int,
        About(
            text="How long what is in a cart is kept for it after each change; 0: not at all.",
            unit="minutes",
            low=0,
            high=1_440,
        ),
    ] = 0
    faults: Annotated[
        str | None,
        About(text="A folder of traps that kill web processes; only for a check."),
    ] = None

    # Documents
    tax_rates: Annotated[
        str,
        About(
            text="The tax that prices contain, by country of delivery; * is every other one.",
            unit="%",
            pattern=r"(([A-Z]{2}|\*)=[0-9]{1,2}(\.[0-9]{1,2})?[ ,]*)*",
            like="GB=20 DE=19 FR=5.5 *=0",
        ),
    ] = ""
    invoice_series: Annotated[
        str,
        About(text="What the numbers of invoices begin with.", pattern="[A-Z]{1,8}", like="INV"),
    ] = "INV"
    credit_note_series: Annotated[
        str,
        About(text="What the numbers of credit notes begin with.", pattern="[A-Z]{1,8}", like="CN"),
    ] = "CN"
    seller: Annotated[
        str,
        About(text="Who sells, as documents show it: name, address, tax number; | ends a line."),
    ] = "Tradewind"

    # The outside world
    simulator_url: Annotated[
        str | None,
        About(
            text="Where the payment simulator answers; empty: make up starts one and fills it in.",
            schemes=("http", "https"),
        ),
    ] = None
    simulator_port: Annotated[
        int,
        About(
            text="The port of the payment simulator that make up starts; 0 takes a free one.",
            low=0,
            high=65_535,
        ),
    ] = 0
    outbound_networks: Annotated[
        tuple[str, ...],
        About(
            text="Networks that are not public and may be called all the same, where somebody "
            "gives the platform a URL.",
            networks=True,
        ),
    ] = ()
    smtp_url: Annotated[
        str | None,
        About(
            text="A mail server; empty: messages go to the embedded mailbox.",
            schemes=("smtp", "smtps"),
        ),
    ] = None
    mail_from: Annotated[str, About(text="The sender of the mails to customers.")] = (
        "Tradewind <orders@tradewind.example>"
    )
    public_url: Annotated[
        str | None,
        About(
            text="Where customers reach the platform, for links in mails; empty: host and port.",
            schemes=("http", "https"),
        ),
    ] = None

    account_url: Annotated[
        str | None,
        About(
            text="Where the shop's pages for accounts are, for links in mails; empty: /account "
            "under the public URL.",
            schemes=("http", "https"),
        ),
    ] = None
    security_export: Annotated[
        str | None,
        About(
            text="Where security events go, as lines of ECS JSON; a relative file is in the home.",
            schemes=("file", "syslog+udp", "syslog+tcp", "http", "https"),
        ),
    ] = None

    @property
    def account_pages(self) -> str:
        """The address that links to pages for accounts begin with, without a slash at its end."""
        return (self.account_url or f"{self.shop_url}/account").rstrip("/")

    @property
    def shop_url(self) -> str:
        """The address that links to the platform begin with, without a slash at its end."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")
