"""The log, the feed, and those who read them."""

from tradewind.checks.evidence import Evidence, Proof

# A timer that fired is on the log, but it is no fact about a subject: it has no sequence.
GAPS = """
    SELECT source || ' ' || subject AS id, min(sequence) = 1 AND max(sequence) = count(*) AS ok,
           count(*) || ' events, sequences ' || min(sequence) || ' to ' || max(sequence) AS detail
      FROM bus.log WHERE subject NOT LIKE 'timer:%' GROUP BY source, subject
"""


async def sequences_run_from_1_without_gaps(evidence: Evidence) -> Proof:
    """Per source and subject: nothing is missing, nothing stands there twice."""
    return await evidence.prove("subjects", GAPS)


ORDER = """
    SELECT source || ' ' || subject || '.' || sequence AS id,
           coalesce(sequence > lag(sequence) OVER each_subject, true) AS ok,
           'stands behind sequence ' || lag(sequence) OVER each_subject AS detail
      FROM bus.log WHERE subject NOT LIKE 'timer:%'
    WINDOW each_subject AS (PARTITION BY source, subject ORDER BY xid, number)
"""


async def the_log_is_in_the_order_of_the_sequences(evidence: Evidence) -> Proof:
    """Whoever reads the log meets the facts about one subject as they happened."""
    return await evidence.prove("events", ORDER)


# A range must hold as many events as it says, and begin where the one before it ends.
POSITIONS = """
    SELECT r.first::text AS id,
           e.found = r.count AND r.first = 1 + coalesce(sum(r.count) OVER before, 0)
           AND coalesce((r.from_xid, r.from_number) >
                        (lag(r.to_xid) OVER each, lag(r.to_number) OVER each), true) AS ok,
           'a range of ' || r.count || ' positions with ' || e.found || ' events, behind '
           || coalesce(sum(r.count) OVER before, 0) || ' positions' AS detail
      FROM bus.feed_ranges r
     CROSS JOIN LATERAL (
           SELECT count(*) AS found FROM bus.log l
            WHERE (l.xid, l.number) >= (r.from_xid, r.from_number)
              AND (l.xid, l.number) <= (r.to_xid, r.to_number)
              AND l.subject NOT LIKE 'timer:%') e
    WINDOW each AS (ORDER BY r.first),
           before AS (ORDER BY r.first ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
"""


async def the_feed_counts_from_1_without_gaps_or_repeats(evidence: Evidence) -> Proof:
    """Each position holds one event, and no event has two."""
    return await evidence.prove("ranges of positions", POSITIONS)


COMPLETE = """
    SELECT l.source || ' ' || l.subject || '.' || l.sequence AS id, f.position IS NOT NULL AS ok,
           'is not in the feed' AS detail
      FROM bus.log l LEFT JOIN bus.feed f ON f.xid = l.xid AND f.number = l.number
     WHERE l.subject NOT LIKE 'timer:%'
"""


async def the_feed_holds_every_event(evidence: Evidence) -> Proof:
    """What stands in the log stands in the feed."""
    return await evidence.prove("events", COMPLETE)


FEED_ORDER = """
    SELECT l.source || ' ' || l.subject || '.' || l.sequence AS id,
           coalesce(l.sequence > lag(l.sequence) OVER each_subject, true) AS ok,
           'comes after sequence ' || lag(l.sequence) OVER each_subject AS detail
      FROM bus.feed f JOIN bus.log l ON l.xid = f.xid AND l.number = f.number
     WHERE l.subject NOT LIKE 'timer:%'
    WINDOW each_subject AS (PARTITION BY l.source, l.subject ORDER BY f.position)
"""


async def the_feed_is_in_the_order_of_the_sequences(evidence: Evidence) -> Proof:
    """Whoever reads the feed meets the facts about one subject as they happened."""
    return await evidence.prove("events", FEED_ORDER)


# An idle consumer follows the log within a second or two. Partition -1 is the log as a whole.
LAG = """
    SELECT o.consumer || ' ' || o.partition AS id, count(l.xid) = 0 AS ok,
           count(l.xid) || ' events behind' AS detail
      FROM bus.offsets o
      LEFT JOIN bus.log l ON (l.xid, l.number) > (o.xid, o.number)
                         AND (o.partition = -1 OR l.partition = o.partition)
     GROUP BY o.consumer, o.partition
"""


async def consumers_have_read_everything(evidence: Evidence) -> Proof:
    """No consumer has an event before it."""
    return await evidence.prove("partitions of consumers", LAG)


DEAD = """
    SELECT d.consumer || ' ' || d.key AS id, false AS ok,
           d.state || ': ' || left(d.error, 200) AS detail FROM bus.dead_letters d
    UNION ALL
    SELECT o.consumer, true, '' FROM (SELECT DISTINCT consumer FROM bus.offsets) o
     WHERE NOT EXISTS (SELECT 1 FROM bus.dead_letters d WHERE d.consumer = o.consumer)
"""


async def no_event_lies_in_the_dead_letters(evidence: Evidence) -> Proof:
    """Whatever could not be handled was repaired and handled since."""
    return await evidence.prove("consumers", DEAD)
