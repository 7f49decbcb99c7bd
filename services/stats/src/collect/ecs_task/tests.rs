use proptest::prelude::*;

use super::*;

const TASK: &[u8] = include_bytes!("../../../fixtures/fargate/task.json");
const STATS: &[u8] = include_bytes!("../../../fixtures/fargate/task-stats.json");
const STATS_VERSION_TWO: &[u8] =
    include_bytes!("../../../fixtures/fargate/task-stats-cgroup-v2.json");

#[test]
fn a_fargate_task_has_limits_in_processors_and_mebibytes() {
    let task = parse(TASK).unwrap();
    assert_eq!(task.id, "e9028f8d5d8e4f258373e7b93ce9a3c3");
    assert_eq!((task.family.as_str(), task.revision.as_str()), ("stats", "3"));
    assert_eq!(task.cpu_limit_cores, Some(0.25));
    assert_eq!(task.memory_limit_bytes, Some(512 << 20));
    let names: Vec<&str> =
        task.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["frontend", "gateway", "stats"]);
}

#[test]
fn the_ephemeral_storage_is_in_mebibytes_and_optional() {
    let task = |metrics: &str| {
        let text = format!(r#"{{"TaskARN":"a/b"{metrics}}}"#);
        let task = parse(text.as_bytes()).unwrap();
        (task.storage_used_bytes, task.storage_bytes)
    };
    let full = r#","EphemeralStorageMetrics":{"Utilized":261,"Reserved":20496}"#;
    assert_eq!(task(full), (Some(261 << 20), Some(20_496 << 20)));
    assert_eq!(task(""), (None, None));
    let odd = r#","EphemeralStorageMetrics":{"Utilized":"x","Reserved":0}"#;
    assert_eq!(task(odd), (None, None));
    assert_eq!(task(r#","EphemeralStorageMetrics":null"#), (None, None));
}

#[test]
fn a_container_has_cpu_units_and_an_optional_limit() {
    let task = parse(TASK).unwrap();
    let [frontend, gateway, stats] = task.containers.as_slice() else { panic!("three") };
    assert_eq!(frontend.cpu_limit_cores, Some(128.0 / 1024.0));
    assert_eq!(frontend.memory_limit_bytes, Some(128 << 20));
    assert_eq!((gateway.status.as_str(), stats.status.as_str()), ("RUNNING", "PENDING"));
    assert_eq!(gateway.memory_limit_bytes, None);
    assert_eq!(stats.id, "e9028f8d5d8e4f258373e7b93ce9a3c3-2531612879");
}

#[test]
fn the_minimum_of_cpu_units_is_not_a_limit() {
    let limit = |units| {
        let json = format!(
            r#"{{"TaskARN":"a/b","Containers":[{{"Name":"a","Limits":{{"CPU":{units}}}}}]}}"#
        );
        parse(json.as_bytes()).unwrap().containers[0].cpu_limit_cores
    };
    assert_eq!((limit(0), limit(2), limit(256)), (None, None, Some(0.25)));
}

#[test]
fn in_awsvpc_mode_the_containers_share_the_network_of_the_task() {
    assert!(parse(TASK).unwrap().shares_network);
    let bridge = String::from_utf8_lossy(TASK).replace("awsvpc", "bridge");
    assert!(!parse(bridge.as_bytes()).unwrap().shares_network);
}

#[test]
fn a_container_without_metrics_is_left_out() {
    let usage = parse_stats(STATS).unwrap();
    let ids: Vec<&str> = usage.iter().map(|usage| usage.id.as_str()).collect();
    let task = "e9028f8d5d8e4f258373e7b93ce9a3c3";
    assert_eq!(ids, [format!("{task}-0179205828"), format!("{task}-2495160603")]);
}

#[test]
fn version_one_counters_include_the_whole_container() {
    let usage = parse_stats(STATS).unwrap();
    let expected = Usage {
        id: "e9028f8d5d8e4f258373e7b93ce9a3c3-2495160603".to_owned(),
        read_unix_ms: 1_602_192_284_938,
        cpu_ns: Some(1_137_691_504),
        memory_used_bytes: Some(1_236_992 - 120_480),
        working_set_bytes: Some(1_236_992 - 100_000),
        receive: Some(Counters { bytes: 84, packets: 2, errors: 0, drops: 1 }),
        transmit: Some(Counters { bytes: 96, packets: 3, errors: 1, drops: 0 }),
        read_bytes: Some(4096),
        write_bytes: Some(1024),
    };
    assert_eq!(usage[1], expected);
}

#[test]
fn version_two_operations_are_lower_case() {
    let usage = parse_stats(STATS_VERSION_TWO).unwrap();
    assert_eq!(usage.len(), 1);
    assert_eq!(usage[0].memory_used_bytes, Some(8_650_752 - 2_330_624));
    assert_eq!((usage[0].read_bytes, usage[0].write_bytes), (Some(2_338_816), Some(8192)));
    assert_eq!(usage[0].receive, None);
}

#[test]
fn invalid_fields_are_absent_and_the_rest_stays_valid() {
    let json = br#"{"TaskARN":"arn:x/y","Family":null,"Revision":7,"Limits":{"CPU":"1",
            "Memory":-5},"Containers":[null,7,{"DockerId":null,"Name":"a","Limits":null}]}"#;
    let task = parse(json).unwrap();
    let container = Container { name: "a".to_owned(), ..Container::default() };
    let (id, revision) = ("y".to_owned(), "7".to_owned());
    let expected = Task { id, revision, containers: vec![container], ..Task::default() };
    assert_eq!(task, expected);

    let json = br#"{"b":{"read":"2020-10-08T21:24:44Z","cpu_stats":[],"memory_stats":
            {"usage":5,"stats":{"inactive_file":9}},"networks":{"eth0":null},"blkio_stats":
            {"io_service_bytes_recursive":[]}},"a":{"read":"0001-01-01T00:00:00Z"},"c":{},"d":[]}"#;
    let usage = parse_stats(json).unwrap();
    let expected = Usage {
        id: "b".to_owned(),
        read_unix_ms: 1_602_192_284_000,
        read_bytes: Some(0),
        write_bytes: Some(0),
        ..Usage::default()
    };
    assert_eq!(usage, [expected]);
}

