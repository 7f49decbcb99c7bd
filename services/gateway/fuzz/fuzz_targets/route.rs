#![no_main]

libfuzzer_sys::fuzz_target!(|path: &str| gateway::fuzzing::route(path));
