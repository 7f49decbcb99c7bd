use std::sync::Arc;

use super::super::tests::{
    HIDDEN, check_form, group, lines_of, member, render, sample, task_reading, usage,
};
use crate::collect::cgroup::Container;
use crate::collect::ecs_task::Task;
use crate::metrics::Format;
use crate::reading::Reading;

#[test]
fn the_control_group_has_the_id_of_the_root() {
    let reading = Reading { container: Some(group()), ..Reading::default() };
    let text = render(&reading, &sample(), Format::Text, HIDDEN);
    let found = lines_of(&text, "container_");
    let expected = [
        r#"container_cpu_usage_seconds_total{cpu="total",id="/"} 3.5"#,
        r#"container_cpu_user_seconds_total{id="/"} 2"#,
        r#"container_cpu_system_seconds_total{id="/"} 1.5"#,
        r#"container_cpu_cfs_periods_total{id="/"} 100"#,
        r#"container_cpu_cfs_throttled_periods_total{id="/"} 10"#,
        r#"container_cpu_cfs_throttled_seconds_total{id="/"} 0.123456"#,
        r#"container_spec_cpu_quota{id="/"} 50000"#,
        r#"container_spec_cpu_period{id="/"} 100000"#,
        r#"container_memory_usage_bytes{id="/"} 5000"#,
        r#"container_memory_working_set_bytes{id="/"} 1000"#,
        r#"container_memory_cache{id="/"} 6000"#,
        r#"container_memory_rss{id="/"} 100"#,
        r#"container_memory_swap{id="/"} 0"#,
        r#"container_spec_memory_limit_bytes{id="/"} 1073741824"#,
        r#"container_oom_events_total{id="/"} 1"#,
        r#"container_threads{id="/"} 4"#,
        r#"container_threads_max{id="/"} 64"#,
    ];
    assert_eq!(found, expected);
}

#[test]
fn without_limits_there_are_no_limit_metrics() {
    let group =
        Container { cpu_limit_cores: None, memory_limit_bytes: None, pids_limit: None, ..group() };
    let reading = Reading { container: Some(group), ..Reading::default() };
    let text = render(&reading, &sample(), Format::Text, HIDDEN);
    assert!(!text.contains("container_spec_") && !text.contains("threads_max"), "{text}");
}

#[test]
fn the_containers_of_a_task_replace_the_own_group() {
    let members = vec![member("2", "app"), member("1", "proxy"), member("9", "not started")];
    let reading = Reading {
        container: Some(group()),
        task: Some(task_reading(members, vec![usage("1"), usage("2"), usage("3")])),
        ..Reading::default()
    };
    let text = render(&reading, &sample(), Format::Text, HIDDEN);
    let found = lines_of(&text, "container_");
    let families = [
        ("container_cpu_usage_seconds_total", "1.500000001"),
        ("container_spec_memory_limit_bytes", "4096"),
        ("container_memory_working_set_bytes", "2048"),
        ("container_fs_reads_bytes_total", "5"),
        ("container_fs_writes_bytes_total", "6"),
        ("container_network_receive_bytes_total", "1"),
        ("container_network_receive_packets_total", "2"),
        ("container_network_receive_errors_total", "3"),
        ("container_network_receive_packets_dropped_total", "4"),
        ("container_network_transmit_bytes_total", "1"),
        ("container_network_transmit_packets_total", "2"),
        ("container_network_transmit_errors_total", "3"),
        ("container_network_transmit_packets_dropped_total", "4"),
    ];
    let mut expected = Vec::new();
    for (name, value) in families {
        let cpu = if name.contains("cpu_usage") { "cpu=\"total\"," } else { "" };
        for member in ["app", "proxy"] {
            expected.push(format!("{name}{{{cpu}name=\"{member}\"}} {value}"));
        }
    }
    assert_eq!(found, expected);
}

#[test]
fn a_shared_network_is_one_series() {
    let members = vec![member("1", "app"), member("2", "proxy")];
    let mut task = task_reading(members, vec![usage("1"), usage("2")]);
    task.task = Arc::new(Task { shares_network: true, ..(*task.task).clone() });
    let reading = Reading { task: Some(task), ..Reading::default() };
    let text = render(&reading, &sample(), Format::Text, HIDDEN);
    let received = lines_of(&text, "container_network_receive_bytes_total");
    assert_eq!(received, ["container_network_receive_bytes_total{id=\"/\"} 1"]);
}

#[test]
fn containers_with_the_same_name_are_one_series() {
    let members = vec![member("1", "app"), member("2", "app")];
    let reading = Reading {
        task: Some(task_reading(members, vec![usage("1"), usage("2")])),
        ..Reading::default()
    };
    check_form(&render(&reading, &sample(), Format::Text, HIDDEN), Format::Text);
}
