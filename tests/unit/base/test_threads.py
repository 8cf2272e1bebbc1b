"""How many threads multiply: one inside the context, and what there was before after the last one left it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from threadpoolctl import threadpool_info

from headstart.base.threads import ONE_THREAD_A_PRODUCT, SMALL, threads_for


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_one_thread_inside_and_what_was_before_afterwards() -> None:
    before = blas_threads()
    with ONE_THREAD_A_PRODUCT:
        assert blas_threads() == {1}
        with ONE_THREAD_A_PRODUCT:
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == before


def test_the_last_of_several_threads_puts_back_what_was() -> None:
    before, together = blas_threads(), Barrier(2, timeout=10)

    def inside() -> set[int]:
        with ONE_THREAD_A_PRODUCT:
            together.wait()
            found = blas_threads()
            together.wait()
            return found

    with ThreadPoolExecutor(2) as pool:
        assert [one.result() for one in [pool.submit(inside) for _ in range(2)]] == [{1}, {1}]
    assert blas_threads() == before


def test_large_products_keep_their_threads() -> None:
    before = blas_threads()
    with threads_for(2 * SMALL):
        assert blas_threads() == before
    with threads_for(SMALL / 2):
        assert blas_threads() == {1}
