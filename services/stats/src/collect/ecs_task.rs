//! The ECS task metadata endpoint, version 4: `/task` and `/task/stats` (Amazon ECS developer
//! guide, "Amazon ECS task metadata endpoint version 4").

use serde_json::Value;

use super::network::Counters;
use super::{ParseError, cgroup};

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
    /// Limit `Limits.CPU`, processors. It is a CPU share, not a hard limit.
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
    /// Memory use without cache that the kernel can reclaim, bytes.
    pub(crate) memory_used_bytes: Option<u64>,
    /// Memory use without the cache that the kernel reclaims first, bytes.
    pub(crate) working_set_bytes: Option<u64>,
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
    let response: Value = serde_json::from_slice(json).map_err(|error| invalid_json(&error))?;
    let arn = response["TaskARN"].as_str().ok_or(ParseError::Missing("TaskARN"))?;
    let id = arn.rsplit('/').next().unwrap_or(arn).to_owned();
    let containers = response["Containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut containers: Vec<Container> = containers.iter().filter_map(container).collect();
    let shares_network = response["Containers"]
        .as_array()
        .and_then(|containers| containers.iter().find_map(|entry| entry["Networks"].as_array()))
        .is_some_and(|networks| networks.iter().any(|entry| entry["NetworkMode"] == "awsvpc"));
    containers.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(Task {
        id,
        family: text(&response["Family"]),
        revision: text(&response["Revision"]),
        service: text(&response["ServiceName"]),
        availability_zone: text(&response["AvailabilityZone"]),
        cpu_limit_cores: cpu_limit(&response),
        memory_limit_bytes: memory_limit(&response),
        storage_bytes: mebibytes(&response["EphemeralStorageMetrics"]["Reserved"])
            .filter(|&size| size > 0),
        storage_used_bytes: mebibytes(&response["EphemeralStorageMetrics"]["Utilized"]),
        shares_network,
        containers,
    })
}

/// Parses the response of `/task/stats`, sorted by ID. Containers without metrics (null before they
/// run) are left out.
pub(crate) fn parse_stats(json: &[u8]) -> Result<Vec<Usage>, ParseError> {
    let response: Value = serde_json::from_slice(json).map_err(|error| invalid_json(&error))?;
    let response = response.as_object().ok_or(ParseError::Missing("stats"))?;
    let mut usage: Vec<Usage> =
        response.iter().filter_map(|(id, stats)| usage(id, stats)).collect();
    usage.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(usage)
}

fn invalid_json(error: &serde_json::Error) -> ParseError {
    ParseError::Invalid(error.to_string())
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
    let (memory_used_bytes, working_set_bytes) = memory_used(&stats["memory_stats"]);
    let operations = &stats["blkio_stats"]["io_service_bytes_recursive"];
    Some(Usage {
        id: id.to_owned(),
        read_unix_ms,
        cpu_ns: stats["cpu_stats"]["cpu_usage"]["total_usage"].as_u64(),
        memory_used_bytes,
        working_set_bytes,
        receive,
        transmit,
        read_bytes: block_bytes(operations, "read"),
        write_bytes: block_bytes(operations, "write"),
    })
}

/// Memory use without all cache, and without the cache that the kernel reclaims first.
fn memory_used(memory: &Value) -> (Option<u64>, Option<u64>) {
    // Version 1 has the field with and without `total_`; the latter excludes descendant groups.
    let first =
        |names: [&str; 2]| names.into_iter().find_map(|name| memory["stats"][name].as_u64());
    let inactive = first(["total_inactive_file", "inactive_file"]);
    let active = first(["total_active_file", "active_file"]);
    let all = [inactive, active, first(["slab_reclaimable"; 2])].into_iter().flatten();
    let (usage, anonymous) = (memory["usage"].as_u64(), first(["total_rss", "anon"]));
    let without = |cache| cgroup::memory_used(usage, cache, anonymous);
    (without(all.reduce(u64::saturating_add)), without(inactive))
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
fn block_bytes(operations: &Value, operation_name: &str) -> Option<u64> {
    let bytes = operations.as_array()?.iter().filter_map(|operation| {
        let matches = operation["op"].as_str()?.eq_ignore_ascii_case(operation_name);
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
    let is_invalid = hour > 23 || minute > 59 || second > 60;
    let days = days_since_epoch(year, month, day).filter(|_| !is_invalid)?;
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
    let value = |index| i64::from(digits.as_bytes().get(index).map_or(0, |digit| digit - b'0'));
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
mod tests;
