//! Elements in few bytes: `html!` writes out three hundred bytes of code for each element, and every
//! viewer loads them all. Here a node is a number while it is put together, so an element is one call
//! with constants and numbers: nothing is moved, and nothing has to be dropped.

use std::cell::RefCell;
use std::mem::take;

use yew::AttrValue;
use yew::virtual_dom::{AttributeOrProperty, Attributes, VList, VNode, VTag, VText};

/// An element with attributes and children: `tag!(p "class" = "small"; text("so"))`. An attribute
/// that is `None` is left out; a child is [`Html`].
macro_rules! tag {
    ($name:ident $($key:literal = $value:expr),* $(; $($child:expr),+ $(,)?)?) => {
        $crate::components::markup::element(
            stringify!($name),
            &[$($key),*],
            &[$($crate::components::markup::Value::from($value)),*],
            &[$($($child),+)?],
        )
    };
}
pub(super) use tag;

thread_local! {
    /// Nodes and values of the page that is being put together.
    static NODES: RefCell<Vec<VNode>> = const { RefCell::new(Vec::new()) };
    static VALUES: RefCell<Vec<Option<AttrValue>>> = const { RefCell::new(Vec::new()) };
}

/// A node, by its number; the default is nothing. A node has one place: where it is put a second
/// time, there is nothing.
#[derive(Clone, Copy, Default)]
pub(super) struct Html(usize);

/// The value of an attribute, by its number.
#[derive(Clone, Copy)]
pub(super) struct Value(usize);

/// The page that a node is, for Yew; every other node is forgotten.
pub(super) fn finish(html: Html) -> yew::Html {
    let page = taken(html);
    NODES.with_borrow_mut(Vec::clear);
    VALUES.with_borrow_mut(Vec::clear);
    page
}

/// The element; `tag!` is how it is written.
#[inline(never)]
pub(super) fn element(
    name: &'static str,
    keys: &'static [&'static str],
    values: &[Value],
    children: &[Html],
) -> Html {
    let value = |value: &Value| {
        let value = VALUES.with_borrow_mut(|values| values.get_mut(value.0).and_then(take));
        value.map(AttributeOrProperty::Attribute)
    };
    let mut element = VTag::new(name);
    element
        .set_attributes(Attributes::Dynamic { keys, values: values.iter().map(value).collect() });
    element.add_children(children.iter().map(|child| taken(*child)));
    kept(element.into())
}

/// Static text.
#[inline(never)]
pub(super) fn literal(text: &'static str) -> Html {
    kept(VText::new(AttrValue::Static(text)).into())
}

/// Text.
#[inline(never)]
pub(super) fn text(text: String) -> Html {
    kept(VText::new(AttrValue::from(text)).into())
}

/// Several in place of one.
#[inline(never)]
pub(super) fn all(children: Vec<Html>) -> Html {
    kept(VList::with_children(children.into_iter().map(taken).collect(), None).into())
}

#[inline(never)]
fn kept(node: VNode) -> Html {
    NODES.with_borrow_mut(|nodes| {
        nodes.push(node);
        Html(nodes.len())
    })
}

#[inline(never)]
fn taken(html: Html) -> VNode {
    let place = html.0.wrapping_sub(1);
    NODES.with_borrow_mut(|nodes| nodes.get_mut(place).map(take).unwrap_or_default())
}

#[inline(never)]
fn value(value: Option<AttrValue>) -> Value {
    VALUES.with_borrow_mut(|values| {
        values.push(value);
        Value(values.len() - 1)
    })
}

impl From<&'static str> for Value {
    #[inline(never)]
    fn from(text: &'static str) -> Self {
        value(Some(AttrValue::Static(text)))
    }
}

impl From<String> for Value {
    #[inline(never)]
    fn from(text: String) -> Self {
        value(Some(AttrValue::from(text)))
    }
}

impl From<Option<&'static str>> for Value {
    #[inline(never)]
    fn from(text: Option<&'static str>) -> Self {
        value(text.map(AttrValue::Static))
    }
}

impl From<Option<String>> for Value {
    #[inline(never)]
    fn from(text: Option<String>) -> Self {
        value(text.map(AttrValue::from))
    }
}
