/* A team of threads that runs one function together and meets at barriers.
 *
 * In: a function and its argument. Out: nothing; it returns when every thread has returned.
 * It does not know what is computed. Within a run the threads spin, because its phases last microseconds; after it they
 * spin a little more, because the next step of a reply comes soon and waking a thread takes long; then they sleep. Callers from several threads wait for each other.
 */
#ifndef LLMAGENTOS_POOL_H
#define LLMAGENTOS_POOL_H

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

#define MOST_THREADS 256
#define SPINS 40000 /* about two milliseconds */

typedef void (*Work)(int thread, void *argument);

static struct {
    int threads; /* the caller is one of them */
    Work work;
    void *argument;
    atomic_int arrived, sense, busy;
    atomic_long next; /* the next piece of what the threads share out among themselves */
    pthread_mutex_t caller, lock;
    pthread_cond_t wake;
    atomic_long round;
} pool = {1, .caller = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static void wait_until(atomic_int *what, int value) {
    for (int spins = 0; atomic_load_explicit(what, memory_order_acquire) != value; spins++) {
        _mm_pause();
        if (spins > 4000) sched_yield(); /* somebody else has our core: let them end */
    }
}

/* Wait for every thread; the last one that arrives sets the counter of shared pieces back. */
static void barrier(void) {
    if (pool.threads == 1) {
        atomic_store(&pool.next, 0);
        return;
    }
    int sense = atomic_load_explicit(&pool.sense, memory_order_relaxed);
    if (atomic_fetch_add(&pool.arrived, 1) == pool.threads - 1) {
        atomic_store(&pool.arrived, 0);
        atomic_store(&pool.next, 0);
        atomic_store_explicit(&pool.sense, !sense, memory_order_release);
    } else {
        wait_until(&pool.sense, !sense);
    }
}

/* The number of a piece that no other thread has taken since the last barrier. */
static inline long take_piece(void) { return atomic_fetch_add_explicit(&pool.next, 1, memory_order_relaxed); }

static void *serve(void *number) {
    int thread = (int)(intptr_t)number;
    for (long round = 1;; round++) {
        for (int spins = 0; spins < SPINS && atomic_load_explicit(&pool.round, memory_order_acquire) < round; spins++) {
            _mm_pause();
            if (spins % 64 == 63) sched_yield(); /* whoever wants this core shall have it */
        }
        if (atomic_load_explicit(&pool.round, memory_order_acquire) < round) {
            pthread_mutex_lock(&pool.lock);
            while (atomic_load(&pool.round) < round) pthread_cond_wait(&pool.wake, &pool.lock);
            pthread_mutex_unlock(&pool.lock);
        }
        pool.work(thread, pool.argument);
        atomic_fetch_sub(&pool.busy, 1);
    }
    return NULL;
}

static void run_together(Work work, void *argument) {
    pthread_mutex_lock(&pool.caller);
    atomic_store(&pool.next, 0);
    if (pool.threads > 1) {
        atomic_store(&pool.busy, pool.threads - 1);
        pthread_mutex_lock(&pool.lock);
        pool.work = work;
        pool.argument = argument;
        atomic_fetch_add(&pool.round, 1);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.lock);
    }
    work(0, argument);
    if (pool.threads > 1) wait_until(&pool.busy, 0);
    pthread_mutex_unlock(&pool.caller);
}

/* A forked child has none of its parent's threads: it computes alone. */
static void alone(void) {
    pool.threads = 1;
    pthread_mutex_init(&pool.caller, NULL);
}

static void start_pool(int threads) {
    if (pool.threads > 1 || threads < 2) return;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    pthread_atfork(NULL, NULL, alone);
    int started = 1;
    for (; started < threads; started++) {
        pthread_t handle;
        if (pthread_create(&handle, NULL, serve, (void *)(intptr_t)started) != 0) break;
        pthread_detach(handle);
    }
    pool.threads = started;
}

#endif
