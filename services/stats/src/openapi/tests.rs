use std::collections::{BTreeMap, BTreeSet};

use serde::de::{Deserialize, Deserializer, IntoDeserializer, Visitor, value};
use serde::ser::Serialize;
use serde_json::{Map, Value, json, to_value};

use super::*;

const SCHEMAS: &str = "#/components/schemas/";

#[test]
fn the_document_is_small_and_has_a_version() {
    assert_eq!(described()["openapi"], "3.1.0");
    assert!(JSON.starts_with(br#"{"openapi":"3.1.0","info":"#), "the order is the file's");
    assert!(JSON.len() < 40_000, "{} bytes", JSON.len());
}

#[test]
fn exactly_the_fields_in_responses_are_described() {
    let document = described();
    let mut visited = BTreeSet::new();
    let mut faults = Vec::new();
    for (name, value) in roots() {
        let schema = json!({ "$ref": format!("{SCHEMAS}{name}") });
        let mut check = Check { document: &document, visited: &mut visited, faults: &mut faults };
        check.node(name, &schema, &value);
    }
    assert_eq!(faults, Vec::<String>::new());
    let described = object(&document["components"]["schemas"]).keys().cloned();
    let on_the_wire = visited.into_iter().chain(["Problem".into()]).collect::<BTreeSet<_>>();
    assert_eq!(described.collect::<BTreeSet<_>>(), on_the_wire);
}

#[test]
fn exactly_the_fields_that_are_never_absent_are_required() {
    let document = described();
    for (name, empty) in empty_values() {
        let schema = &document["components"]["schemas"][name];
        let mut required = names(&schema["required"]);
        if let Some(base) = schema["allOf"][0]["$ref"].as_str() {
            required.extend(names(&resolve(&document, base)["required"]));
        }
        let always = object(&empty).keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(required, always, "{name}");
    }
}

#[test]
fn every_required_field_is_checked() {
    let document = described();
    let checked = empty_values().into_keys().chain(["Problem"]).collect::<BTreeSet<_>>();
    // A schema without properties has no required fields.
    let schemas = object(&document["components"]["schemas"]);
    let with_fields = schemas.iter().filter(|(_, schema)| !schema["properties"].is_null());
    assert_eq!(with_fields.map(|(name, _)| name.as_str()).collect::<BTreeSet<_>>(), checked);
}

#[test]
fn every_reference_is_valid() {
    fn visit(document: &Value, node: &Value) {
        if let Some(target) = node["$ref"].as_str() {
            assert!(!resolve(document, target).is_null(), "{target}");
        }
        match node {
            Value::Object(entries) => entries.values().for_each(|item| visit(document, item)),
            Value::Array(items) => items.iter().for_each(|item| visit(document, item)),
            _ => {}
        }
    }
    visit(&described(), &described());
}

fn described() -> Value {
    serde_json::from_slice(JSON).unwrap()
}

/// Compares a value without absent fields with its schema.
struct Check<'a> {
    document: &'a Value,
    visited: &'a mut BTreeSet<String>,
    faults: &'a mut Vec<String>,
}

impl Check<'_> {
    fn node(&mut self, path: &str, schema: &Value, value: &Value) {
        if let Some(target) = schema["$ref"].as_str() {
            self.visited.extend(target.strip_prefix(SCHEMAS).map(str::to_owned));
            let target = resolve(self.document, target).clone();
            return self.node(path, &target, value);
        }
        if !type_fits(schema, value) {
            self.faults.push(format!("{path}: {value} is not of the described type"));
        }
        match value {
            Value::Object(entries) if schema["additionalProperties"].is_object() => {
                for (name, entry) in entries {
                    let path = format!("{path}.{name}");
                    self.node(&path, &schema["additionalProperties"], entry);
                }
            }
            Value::Object(entries) => self.fields(path, schema, entries),
            Value::Array(items) => {
                for item in items {
                    self.node(&format!("{path}[]"), &schema["items"], item);
                }
                if items.is_empty() {
                    self.faults.push(format!("{path}: the test has no element"));
                }
            }
            _ => {}
        }
    }

    fn fields(&mut self, path: &str, schema: &Value, entries: &Map<String, Value>) {
        let mut described = object(&schema["properties"]).clone();
        if let Some(base) = schema["allOf"][0]["$ref"].as_str() {
            self.visited.extend(base.strip_prefix(SCHEMAS).map(str::to_owned));
            described.extend(object(&resolve(self.document, base)["properties"]).clone());
        }
        for (name, value) in entries {
            match described.remove(name) {
                Some(schema) => self.node(&format!("{path}.{name}"), &schema, value),
                None => self.faults.push(format!("{path}.{name} is not described")),
            }
        }
        let missing = described.keys().map(|name| format!("{path}.{name} is not on the wire"));
        self.faults.extend(missing);
    }
}

fn type_fits(schema: &Value, value: &Value) -> bool {
    if let Some(allowed) = schema["enum"].as_array() {
        return allowed.contains(value);
    }
    let fits = |name: &Value| match name.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        Some("number") => value.is_f64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => false,
    };
    match &schema["type"] {
        Value::Array(several) => several.iter().any(fits),
        one => fits(one),
    }
}

fn resolve<'a>(document: &'a Value, target: &str) -> &'a Value {
    document.pointer(target.trim_start_matches('#')).unwrap_or(&Value::Null)
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no object"))
}

fn names(list: &Value) -> BTreeSet<String> {
    let names = list.as_array().map(Vec::as_slice).unwrap_or_default();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Values of each type with all optional fields absent.
fn empty_values() -> BTreeMap<&'static str, Value> {
    macro_rules! empty {
        ($($name:ident)*) => {
            BTreeMap::from([
                $((stringify!($name), to_value(wire::$name::default()).unwrap())),*
            ])
        };
    }
    empty! {
        Alert Container Core CoreHistory Disk Event Events Filesystem History Memory Minute Network
        Pressure Process Processes Processors Sample Scope Series Shares Stall Stalls Summary
        SummaryDisk SummaryLimits SummaryNetwork SummaryPressure Task TaskContainer Top TopHistory
        TopProcess Traffic
    }
}

/// Types of responses and events, with every field.
fn roots() -> [(&'static str, Value); 6] {
    [
        ("Sample", full::<wire::Sample>()),
        ("History", full::<wire::History>()),
        ("Summary", full::<wire::Summary>()),
        ("Minute", full::<wire::Minute>()),
        ("Events", full::<wire::Events>()),
        ("TopHistory", full::<wire::TopHistory>()),
    ]
}

fn full<'a, T: Deserialize<'a> + Serialize>() -> Value {
    to_value(T::deserialize(Full).unwrap()).unwrap()
}

/// Input that has every field of every type, so that a new field needs no change here. Lists and
/// maps have one entry.
#[derive(Clone, Copy)]
struct Full;

impl<'de> Deserializer<'de> for Full {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_u64(1)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_bool(true)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_str("text")
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.deserialize_tuple(1, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_seq(value::SeqDeserializer::new(std::iter::repeat_n(self, length)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.deserialize_struct("", &["key"], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let fields = fields.iter().map(|field| (*field, self));
        visitor.visit_map(value::MapDeserializer::new(fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_enum(variants[0].into_deserializer())
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str bytes byte_buf unit unit_struct
        newtype_struct tuple_struct identifier ignored_any
    }
}

impl IntoDeserializer<'_> for Full {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
