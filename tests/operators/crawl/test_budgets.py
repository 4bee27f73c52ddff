"""Leases: the sum over all tasks never exceeds a domain's limit, whatever is asked, lost or late."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.operators.crawl._budgets import LEASE_S, TURN_S, Ask, Grant, Limiter, LocalBudgets, domain_of


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def ask(want: int, cap: int, limit: int = 8, **more: float) -> list[Ask]:
    return [Ask(domain="a.org", want=want, cap=cap, limit=limit, **more)]


def test_slots_are_shared_given_back_and_granted_again():
    limiter = Limiter(Clock())
    assert limiter.lease("one", ask(20, 0))["a.org"] == Grant(slots=8)
    assert limiter.lease("two", ask(20, 0))["a.org"].slots == 0
    assert limiter.lease("one", ask(20, 8))["a.org"].slots == 4, "another one waits"
    assert limiter.lease("two", ask(20, 0))["a.org"].slots == 0, "the first has not said yet that it uses fewer"
    assert limiter.lease("one", ask(20, 4))["a.org"].slots == 4
    assert limiter.lease("two", ask(20, 0))["a.org"].slots == 4
    limiter.lease("one", ask(0, 0))
    assert limiter.lease("two", ask(20, 4))["a.org"].slots == 8
    assert limiter.held("a.org") == 8


def test_a_dead_tasks_lease_expires():
    clock = Clock()
    limiter = Limiter(clock)
    limiter.lease("dead", ask(8, 0))
    clock.now = LEASE_S - 0.1
    assert limiter.lease("alive", ask(8, 0))["a.org"].slots == 0
    clock.now = LEASE_S
    assert limiter.lease("alive", ask(8, 0))["a.org"].slots == 8


def test_a_task_that_comes_back_from_the_dead_counts_with_what_it_still_does():
    clock = Clock()
    limiter = Limiter(clock)
    limiter.lease("stopped", ask(8, 0))
    clock.now = LEASE_S
    limiter.lease("other", ask(8, 0))
    assert limiter.lease("stopped", ask(8, 3))["a.org"].slots == 0
    assert limiter.held("a.org") == 8 + 3, "what is told is noted; nothing is added to it"


def test_a_rest_holds_for_all():
    clock = Clock()
    limiter = Limiter(clock)
    limiter.lease("one", ask(8, 0))
    limiter.lease("one", ask(8, 8, back_off_s=30.0))
    clock.now = 10
    assert limiter.lease("two", ask(8, 0))["a.org"].wait_s == 20


def test_a_domain_with_a_delay_belongs_to_one_task_at_a_time():
    clock = Clock()
    limiter = Limiter(clock)
    assert limiter.lease("one", ask(8, 0, delay_s=5))["a.org"].slots == 8
    assert limiter.lease("two", ask(8, 0, delay_s=5))["a.org"].slots == 0
    clock.now = TURN_S - 1
    limiter.lease("one", ask(8, 8, delay_s=5, idle_s=1.0))
    limiter.lease("two", ask(8, 0, delay_s=5))
    clock.now = TURN_S
    assert limiter.lease("one", ask(8, 1, delay_s=5, idle_s=2.0))["a.org"].slots == 0, "its turn is over"
    assert limiter.lease("two", ask(8, 0, delay_s=5))["a.org"].slots == 0, "but a request is under way"
    limiter.lease("one", ask(8, 0, delay_s=5, idle_s=2.0))
    assert limiter.lease("two", ask(8, 0, delay_s=5))["a.org"] == Grant(slots=8, wait_s=3.0)


def test_a_limiter_after_a_restart_waits_until_old_leases_are_over():
    clock = Clock()
    limiter = Limiter(clock, quiet_s=LEASE_S)
    assert limiter.lease("new", ask(8, 0))["a.org"].slots == 0
    limiter.lease("old", ask(8, 5))
    assert limiter.held("a.org") == 5
    clock.now = LEASE_S - 1
    limiter.lease("old", ask(8, 5))
    clock.now = LEASE_S + 1
    assert limiter.lease("new", ask(8, 0))["a.org"].slots == 3


class Task:
    """A client that obeys: it starts only below its slots, and tells a cap that it keeps."""

    def __init__(self, name: str) -> None:
        self.name, self.slots, self.active, self.expires = name, 0, 0, 0.0

    def ask(self, limit: int, delay_s: float) -> list[Ask]:
        return [Ask(domain="a.org", want=50, cap=max(self.active, self.slots), limit=limit, delay_s=delay_s)]


@given(st.integers(1, 9), st.integers(2, 5), st.integers(0, 10**6), st.sampled_from([0.0, 0.0, 1.0]))
def test_never_more_than_the_limit(limit, tasks, seed, delay_s):
    """Answers arrive late and in any order of events; requests start and end whenever they may."""
    clock, draw = Clock(), random.Random(seed)
    limiter, all_tasks = Limiter(clock), [Task(str(i)) for i in range(tasks)]
    late: list[tuple[Task, Grant, float]] = []
    asked: set[Task] = set()
    for _ in range(300):
        clock.now += draw.random()
        task = draw.choice(all_tasks)
        if clock.now >= task.expires:
            task.slots = 0
        what = draw.random()
        if what < 0.3 and task not in asked:
            if task.expires and clock.now >= task.expires and task.active:
                task.active = 0  # its requests were over long before
            granted = limiter.lease(task.name, task.ask(limit, delay_s))["a.org"]
            late.append((task, granted, clock.now))
            asked.add(task)
        elif what < 0.5 and late:
            answered, grant, at = late.pop(draw.randrange(len(late)))
            answered.slots, answered.expires = grant.slots, at + LEASE_S - 1
            asked.discard(answered)
        elif what < 0.8 and task.active < task.slots and clock.now < task.expires:
            task.active += 1
        elif task.active and what >= 0.8:
            task.active -= 1
        for each in all_tasks:  # a request takes less than a lease
            if clock.now >= each.expires:
                each.active = 0
        assert sum(each.active for each in all_tasks) <= limit
        if delay_s:
            assert sum(each.active > 0 for each in all_tasks) <= 1


def test_books_of_domains_that_nobody_asks_are_closed():
    clock = Clock()
    limiter = Limiter(clock)
    limiter.lease("one", [Ask(domain=f"{i}.org", want=1, cap=0, limit=8) for i in range(1000)])
    clock.now = 3 * LEASE_S
    limiter.lease("one", ask(1, 0))
    assert len(limiter._domains) == 1


def test_local_budgets_answer_all_at_once():
    asks = [Ask(domain=f"{i}.org", want=3, cap=0, limit=8) for i in range(1000)]
    found = asyncio.run(LocalBudgets().lease("one", asks))
    assert len(found) == 1000 and {grant.slots for grant in found.values()} == {3}


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("a.b.example.com", "example.com"),
        ("images.example.co.uk", "example.co.uk"),
        ("someone.blogspot.com", "someone.blogspot.com"),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("2606:4700::1111", "2606:4700::1111"),
        ("com", "com"),
        ("xn--bcher-kva.de", "xn--bcher-kva.de"),
    ],
)
def test_registered_domains(host, domain):
    assert domain_of(host) == domain
