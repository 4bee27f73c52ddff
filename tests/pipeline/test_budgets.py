"""Budgets over Ray: two tasks never exceed a domain's limit together, and a dead task's lease ends."""

from __future__ import annotations

import asyncio
import time

import pyarrow as pa
import pytest
import ray
from hostile_web import JPEG, HostileWeb, body

from cupel.operators.base import Batch
from cupel.operators.crawl._budgets import LEASE_S, Ask
from cupel.operators.crawl.images import Images
from cupel.pipeline.budgets import ClusterBudgets, connect


@pytest.fixture
def budgets(ray_session):
    budgets = connect(limiters=2)
    yield budgets
    budgets.stop()


def fetch(urls: list[str], budgets: ClusterBudgets, per_domain: int) -> list[str]:
    operator = Images(allow_hosts=("127.0.0.1",), robots=False, per_domain=per_domain)
    found: list[str] = []
    for _, columns in operator(Batch(pa.table({"image_url": urls}), budgets=budgets)):
        found += columns["image_status"].to_pylist()
    return found


async def slow(writer, request):
    await asyncio.sleep(0.1)
    await body(JPEG)(writer, request)


def test_two_tasks_share_a_domain(budgets):
    task = ray.remote(fetch)
    with HostileWeb({"/a.jpg": slow}) as web:
        urls = [web.url(f"/a.jpg?{i}") for i in range(120)]
        done = ray.get([task.remote(urls[:60], budgets, 4), task.remote(urls[60:], budgets, 4)])
        assert [set(each) for each in done] == [{"ok"}, {"ok"}]
        assert web.most_at_once <= 4
        assert web.requests["/a.jpg"] == 120


def test_many_domains_in_one_go(budgets):
    asks = [Ask(domain=f"{i}.org", want=2, cap=0, limit=2) for i in range(1000)]

    async def twice() -> tuple[int, int]:
        one = await budgets.lease("one", asks)
        other = await budgets.lease("other", asks)
        return sum(each.slots for each in one.values()), sum(each.slots for each in other.values())

    assert asyncio.run(twice()) == (2000, 0)


def test_a_dead_tasks_lease_expires(budgets):
    asks = [Ask(domain="a.org", want=2, cap=0, limit=2)]

    @ray.remote(max_retries=0)
    def dies() -> None:
        import os

        asyncio.run(budgets.lease("dead", asks))
        os._exit(1)

    async def slots() -> int:
        return (await budgets.lease("alive", asks))["a.org"].slots

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(dies.remote())
    assert asyncio.run(slots()) == 0
    end = time.monotonic() + 3 * LEASE_S
    while asyncio.run(slots()) == 0:
        assert time.monotonic() < end
        time.sleep(0.5)
