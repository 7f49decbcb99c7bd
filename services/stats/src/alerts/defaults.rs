//! Default rules, used without `STATS_ALERTS`.

/// Rules in the syntax of the setting. The thresholds of `cpu`, `memory`, `load`, `interface`,
/// `disk` and the pressures are those of the page. Durations keep a short peak from raising an
/// alert.
///
/// A filesystem does not fill up and empty within seconds, so its rules have no duration. A single
/// busy processor is at most a warning. Sources are at most a warning too, because only their
/// values are missing.
pub(super) const DEFAULTS: &str = "
    cpu > 75 for 30s warning; cpu > 90 for 1m critical;
    core > 95 for 2m warning;
    memory > 75 for 30s warning; memory > 90 for 10s critical;
    swap > 50 for 5m warning; swap > 90 for 1m critical;
    load > 100 for 2m warning; load > 200 for 2m critical;
    pressure_cpu > 20 for 1m warning; pressure_cpu > 60 for 2m critical;
    pressure_memory > 10 for 30s warning; pressure_memory > 40 for 30s critical;
    pressure_io > 20 for 1m warning; pressure_io > 60 for 1m critical;
    steal > 10 for 30s warning; steal > 30 for 1m critical;
    filesystem > 90 warning; filesystem > 95 critical;
    inodes > 90 warning; inodes > 95 critical;
    readonly critical;
    disk > 80 for 1m warning; disk > 95 for 5m critical;
    interface > 1 for 10s warning; interface > 100 for 10s critical;
    container_cpu > 75 for 30s warning; container_cpu > 90 for 1m critical;
    container_memory > 75 for 30s warning; container_memory > 90 for 10s critical;
    throttling > 10 for 10s warning; throttling > 50 for 30s critical;
    oom > 0 warning; oom > 2 critical;
    forks > 1000 for 5s warning; forks > 5000 for 5s critical;
    clock > 1 warning;
    source for 5s warning;
";
