//! Table of the fleet, a separate WebAssembly module: viewers of a single service do not load it.
//! Modules that it shares with the page are compiled into both.

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

/// The same allocator as in the page.
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();

fn main() {
    if let Some(window) = web_sys::window() {
        fleet::FleetController::start(window);
    }
}
