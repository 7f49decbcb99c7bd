//! The ECS task metadata endpoint, version 4: `/task` and `/task/stats` (Amazon ECS developer
//! guide, "Amazon ECS task metadata endpoint version 4").

use serde_json::Value;

use super::ParseError;
use super::network::Counters;

/// A task in the response of `/task`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Task {
    /// Last part of its ARN.
    pub(crate) id: String,
    /// Name of its task definition.
    pub(crate) family: String,
    /// Revision of its task definition.
    pub(crate) revision: String,
    /// Name of its service; empty for a task without one, and with older agents.
    pub(crate) service: String,
    /// Availability zone; empty if the agent does not report it.
    pub(crate) availability_zone: String,
    /// Limit `Limits.CPU`, processors.
    pub(crate) cpu_limit_cores: Option<f64>,
    /// Limit `Limits.Memory`, bytes.
    pub(crate) memory_limit_bytes: Option<u64>,
    /// Size `EphemeralStorageMetrics.Reserved`, bytes; on Fargate.
    pub(crate) storage_bytes: Option<u64>,
    /// Use `EphemeralStorageMetrics.Utilized`, bytes.
    pub(crate) storage_used_bytes: Option<u64>,
    /// Whether its containers share the task's interfaces (`NetworkMode` awsvpc). The counters of
    /// each container then include the traffic of the whole task.
    pub(crate) shares_network: bool,
    /// Its containers, by name, including those that ECS adds (`Type` other than `NORMAL`).
    pub(crate) containers: Vec<Container>,
}

/// A container in the response of `/task`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Container {
    /// Runtime ID, the key in `/task/stats`.
    pub(crate) id: String,
    /// Name in the task definition.
    pub(crate) name: String,
    /// Value of `KnownStatus`.
    pub(crate) status: String,
    /// Limit `Limits.CPU`, processors. It is a CPU share, not a hard limit, unless the task has no
    /// limit of its own.
    pub(crate) cpu_limit_cores: Option<f64>,
    /// Limit `Limits.Memory`, bytes.
    pub(crate) memory_limit_bytes: Option<u64>,
}

/// Counters of a container in the response of `/task/stats`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Runtime ID of the container.
    pub(crate) id: String,
    /// Time of the reading, milliseconds since the Unix epoch (`read`).
    pub(crate) read_unix_ms: u64,
    /// CPU time, nanoseconds.
    pub(crate) cpu_ns: Option<u64>,
    /// Memory use without `inactive_file` (version 1: `total_inactive_file`), bytes.
    pub(crate) memory_used_bytes: Option<u64>,
    /// Received traffic of all interfaces.
    pub(crate) receive: Option<Counters>,
    /// Sent traffic of all interfaces.
    pub(crate) transmit: Option<Counters>,
    /// Bytes read from block devices.
    pub(crate) read_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub(crate) write_bytes: Option<u64>,
}

