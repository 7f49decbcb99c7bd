#![no_main]

#[expect(dead_code, reason = "one parser of many")]
#[path = "../../src/proc/mod.rs"]
mod proc;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = proc::uptime::parse(text);
});
