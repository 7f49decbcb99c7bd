//! Converts the YAML description of the API to compact JSON.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use saphyr::{LoadableYamlNode, Scalar, Yaml};

const SOURCE: &str = "openapi.yaml";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    if let Err(error) = convert() {
        println!("cargo::error={SOURCE}: {error}");
    }
}

fn convert() -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(SOURCE)?;
    let documents = Yaml::load_from_str(&text)?;
    let [document] = documents.as_slice() else { return Err("one document is expected".into()) };
    let mut json = String::new();
    write(document, &mut json)?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("openapi.json"), json)?;
    Ok(())
}

/// Appends `node`; keys keep the order of the file.
fn write(node: &Yaml<'_>, json: &mut String) -> Result<(), Box<dyn Error>> {
    match node {
        Yaml::Mapping(entries) => {
            for (number, (key, value)) in entries.iter().enumerate() {
                json.push(if number == 0 { '{' } else { ',' });
                let key = key.as_str().ok_or_else(|| format!("{key:?} must be in quotes"))?;
                write!(json, "{}:", serde_json::to_string(key)?)?;
                write(value, json)?;
            }
            json.push_str(if entries.is_empty() { "{}" } else { "}" });
        }
        Yaml::Sequence(items) => {
            json.push('[');
            for (number, item) in items.iter().enumerate() {
                json.push_str(if number == 0 { "" } else { "," });
                write(item, json)?;
            }
            json.push(']');
        }
        Yaml::Value(Scalar::Null) => json.push_str("null"),
        Yaml::Value(Scalar::Boolean(value)) => write!(json, "{value}")?,
        Yaml::Value(Scalar::Integer(value)) => write!(json, "{value}")?,
        Yaml::Value(Scalar::FloatingPoint(value)) => write!(json, "{value}")?,
        Yaml::Value(Scalar::String(value)) => json.push_str(&serde_json::to_string(value)?),
        other => return Err(format!("{other:?} has no counterpart in JSON").into()),
    }
    Ok(())
}
