//! Reads the kernel clock.

use std::collections::BTreeMap;

use rtime_clock::adjtime::{Timex, adjtimex};

use crate::collect::on_scrape::CLOCK;

/// Fields of `adjtimex(2)` by name; empty if the call is not permitted.
pub(super) fn texts() -> BTreeMap<String, String> {
    // Without modes, the call changes nothing.
    let mut timex = Timex::new();
    let Ok(state) = adjtimex(&mut timex) else { return BTreeMap::new() };
    let clock = &timex.0;
    let fields = [
        ("state", i64::from(state)),
        ("offset", clock.offset),
        ("freq", clock.freq),
        ("maxerror", clock.maxerror),
        ("esterror", clock.esterror),
        ("status", i64::from(clock.status)),
        ("constant", clock.constant),
        ("tick", clock.tick),
        ("ppsfreq", clock.ppsfreq),
        ("jitter", clock.jitter),
        ("shift", i64::from(clock.shift)),
        ("stabil", clock.stabil),
        ("jitcnt", clock.jitcnt),
        ("calcnt", clock.calcnt),
        ("errcnt", clock.errcnt),
        ("stbcnt", clock.stbcnt),
        ("tai", i64::from(clock.tai)),
    ];
    let text = fields.map(|(name, number)| format!("{name} {number}\n")).concat();
    BTreeMap::from([(CLOCK.to_owned(), text)])
}
