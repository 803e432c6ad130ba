"""The database of the jobs goes away and comes back."""

import time

from dojang.authority.database import Database
from dojang.authority.jobs.engine import job_engine
from dojang.authority.jobs.outcomes import outcomes
from dojang.authority.jobs.runner import JobRunner
from dojang.authority.jobs.schedule import Schedule
from dojang.testing.postgres import private_postgres


def test_a_restart_of_the_database_ends_no_work():
    """Jobs that were put in before a crash of PostgreSQL are done after it, by the same runner."""
    done = []
    with private_postgres(durable=True) as server:
        database = Database.create(server.new_database())
        engine = job_engine(database)
        engine.enqueue("a", "k", engine.now())
        server.stop(immediate=True)
        schedule = Schedule("test", ())
        handlers = {"a": lambda job, at: done.append(job.key)}
        with JobRunner(engine, database, handlers, schedule, look_seconds=0.1, keep_seconds=0.1) as runner:
            time.sleep(0.3)  # it looks, and finds nobody there
            server.start()
            deadline = time.monotonic() + 60
            while not done:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert runner.drain(10)
            assert [one.failures for one in outcomes(database)] == [0]
        database.close()
    assert done == ["k"]
