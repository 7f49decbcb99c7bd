#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| stats::fuzzing::alerts(input));