/// Parses the response of `/task`.
///
/// Reads single fields instead of a derived type: a field that is missing, null or invalid is
/// absent, and the rest of the response stays valid.
pub(crate) fn parse(json: &[u8]) -> Result<Task, ParseError> {
    let answer: Value = serde_json::from_slice(json).map_err(|error| odd(&error))?;
    let arn = answer["TaskARN"].as_str().ok_or(ParseError::Missing("TaskARN"))?;
    let id = arn.rsplit('/').next().unwrap_or(arn).to_owned();
    let containers = answer["Containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut containers: Vec<Container> = containers.iter().filter_map(container).collect();
    let shares_network = answer["Containers"]
        .as_array()
        .and_then(|containers| containers.iter().find_map(|one| one["Networks"].as_array()))
        .is_some_and(|networks| networks.iter().any(|one| one["NetworkMode"] == "awsvpc"));
    containers.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(Task {
        id,
        family: text(&answer["Family"]),
        revision: text(&answer["Revision"]),
        service: text(&answer["ServiceName"]),
        availability_zone: text(&answer["AvailabilityZone"]),
        cpu_limit_cores: cpu_limit(&answer),
        memory_limit_bytes: memory_limit(&answer),
        storage_bytes: mebibytes(&answer["EphemeralStorageMetrics"]["Reserved"])
            .filter(|&size| size > 0),
        storage_used_bytes: mebibytes(&answer["EphemeralStorageMetrics"]["Utilized"]),
        shares_network,
        containers,
    })
}

/// Parses the response of `/task/stats`, sorted by ID. Containers without metrics (null before they
/// run) are left out.
pub(crate) fn parse_stats(json: &[u8]) -> Result<Vec<Usage>, ParseError> {
    let answer: Value = serde_json::from_slice(json).map_err(|error| odd(&error))?;
    let answer = answer.as_object().ok_or(ParseError::Missing("stats"))?;
    let mut usage: Vec<Usage> = answer.iter().filter_map(|(id, stats)| usage(id, stats)).collect();
    usage.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(usage)
}

fn odd(error: &serde_json::Error) -> ParseError {
    ParseError::Odd(error.to_string())
}

fn container(container: &Value) -> Option<Container> {
    /// CPU units per processor. Only limits of containers have this unit; limits of tasks are in
    /// processors.
    const UNITS_PER_CORE: f64 = 1024.0;
    Some(Container {
        // A container has no ID until it is created.
        id: text(&container["DockerId"]),
        name: container["Name"].as_str()?.to_owned(),
        status: text(&container["KnownStatus"]),
        cpu_limit_cores: cpu_limit(container)
            .filter(|&units| units > FEWEST_UNITS)
            .map(|units| units / UNITS_PER_CORE),
        memory_limit_bytes: memory_limit(container),
    })
}

/// Text, or a number as text; empty for other values.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// Minimum number of CPU units in the container runtime, which a container without a limit
/// receives.
const FEWEST_UNITS: f64 = 2.0;

fn cpu_limit(limited: &Value) -> Option<f64> {
    limited["Limits"]["CPU"].as_f64().filter(|&limit| limit > 0.0)
}

fn memory_limit(limited: &Value) -> Option<u64> {
    mebibytes(&limited["Limits"]["Memory"]).filter(|&limit| limit > 0)
}

/// Converts mebibytes to bytes.
fn mebibytes(value: &Value) -> Option<u64> {
    const MEBIBYTE: u64 = 1024 * 1024;
    value.as_u64()?.checked_mul(MEBIBYTE)
}

fn usage(id: &str, stats: &Value) -> Option<Usage> {
    // For a container that does not run, this time is in the year 1.
    let read_unix_ms = unix_milliseconds(stats["read"].as_str()?)?;
    let (receive, transmit) = network(&stats["networks"]).unzip();
    let operations = &stats["blkio_stats"]["io_service_bytes_recursive"];
    Some(Usage {
        id: id.to_owned(),
        read_unix_ms,
        cpu_ns: stats["cpu_stats"]["cpu_usage"]["total_usage"].as_u64(),
        memory_used_bytes: memory_used(&stats["memory_stats"]),
        receive,
        transmit,
        read_bytes: block_bytes(operations, "read"),
        write_bytes: block_bytes(operations, "write"),
    })
}

fn memory_used(memory: &Value) -> Option<u64> {
    let stats = &memory["stats"];
    // Version 1 has both fields; the one without `total_` excludes descendant groups.
    let cache = stats["total_inactive_file"].as_u64().or(stats["inactive_file"].as_u64());
    Some(memory["usage"].as_u64()?.saturating_sub(cache.unwrap_or(0)))
}

/// Received and sent traffic of all interfaces.
fn network(networks: &Value) -> Option<(Counters, Counters)> {
    let direction = |network: &Value, prefix: &str| {
        let counter = |name: &str| network[format!("{prefix}_{name}")].as_u64();
        Some(Counters {
            bytes: counter("bytes")?,
            packets: counter("packets").unwrap_or(0),
            errors: counter("errors").unwrap_or(0),
            drops: counter("dropped").unwrap_or(0),
        })
    };
    let both = |network| Some((direction(network, "rx")?, direction(network, "tx")?));
    let networks = networks.as_object()?.values().filter_map(both);
    networks.reduce(|(receive, transmit), more| (sum(receive, more.0), sum(transmit, more.1)))
}

fn sum(a: Counters, b: Counters) -> Counters {
    Counters {
        bytes: a.bytes.saturating_add(b.bytes),
        packets: a.packets.saturating_add(b.packets),
        errors: a.errors.saturating_add(b.errors),
        drops: a.drops.saturating_add(b.drops),
    }
}

/// Sum of one operation over all devices. Depending on the cgroup version of the host, the name of
/// the operation is capitalized. The list can be empty before the first operation.
fn block_bytes(operations: &Value, wanted: &str) -> Option<u64> {
    let bytes = operations.as_array()?.iter().filter_map(|operation| {
        let matches = operation["op"].as_str()?.eq_ignore_ascii_case(wanted);
        operation["value"].as_u64().filter(|_| matches)
    });
    Some(bytes.fold(0, u64::saturating_add))
}

/// Parses an RFC 3339 time to milliseconds since the Unix epoch; `None` if it is invalid or
/// earlier.
fn unix_milliseconds(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, rest) = rest.strip_prefix(['T', 't', ' '])?.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let (fraction_ms, zone) = match rest.strip_prefix('.') {
        Some(rest) => fraction_milliseconds(rest)?,
        None => (0, rest),
    };
    // A leap second counts as the following second.
    let odd = hour > 23 || minute > 59 || second > 60;
    let days = days_since_epoch(year, month, day).filter(|_| !odd)?;
    let local = ((days * 24 + hour) * 60 + minute) * 60 + second;
    let seconds = local - offset_seconds(zone)?;
    u64::try_from(seconds * 1000 + fraction_ms).ok()
}