#[test]
fn anonymous_memory_remains_if_the_cache_exceeds_the_use() {
    for (stats, used) in [
        (r#"{"total_inactive_file":9,"inactive_file":1,"total_rss":4,"rss":2}"#, Some(4)),
        (r#"{"inactive_file":9,"anon":3}"#, Some(3)),
        (r#"{"inactive_file":4,"anon":3}"#, Some(1)),
        (r#"{"inactive_file":1,"active_file":2,"slab_reclaimable":1,"anon":3}"#, Some(1)),
        (r#"{"inactive_file":9}"#, None),
    ] {
        let json = format!(
            r#"{{"a":{{"read":"2020-10-08T21:24:44Z","memory_stats":{{"usage":5,"stats":{stats}}}}}}}"#
        );
        assert_eq!(parse_stats(json.as_bytes()).unwrap()[0].memory_used_bytes, used, "{stats}");
    }
}

#[test]
fn a_response_without_a_task_is_an_error() {
    assert_eq!(parse(b"{}"), Err(ParseError::Missing("TaskARN")));
    assert_eq!(parse(b"null"), Err(ParseError::Missing("TaskARN")));
    assert_eq!(parse_stats(b"[]"), Err(ParseError::Missing("stats")));
    assert_eq!(parse_stats(b"{}"), Ok(Vec::new()));
    assert!(parse(b"").is_err() && parse_stats(b"{\"a\":").is_err());
    assert!(parse("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn times_are_exact_over_leap_days_zones_and_fractions() {
    let times = [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("1970-01-01T00:00:00.0019Z", Some(1)),
        ("2000-02-29T12:00:00Z", Some(951_825_600_000)),
        ("2020-10-08T21:24:44.938937019Z", Some(1_602_192_284_938)),
        ("2020-10-08T23:24:44.938937019+02:00", Some(1_602_192_284_938)),
        ("2020-10-08t17:54:44.938-03:30", Some(1_602_192_284_938)),
        ("2024-12-31T23:59:60Z", Some(1_735_689_600_000)),
        ("2100-03-01T00:00:00Z", Some(4_107_542_400_000)),
        ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
        ("0001-01-01T00:00:00Z", None),
        ("1969-12-31T23:59:59Z", None),
        ("2100-02-29T00:00:00Z", None),
        ("2021-00-01T00:00:00Z", None),
        ("2021-13-01T00:00:00Z", None),
        ("2021-04-31T00:00:00Z", None),
        ("2021-01-01T24:00:00Z", None),
        ("2021-01-01T00:00:00", None),
        ("2021-01-01T00:00:00.Z", None),
        ("2021-01-01T00:00:00+0200", None),
        ("2021-01-01T00:00:00+24:00", None),
        ("+021-01-01T00:00:00Z", None),
        ("2021-1-001T00:00:00Z", None),
        ("", None),
    ];
    for (text, expected) in times {
        assert_eq!(unix_milliseconds(text), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn no_response_makes_a_parser_panic(bytes in any::<Vec<u8>>(), text in any::<String>()) {
        let _ = (parse(&bytes), parse_stats(&bytes), unix_milliseconds(&text));
        let _ = unix_milliseconds(&format!("2020-10-08T21:24:44{text}"));
    }

    #[test]
    fn any_replaced_value_affects_at_most_its_own_field(
        value in prop_oneof![
            Just("null"), Just("{}"), Just("[]"), Just("-1"), Just("1e300"), Just("\"x\""),
            Just("18446744073709551615"), Just("[{}]"), Just("{\"a\":{}}"), Just("true"),
        ],
        index in 0_usize..400,
    ) {
        for json in [TASK, STATS, STATS_VERSION_TWO] {
            // Replaces the value after one colon of the recorded response.
            let text = std::str::from_utf8(json).unwrap();
            let Some((colon, _)) = text.match_indices("\": ").nth(index) else { continue };
            let (before, after) = text.split_at(colon + 3);
            let mut values = serde_json::Deserializer::from_str(after).into_iter::<Value>();
            let _ = values.next();
            let json = format!("{before}{value}{}", &after[values.byte_offset()..]);
            prop_assert!(parse_stats(json.as_bytes()).is_ok());
            let is_task = json.contains("\"TaskARN\": \"");
            prop_assert_eq!(parse(json.as_bytes()).is_ok(), is_task);
        }
    }

    #[test]
    fn formatted_times_are_parsed_exactly(milliseconds in 0_u64..253_402_300_800_000) {
        let seconds = milliseconds / 1000;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (mut year, mut left) = (1970_i64, days);
        let length = |year| if days_since_epoch(year, 2, 29).is_some() { 366 } else { 365 };
        while left >= length(year) {
            left -= length(year);
            year += 1;
        }
        let is_day = |month, day| days_since_epoch(year, month, day) == i64::try_from(days).ok();
        let month = (1..=12).find(|&month| (1..=31).any(|day| is_day(month, day))).unwrap();
        let day = (1..=31).find(|&day| is_day(month, day)).unwrap();
        let text = format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}999Z",
            second / 3600, second / 60 % 60, second % 60, milliseconds % 1000,
        );
        prop_assert_eq!(unix_milliseconds(&text), Some(milliseconds), "{}", text);
    }
}
