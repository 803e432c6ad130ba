"""Work that nobody waits for: when it is due, that it is done once, and again when it failed.

    engine = job_engine(database)
    with JobRunner(engine, database, handlers, SCHEDULE) as runner:      # in ``dojang serve``
        …
        runner.drain(seconds=30)

``engine`` says what an engine promises; ``embedded`` keeps jobs in an authority's SQLite file, ``postgres`` has
procrastinate keep them. ``schedule`` says what is due when, ``kinds`` what is done then.
"""