/// Parses numbers with the given digit counts.
fn numbers<const COUNT: usize>(
    text: &str,
    separator: char,
    digits: [usize; COUNT],
) -> Option<[i64; COUNT]> {
    let mut numbers = [0; COUNT];
    let mut parts = text.split(separator);
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits)?;
        let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
        *number = part.parse().ok().filter(|_| is_number)?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Parses the digits after the decimal point, truncated to milliseconds; returns the rest as well.
fn fraction_milliseconds(text: &str) -> Option<(i64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let value = |place| i64::from(digits.as_bytes().get(place).map_or(0, |digit| digit - b'0'));
    (end > 0).then(|| (value(0) * 100 + value(1) * 10 + value(2), rest))
}

/// Offset of a time zone from UTC, seconds.
fn offset_seconds(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, time) = match zone.split_at_checked(1)? {
        ("+", time) => (1, time),
        ("-", time) => (-1, time),
        _ => return None,
    };
    let [hours, minutes] = numbers(time, ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)
}

/// Days from 1970-01-01 to a date in the Gregorian calendar.
fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let february = if leap { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month - 1).ok()?;
    let length = *months.get(before)?;
    // Leap days of earlier years.
    let past = year - 1;
    let leap_days = past / 4 - past / 100 + past / 400;
    let days = year * 365 + leap_days + months[..before].iter().sum::<i64>() + day - 1;
    // The same sum for 1970-01-01: 1970 * 365 + 477.
    (1..=length).contains(&day).then_some(days - 719_527)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TASK: &[u8] = include_bytes!("../../fixtures/fargate/task.json");
    const STATS: &[u8] = include_bytes!("../../fixtures/fargate/task-stats.json");
    const STATS_VERSION_TWO: &[u8] =
        include_bytes!("../../fixtures/fargate/task-stats-cgroup-v2.json");

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
            memory_used_bytes: Some(1_236_992 - 100_000),
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
            memory_used_bytes: Some(0),
            read_bytes: Some(0),
            write_bytes: Some(0),
            ..Usage::default()
        };
        assert_eq!(usage, [expected]);
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
            place in 0_usize..400,
        ) {
            for json in [TASK, STATS, STATS_VERSION_TWO] {
                // Replaces the value after one colon of the recorded response.
                let text = std::str::from_utf8(json).unwrap();
                let Some((colon, _)) = text.match_indices("\": ").nth(place) else { continue };
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
}
