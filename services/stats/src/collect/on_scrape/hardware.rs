//! Sensors: processor frequency, hardware monitors, thermal zones and cooling devices (`/sys`).

use std::ops::RangeInclusive;

use super::{Collector, Device, Kind, Source, Texts, Value, Writer, per_item};

/// Processor frequencies (Documentation/admin-guide/pm/cpufreq.rst).
pub(super) const CPU_FREQUENCY: Collector = Collector {
    name: "cpufreq",
    source: Source::Devices {
        folder: "devices/system/cpu",
        inner: &["cpufreq"],
        filter: |name| FREQUENCIES.iter().any(|(file, ..)| *file == name),
    },
    write: cpu_frequency,
};

/// Hardware monitors (Documentation/hwmon/sysfs-interface.rst).
pub(super) const HWMON: Collector = Collector {
    name: "hwmon",
    source: Source::Devices { folder: "class/hwmon", inner: &["", "device"], filter: is_sensor },
    write: hwmon,
};

/// Thermal zones (Documentation/driver-api/thermal/sysfs-api.rst).
pub(super) const THERMAL_ZONES: Collector = Collector {
    name: "thermal_zone",
    source: Source::Devices {
        folder: "class/thermal",
        inner: &[""],
        filter: |name| ["temp", "type"].contains(&name),
    },
    write: thermal_zones,
};

/// Cooling devices (Documentation/driver-api/thermal/sysfs-api.rst).
pub(super) const COOLING_DEVICES: Collector = Collector {
    name: "cooling_device",
    source: Source::Devices {
        folder: "class/thermal",
        inner: &[""],
        filter: |name| ["type", "cur_state", "max_state"].contains(&name),
    },
    write: cooling_devices,
};

const FREQUENCIES: [(&str, &str, &str); 5] = [
    ("scaling_cur_freq", "node_cpu_scaling_frequency_hertz", "Frequency of the processor."),
    ("scaling_max_freq", "node_cpu_scaling_frequency_max_hertz", "The highest frequency allowed."),
    ("scaling_min_freq", "node_cpu_scaling_frequency_min_hertz", "The lowest frequency allowed."),
    ("cpuinfo_max_freq", "node_cpu_frequency_max_hertz", "The highest frequency there is."),
    ("cpuinfo_min_freq", "node_cpu_frequency_min_hertz", "The lowest frequency there is."),
];

fn cpu_frequency(texts: &Texts, writer: &mut Writer) {
    let devices = texts.devices();
    for (file, name, help) in FREQUENCIES {
        let items = devices.iter().filter_map(|device| {
            let cpu = device.name.strip_prefix("cpu")?;
            let kilohertz = device.number(file).and_then(|number| u64::try_from(number).ok());
            Some(([("cpu", cpu)], kilohertz.and_then(|value| value.checked_mul(1000)).into()))
        });
        per_item(writer, name, Kind::Gauge, help, items);
    }
}

/// Sensor values: prefix and suffix of the file name, family, and divisor to the unit.
const SENSORS: [(&str, &str, &str, i32); 9] = [
    ("temp", "_input", "node_hwmon_temp_celsius", 1000),
    ("temp", "_max", "node_hwmon_temp_max_celsius", 1000),
    ("temp", "_crit", "node_hwmon_temp_crit_celsius", 1000),
    ("temp", "_crit_alarm", "node_hwmon_temp_crit_alarm_celsius", 1000),
    ("fan", "_input", "node_hwmon_fan_rpm", 1),
    ("fan", "_min", "node_hwmon_fan_min_rpm", 1),
    ("in", "_input", "node_hwmon_in_volts", 1000),
    ("curr", "_input", "node_hwmon_curr_amps", 1000),
    ("power", "_input", "node_hwmon_power_watt", 1_000_000),
];

/// Possible temperatures, Celsius. The kernel reports absolute zero for a limit that is not set, and
/// some chips report any number for a sensor that is not connected.
const TEMPERATURES: RangeInclusive<f64> = -200.0..=1000.0;

fn is_sensor(name: &str) -> bool {
    name == "name"
        || name.ends_with("_label")
        || name.ends_with("_fault")
        || SENSORS.iter().any(|(kind, end, ..)| sensor_of(name, kind, end).is_some())
}

/// Sensor of a file: `temp1` for `temp1_input`.
fn sensor_of<'a>(file: &'a str, kind: &str, end: &str) -> Option<&'a str> {
    let sensor = file.strip_suffix(end)?;
    let number = sensor.strip_prefix(kind)?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(sensor)
}

fn hwmon(texts: &Texts, writer: &mut Writer) {
    let chips = texts.devices();
    let names = chips.iter().filter_map(|chip| {
        Some(([("chip", chip.name), ("chip_name", chip.get("name")?)], 1.into()))
    });
    per_item(writer, "node_hwmon_chip_names", Kind::Gauge, "Name of the chip, always 1.", names);
    let labels = chips.iter().flat_map(|chip| {
        chip.attributes.iter().filter_map(|(file, label)| {
            let sensor = file.strip_suffix("_label")?;
            Some(([("chip", chip.name), ("label", *label), ("sensor", sensor)], 1.into()))
        })
    });
    per_item(
        writer,
        "node_hwmon_sensor_label",
        Kind::Gauge,
        "Label of the sensor, always 1.",
        labels,
    );
    for (kind, end, family, scale) in SENSORS {
        let items = chips.iter().flat_map(|chip| {
            chip.attributes.iter().filter_map(move |(file, text)| {
                let sensor = sensor_of(file, kind, end)?;
                let value = text.parse::<f64>().ok().map(|value| value / f64::from(scale));
                let value = value.filter(|value| kind != "temp" || TEMPERATURES.contains(value));
                // The value of a sensor that reports a fault has no meaning.
                let value = value.filter(|_| {
                    end != "_input" || chip.get(&format!("{sensor}_fault")) != Some("1")
                });
                Some(([("chip", chip.name), ("sensor", sensor)], Value::float(value)))
            })
        });
        per_item(writer, family, Kind::Gauge, "Reading of the sensor.", items);
    }
}

