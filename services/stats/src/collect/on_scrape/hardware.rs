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

/// Speed that a chip reports for a fan without a reading.
const NO_SPEED: f64 = 65535.0;

fn is_sensor(name: &str) -> bool {
    ["name", "device"].contains(&name)
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

/// Name of a chip as in `node_exporter`: that of its device, such as `platform_coretemp_0`, or its
/// own. The number of `hwmon0` depends on the order in which the drivers were loaded.
fn chip_name(chip: &Device<'_>) -> String {
    let mut parts = chip.get("device").unwrap_or_default().rsplit('/').take(2);
    let (device, bus) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let clean = |text: &str| {
        let text = text.to_ascii_lowercase();
        let is_odd = |letter: char| !letter.is_ascii_alphanumeric() && letter != ':';
        text.replace(is_odd, "_").trim_matches('_').to_owned()
    };
    let of_device = format!("{}_{}", clean(bus), clean(device));
    let name = clean(chip.get("name").unwrap_or(chip.name));
    let names = [clean(&of_device), name];
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| chip.name.to_owned())
}

fn hwmon(texts: &Texts, writer: &mut Writer) {
    let mut chips: Vec<_> =
        texts.devices().into_iter().map(|chip| (chip_name(&chip), chip)).collect();
    // A device can have several chips.
    let all: Vec<String> = chips.iter().map(|(name, _)| name.clone()).collect();
    for (name, chip) in &mut chips {
        if all.iter().filter(|other| **other == *name).count() > 1 {
            *name = format!("{name}_{}", chip.name);
        }
    }
    let names = chips.iter().filter_map(|(label, chip)| {
        Some(([("chip", label.as_str()), ("chip_name", chip.get("name")?)], 1.into()))
    });
    per_item(writer, "node_hwmon_chip_names", Kind::Gauge, "Name of the chip, always 1.", names);
    let labels = chips.iter().flat_map(|(name, chip)| {
        chip.attributes.iter().filter_map(move |(file, label)| {
            let sensor = file.strip_suffix("_label")?;
            Some(([("chip", name.as_str()), ("label", *label), ("sensor", sensor)], 1.into()))
        })
    });
    let help = "Label of the sensor, always 1.";
    per_item(writer, "node_hwmon_sensor_label", Kind::Gauge, help, labels);
    for (kind, end, family, scale) in SENSORS {
        let items = chips.iter().flat_map(|(name, chip)| {
            chip.attributes.iter().filter_map(move |(file, text)| {
                let sensor = sensor_of(file, kind, end)?;
                let value = text.parse::<f64>().ok().map(|value| value / f64::from(scale));
                let value = value.filter(|value| match kind {
                    "temp" => TEMPERATURES.contains(value),
                    "fan" => *value < NO_SPEED,
                    _ => true,
                });
                // The value of a sensor that reports a fault has no meaning.
                let value = value.filter(|_| {
                    end != "_input" || chip.get(&format!("{sensor}_fault")) != Some("1")
                });
                Some(([("chip", name.as_str()), ("sensor", sensor)], Value::float(value)))
            })
        });
        per_item(writer, family, Kind::Gauge, "Reading of the sensor.", items);
    }
}

fn thermal_zones(texts: &Texts, writer: &mut Writer) {
    let devices = texts.devices();
    let zones = devices.iter().filter_map(|device| {
        let zone = device.name.strip_prefix("thermal_zone")?;
        let celsius = device.number("temp").map(|millidegrees| millidegrees as f64 / 1000.0);
        let celsius = celsius.filter(|celsius| TEMPERATURES.contains(celsius));
        Some(([("type", device.get("type")?), ("zone", zone)], Value::float(celsius)))
    });
    per_item(writer, "node_thermal_zone_temp", Kind::Gauge, "Temperature, Celsius.", zones);
}

fn cooling_devices(texts: &Texts, writer: &mut Writer) {
    let devices = texts.devices();
    for file in ["cur_state", "max_state"] {
        let items = devices.iter().filter_map(|device| {
            let name = device.name.strip_prefix("cooling_device")?;
            let state = device.number(file).map(|state| state as f64);
            Some(([("name", name), ("type", device.get("type")?)], Value::float(state)))
        });
        let family = format!("node_cooling_device_{file}");
        per_item(writer, &family, Kind::Gauge, "State of the cooling device.", items);
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
        let expected = "node_hwmon_chip_names{chip=\"coretemp\",chip_name=\"coretemp\"} 1\n\
            node_hwmon_sensor_label{chip=\"coretemp\",label=\"Core 0\",sensor=\"temp1\"} 1\n\
            node_hwmon_temp_celsius{chip=\"coretemp\",sensor=\"temp1\"} 45.5\n\
            node_hwmon_temp_crit_celsius{chip=\"coretemp\",sensor=\"temp1\"} 100\n\
            node_hwmon_fan_rpm{chip=\"coretemp\",sensor=\"fan2\"} 1200\n";
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
    fn a_chip_is_named_by_its_device_because_its_number_can_change() {
        let pci = "/host/sys/devices/pci0000:00/0000:00:1c.4/0000:02:00.0/nvme/nvme0";
        let laptop = "/sys/devices/platform/asus-nb-wmi";
        let files = [
            ("hwmon0/device", "/sys/devices/platform/coretemp.0\n"),
            ("hwmon0/name", "coretemp\n"),
            ("hwmon1/device", pci),
            ("hwmon1/name", "nvme\n"),
            ("hwmon2/name", "acpi fan\n"),
            ("hwmon3/device", laptop),
            ("hwmon3/name", "asus\n"),
            ("hwmon4/device", laptop),
            ("hwmon4/name", "asus_custom\n"),
            ("hwmon5/temp1_input", "1000\n"),
        ];
        let written = written(&HWMON, &files);
        let chips: Vec<_> =
            written.split(['{', ',']).filter(|part| part.starts_with("chip=")).collect();
        let expected = [
            "chip=\"platform_coretemp_0\"",
            "chip=\"nvme_nvme0\"",
            "chip=\"acpi_fan\"",
            "chip=\"platform_asus_nb_wmi_hwmon3\"",
            "chip=\"platform_asus_nb_wmi_hwmon4\"",
            "chip=\"hwmon5\"",
        ];
        assert_eq!(chips, expected);
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
    fn an_impossible_temperature_or_speed_is_absent() {
        let files = [
            ("hwmon0/temp1_input", "3892313987\n"),
            ("hwmon0/temp2_input", "-5000\n"),
            ("hwmon0/temp2_max", "-273150\n"),
            ("hwmon0/fan1_input", "2000\n"),
            ("hwmon0/fan2_input", "65535\n"),
        ];
        let expected = "node_hwmon_temp_celsius{chip=\"hwmon0\",sensor=\"temp2\"} -5\n\
            node_hwmon_fan_rpm{chip=\"hwmon0\",sensor=\"fan1\"} 2000\n";
        assert_eq!(written(&HWMON, &files), expected);
        let files = [("thermal_zone0/type", "cpu\n"), ("thermal_zone0/temp", "-650788984\n")];
        assert_eq!(written(&THERMAL_ZONES, &files), "");
    }
}
