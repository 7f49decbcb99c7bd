#![no_main]

#[expect(dead_code, reason = "one parser of many")]
#[path = "../../src/proc/mod.rs"]
mod proc;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(mounts) = proc::mounts::parse(text) {
        assert!(proc::mounts::with_storage(&mounts).len() <= 64);
    }
});