fn numbered<'a>(device: &Device<'a>, class: &str) -> Option<&'a str> {
    device.name.strip_prefix(class)
}

fn thermal_zones(texts: &Texts, writer: &mut Writer) {
    let devices = texts.devices();
    let zones = devices.iter().filter_map(|device| {
        let zone = numbered(device, "thermal_zone")?;
        let celsius = device.number("temp").map(|millidegrees| millidegrees as f64 / 1000.0);
        let celsius = celsius.filter(|celsius| TEMPERATURES.contains(celsius));
        Some(([("type", device.get("type")?), ("zone", zone)], Value::float(celsius)))
    });
    per_item(writer, "node_thermal_zone_temp", Kind::Gauge, "Temperature, Celsius.", zones);
}

fn cooling_devices(texts: &Texts, writer: &mut Writer) {
    let devices = texts.devices();
    for (file, family) in [
        ("cur_state", "node_cooling_device_cur_state"),
        ("max_state", "node_cooling_device_max_state"),
    ] {
        let items = devices.iter().filter_map(|device| {
            let name = numbered(device, "cooling_device")?;
            let state = device.number(file).map(|state| state as f64);
            Some(([("name", name), ("type", device.get("type")?)], Value::float(state)))
        });
        per_item(writer, family, Kind::Gauge, "State of the cooling device.", items);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use super::*;

    #[test]
    fn sensor_values_are_converted_to_their_units() {
        let files = [("cpu0/scaling_cur_freq", "2400000\n"), ("cpufreq/boost", "1\n")];
        let expected = "node_cpu_scaling_frequency_hertz{cpu=\"0\"} 2400000000\n";
        assert_eq!(written(&CPU_FREQUENCY, &files), expected);
        let files = [
            ("hwmon0/name", "coretemp\n"),
            ("hwmon0/temp1_input", "45500\n"),
            ("hwmon0/temp1_label", "Core 0\n"),
            ("hwmon0/temp1_crit", "100000\n"),
            ("hwmon0/fan2_input", "1200\n"),
            ("hwmon0/tempx_input", "1\n"),
        ];
        let expected = "node_hwmon_chip_names{chip=\"hwmon0\",chip_name=\"coretemp\"} 1\n\
            node_hwmon_sensor_label{chip=\"hwmon0\",label=\"Core 0\",sensor=\"temp1\"} 1\n\
            node_hwmon_temp_celsius{chip=\"hwmon0\",sensor=\"temp1\"} 45.5\n\
            node_hwmon_temp_crit_celsius{chip=\"hwmon0\",sensor=\"temp1\"} 100\n\
            node_hwmon_fan_rpm{chip=\"hwmon0\",sensor=\"fan2\"} 1200\n";
        assert_eq!(written(&HWMON, &files), expected);
        let files = [
            ("cooling_device0/type", "Processor\n"),
            ("cooling_device0/cur_state", "2\n"),
            ("thermal_zone1/type", "acpitz\n"),
            ("thermal_zone1/temp", "-5500\n"),
        ];
        let expected = "node_thermal_zone_temp{type=\"acpitz\",zone=\"1\"} -5.5\n";
        assert_eq!(written(&THERMAL_ZONES, &files), expected);
        let expected = "node_cooling_device_cur_state{name=\"0\",type=\"Processor\"} 2\n";
        assert_eq!(written(&COOLING_DEVICES, &files), expected);
    }

    #[test]
    fn the_value_of_a_sensor_with_a_fault_is_absent() {
        let files = [
            ("hwmon0/temp1_fault", "1\n"),
            ("hwmon0/temp1_input", "64000\n"),
            ("hwmon0/temp1_max", "80000\n"),
            ("hwmon0/temp2_fault", "0\n"),
            ("hwmon0/temp2_input", "40000\n"),
        ];
        let expected = "node_hwmon_temp_celsius{chip=\"hwmon0\",sensor=\"temp2\"} 40\n\
            node_hwmon_temp_max_celsius{chip=\"hwmon0\",sensor=\"temp1\"} 80\n";
        assert!(files.iter().all(|(file, _)| is_sensor(file.trim_start_matches("hwmon0/"))));
        assert_eq!(written(&HWMON, &files), expected);
    }

    #[test]
    fn an_impossible_temperature_is_absent() {
        let files = [
            ("hwmon0/temp1_input", "3892313987\n"),
            ("hwmon0/temp2_input", "-5000\n"),
            ("hwmon0/temp2_max", "-273150\n"),
            ("hwmon0/fan1_input", "2000\n"),
        ];
        let expected = "node_hwmon_temp_celsius{chip=\"hwmon0\",sensor=\"temp2\"} -5\n\
            node_hwmon_fan_rpm{chip=\"hwmon0\",sensor=\"fan1\"} 2000\n";
        assert_eq!(written(&HWMON, &files), expected);
        let files = [("thermal_zone0/type", "cpu\n"), ("thermal_zone0/temp", "-650788984\n")];
        assert_eq!(written(&THERMAL_ZONES, &files), "");
    }
}
