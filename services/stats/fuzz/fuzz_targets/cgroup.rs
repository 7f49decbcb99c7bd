#![no_main]

#[expect(dead_code, reason = "one parser of many")]
#[path = "../../src/proc/mod.rs"]
mod proc;

use proc::cgroup;

// The first part is of /proc/self/cgroup, the one behind an empty line of mountinfo; all of it is
// also what a file of a group may say.
libfuzzer_sys::fuzz_target!(|text: &str| {
    let (membership, mounts) = text.split_once("\n\n").unwrap_or((text, ""));
    if let Ok(mounts) = proc::mounts::parse(mounts) {
        let _ = cgroup::places(membership, &mounts);
    }
    let _ = cgroup::number(text);
    let _ = cgroup::limit(text);
    let _ = cgroup::cpu_max(text);
    let _ = cgroup::cpu_stat(text);
    let _ = cgroup::cpuacct_stat(text);
    let _ = cgroup::memory_stat(text);
    let _ = cgroup::oom_kills(text);
    let _ = cgroup::processors(text);
});
