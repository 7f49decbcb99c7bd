//! Return of free memory to the kernel.
//!
//! mimalloc does it in the course of later allocations only. A thread keeps an empty page of each
//! size for about 16,000 of them, and a page that a thread has given back stays resident until another
//! one follows, at least a second later. A gateway that is idle after a peak would keep all of it. Its
//! `mi_collect` would do the same at once, but it can only be called with `unsafe`.

use std::hint::black_box;
use std::time::Duration;

use rustix::thread::disable_transparent_huge_pages;
use tokio::runtime::Handle;
use tokio::time::sleep;

/// Interval of the returns, longer than the second of mimalloc.
const INTERVAL: Duration = Duration::from_millis(1500);

/// Wakes of an idle thread in this interval, all by timers.
const IDLE_WAKES: u64 = 4;

/// Number of allocations after which mimalloc has given back all empty pages of the thread, which
/// takes 0.4 ms, and their size: it does not count much smaller ones.
const ALLOCATIONS: usize = 17_000;
const COUNTED_BYTES: usize = 2048;

/// Size of an allocation that has pages of its own, so that its end returns them, and those of all
/// threads that are due.
const LARGE_BYTES: usize = 1 << 20;

/// Prevents that the kernel unites pages in use and free ones to huge pages, which stay in memory. With
/// the settings of most distributions it does so within ten seconds, as mimalloc asks it to.
pub(super) fn prevent_huge_pages() {
    // An error means that the kernel has none.
    let _ = disable_transparent_huge_pages(true);
}

/// Returns free memory to the kernel while this thread is used, and for the last time after that.
/// Runs until the process ends.
pub(super) async fn return_free_memory() {
    let metrics = Handle::current().metrics();
    let (mut wakes, mut was_active) = (0, false);
    loop {
        sleep(INTERVAL).await;
        let before = std::mem::replace(&mut wakes, metrics.worker_park_count(0));
        let is_active = wakes > before + IDLE_WAKES;
        if was_active && !is_active {
            // Requests would do this as well.
            for _ in 0..ALLOCATIONS {
                allocate(COUNTED_BYTES);
            }
            sleep(INTERVAL).await;
        }
        if was_active || is_active {
            allocate(LARGE_BYTES);
        }
        was_active = is_active;
    }
}

fn allocate(bytes: usize) {
    drop(black_box(Vec::<u8>::with_capacity(bytes)));
}
