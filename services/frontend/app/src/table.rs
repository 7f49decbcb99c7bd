//! The table of the fleet: a program of its own, so that the page of one service does not load it.
//! What it shares with the page is compiled into both.

#[allow(dead_code, reason = "the page uses the rest")]
mod alerts;
#[allow(dead_code, reason = "the page uses the rest")]
mod axis;
mod backoff;
#[allow(dead_code, reason = "the page uses the rest")]
mod browser;
#[allow(dead_code, reason = "the page uses the rest")]
mod decode;
#[allow(dead_code, reason = "the page uses the rest")]
mod event_source;
#[allow(dead_code, reason = "the page uses the rest")]
mod fetch;
mod fields;
mod fleet;
#[allow(dead_code, reason = "the page uses the rest")]
mod labels;
#[allow(dead_code, reason = "the page uses the rest")]
mod levels;
#[allow(dead_code, reason = "the page uses the rest")]
mod metrics;
#[allow(dead_code, reason = "the page uses the rest")]
mod number;
#[allow(dead_code, reason = "the page uses the rest")]
mod panels;
#[allow(dead_code, reason = "the page uses the rest")]
mod preferences;
#[allow(dead_code, reason = "the page uses the rest")]
mod state;
#[allow(dead_code, reason = "the page uses the rest")]
mod timeline;
mod unit;

/// As in the page.
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();

fn main() {
    if let Some(window) = web_sys::window() {
        fleet::FleetController::start(window);
    }
}
