//! Metrics of the page: the path of each in a sample, and its series in a history. A table of paths
//! takes a tenth of the code of a reader per field, and every viewer downloads it.

macro_rules! metrics {
    ($($metric:ident $series:literal $path:literal,)*) => {
        /// Metric of a sample. Its number is its index in every table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Metric {
            $(
                #[doc = concat!("`", $path, "`")]
                $metric,
            )*
        }

        /// Name of each metric's series in a history (empty if it has none), and its path in a
        /// sample: `a.b` is a field, `a|b` a sum, `a/b` a percentage. A `+` adds up the values of a
        /// list, a `^` takes the largest of them.
        pub(crate) const METRICS: &[(&str, &str)] = &[$(($series, $path),)*];
    };
}

metrics! {
    Cpu "cpu" "cpu",
    Ram "ram" "ram",
    CpuUser "cpu_user" "processors.total.user",
    CpuNice "cpu_nice" "processors.total.nice",
    CpuSystem "cpu_system" "processors.total.system",
    CpuIrq "cpu_irq" "processors.total.irq",
    CpuSteal "cpu_steal" "processors.total.steal",
    CpuIowait "cpu_iowait" "processors.total.iowait",
    MemoryUsed "memory_used_bytes" "memory.used_bytes",
    MemoryCached "memory_cached_bytes" "memory.cached_bytes|memory.buffers_bytes|memory.slab_reclaimable_bytes|memory.zfs_reclaimable_bytes",
    MemoryFree "memory_free_bytes" "memory.free_bytes",
    SwapUsed "swap_used_bytes" "memory.swap_used_bytes",
    Load1 "load_1" "load.0",
    Receive "network_receive_bytes_per_second" "+networks.receive.bytes_per_second",
    Transmit "network_transmit_bytes_per_second" "+networks.transmit.bytes_per_second",
    Read "disk_read_bytes_per_second" "+disks.read_bytes_per_second",
    Write "disk_write_bytes_per_second" "+disks.write_bytes_per_second",
    PressureCpu "pressure_cpu" "pressure.cpu.some.avg10",
    PressureMemory "pressure_memory" "pressure.memory.some.avg10",
    PressureIo "pressure_io" "pressure.io.some.avg10",
    ContainerCpu "container_cpu_cores" "container.cpu_used_cores",
    ContainerMemory "container_memory_bytes" "container.memory_used_bytes",
    Throttled "throttled" "container.throttled",
    Load5 "" "load.1",
    Load15 "" "load.2",
    LoadShare "" "load.0/processors.online",
    Cores "" "processors.online",
    MemoryTotal "" "memory.total_bytes",
    SwapTotal "" "memory.swap_total_bytes",
    Uptime "" "uptime_seconds",
    Faults "" "+networks.receive.errors_per_second|+networks.receive.drops_per_second|+networks.transmit.errors_per_second|+networks.transmit.drops_per_second",
    DiskBusy "" "^disks.utilisation",
    ContainerCpuLimit "" "container.cpu_limit_cores",
    ContainerCpuShare "" "container.cpu_used_cores/container.cpu_limit_cores",
    ContainerMemoryLimit "" "container.memory_limit_bytes",
    ContainerMemoryShare "" "container.memory_used_bytes/container.memory_limit_bytes",
    OomKills "" "container.oom_kills",
    Pids "" "container.pids",
    PidsLimit "" "container.pids_limit",
    TaskCpuLimit "" "task.cpu_limit_cores",
    TaskMemory "" "task.memory_used_bytes",
    TaskMemoryLimit "" "task.memory_limit_bytes",
}

/// Number of metrics that can have a history; they come first.
pub(crate) const CHARTED: usize = Metric::Load5 as usize;
