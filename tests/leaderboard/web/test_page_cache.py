import asyncio
import threading

import pytest

from leaderboard.store.store_errors import StoreUnavailable
from leaderboard.web.page_cache import FRESH_SECONDS, PATIENCE, Changes, PageCache
from leaderboard.web.pages import Page


class Store:
    """Pages that contain the revision they were rendered at; the clock stands still."""

    def __init__(self):
        self.revision = 1
        self.moving = frozenset()
        self.now = 100.0
        self.rendered = []
        self.asked = 0
        self.go_on = threading.Event()
        self.go_on.set()

    def changes(self):
        self.asked += 1
        return Changes(self.revision, self.moving)

    def render(self, path):
        self.rendered.append(path)
        text = f"{path} {self.revision} " * 100
        assert self.go_on.wait(10)
        return None if path == "missing" else Page(text.encode(), "text/html")

    def clock(self):
        return self.now

    def cache(self, **settings):
        return PageCache(self.render, self.changes, self.clock, **settings)


@pytest.fixture
def store():
    return Store()


def told(page):
    return int(page.content.split()[1])


def test_a_page_is_rendered_once_until_something_changes(store):
    cache = store.cache()

    async def visits():
        first = await cache.get("a")
        store.now += 10 * FRESH_SECONDS
        assert await cache.get("a") is first
        store.revision = 2
        assert await cache.get("a") is first  # the store was checked a moment ago
        store.now += FRESH_SECONDS
        second = await cache.get("a")
        assert (told(first), told(second)) == (1, 2)
        assert first.etag != second.etag
        assert await cache.get("missing") is None

    asyncio.run(visits())
    assert store.rendered == ["a", "a", "missing"]


def test_the_store_is_checked_once_a_second(store):
    cache = store.cache()

    async def visits():
        await asyncio.gather(*(cache.get("a") for _ in range(50)))
        store.now += FRESH_SECONDS
        await asyncio.gather(*(cache.get("a") for _ in range(50)))

    asyncio.run(visits())
    assert store.asked == 2


def test_many_visitors_of_a_new_page_wait_for_one_rendering(store):
    cache = store.cache()
    store.go_on.clear()

    async def visits():
        waiting = [asyncio.create_task(cache.get("a")) for _ in range(50)]
        await asyncio.sleep(2 * PATIENCE)
        assert not any(task.done() for task in waiting)
        store.go_on.set()
        assert len({page.etag for page in await asyncio.gather(*waiting)}) == 1

    asyncio.run(visits())
    assert store.rendered == ["a"]


def test_the_old_page_is_served_while_the_new_one_takes_its_time(store):
    cache = store.cache()

    async def visits():
        await cache.get("a")
        store.revision, store.now = 2, store.now + FRESH_SECONDS
        store.go_on.clear()
        pages = await asyncio.gather(*(cache.get("a") for _ in range(50)))
        assert {told(page) for page in pages} == {1}
        assert store.rendered == ["a", "a"]
        store.go_on.set()
        while told(await cache.get("a")) == 1:
            await asyncio.sleep(0.01)

    asyncio.run(visits())
    assert store.rendered == ["a", "a"]


def test_new_pages_do_not_hold_up_those_that_are_known(store):
    cache = store.cache()

    async def visits():
        await cache.get("a")
        store.go_on.clear()
        new = [asyncio.create_task(cache.get(f"new {number}")) for number in range(20)]
        await asyncio.sleep(0.05)
        store.revision, store.now = 2, store.now + FRESH_SECONDS
        assert told(await cache.get("a")) == 1
        assert "a" in store.rendered[1:]  # being renewed beside the first of the new ones
        store.go_on.set()
        await asyncio.gather(*new)

    asyncio.run(visits())


def test_the_largest_amount_of_bytes_is_kept_the_longest_unused_goes(store):
    size = asyncio.run(store.cache().get("0")).size
    cache = store.cache(largest=3 * size)
    store.rendered.clear()

    async def visits():
        for path in ("0", "1", "2", "0", "3", "0", "2", "1"):
            await cache.get(path)

    asyncio.run(visits())
    assert store.rendered == ["0", "1", "2", "3", "1"]


def test_progress_is_shown_without_a_change(store):
    cache = store.cache()
    store.moving = frozenset({"a"})

    async def visits():
        for _ in range(2):
            for path in ("a", "a", "b"):
                await cache.get(path)
            store.now += FRESH_SECONDS

    asyncio.run(visits())
    assert store.rendered == ["a", "b", "a"]


def test_what_takes_long_is_renewed_less_often(store):
    cache = store.cache()

    def render(path):
        store.now += 2.0
        return Page(str(store.revision).encode(), "text/html")

    store.render = render
    cache = store.cache()

    async def visits():
        await cache.get("a")
        found = {}
        for _ in range(30):
            store.revision += 1
            store.now += FRESH_SECONDS
            found[(await cache.get("a")).revision] = store.now
        assert len(found) == 2  # 22 s apart

    asyncio.run(visits())


def test_a_failure_is_raised_and_not_kept(store):
    good = store.render

    def render(path):
        raise OSError("the disk is gone")

    store.render = render
    cache = store.cache()

    async def visits():
        with pytest.raises(OSError, match="the disk is gone"):
            await cache.get("a")
        cache._render = good
        assert told(await cache.get("a")) == 1

    asyncio.run(visits())


def test_a_page_rendered_while_the_store_changes_is_rendered_again(store):
    cache = store.cache()

    async def visits():
        store.go_on.clear()
        first = asyncio.create_task(cache.get("a"))  # reads revision 1
        await asyncio.sleep(0.05)
        store.revision, store.now = 2, store.now + 0.5
        store.go_on.set()
        assert told(await first) == 1
        store.now += 20.0
        assert told(await cache.get("a")) == 2

    asyncio.run(visits())


def test_pages_are_served_while_the_store_cannot_be_read(store):
    cache = store.cache()
    gone = threading.Event()
    changes, render = store.changes, store.render

    def fail_or(answer):
        if gone.is_set():
            raise StoreUnavailable("the store is gone")
        return answer()

    cache._changes = lambda: fail_or(changes)
    cache._render = lambda path: fail_or(lambda: render(path))

    async def visits():
        first = await cache.get("a")
        store.revision = 2
        gone.set()
        for _ in range(3):
            store.now += 100 * FRESH_SECONDS
            assert await cache.get("a") is first
        with pytest.raises(StoreUnavailable, match="the store is gone"):
            await cache.get("unseen")
        gone.clear()
        store.now += FRESH_SECONDS
        assert told(await cache.get("a")) == 2
        assert told(await cache.get("unseen")) == 2

    asyncio.run(visits())


def test_a_renewal_that_cannot_read_the_store_keeps_the_old_page(store):
    cache = store.cache()
    render = store.render

    def fail(path):
        raise StoreUnavailable("the store is gone")

    async def visits():
        first = await cache.get("a")
        store.revision, cache._render = 2, fail
        store.now += FRESH_SECONDS
        assert await cache.get("a") is first
        cache._render = render
        assert told(await cache.get("a")) == 2

    asyncio.run(visits())
