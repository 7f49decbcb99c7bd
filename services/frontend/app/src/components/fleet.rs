//! The way from the page of one service to the table of all.

use super::app::AppProps;
use super::markup::{Html, all, tag, text};
use crate::fleet::{FleetController, Place};
use crate::number::plain;

/// The way from a member's page to the table, and the offer of it where members came later.
pub(super) fn way_to_table(controller: &FleetController, props: &AppProps) -> Html {
    let place = controller.place();
    let member = match &*place {
        Place::Member(path) => path.strip_prefix("/fleet/"),
        _ => None,
    };
    let members = controller.listed();
    if member.is_none() && members < 2 {
        return Html::default();
    }
    let name = if member.is_some() {
        "\u{2190} All members".to_owned()
    } else {
        ["Fleet of ", &plain(members as f64), " members"].concat()
    };
    let member =
        member.map(|address| tag!(p "class" = "way"; tag!(b; text(controller.title_of(address)))));
    let link = tag!(a
        "class" = "way",
        "href" = if props.kiosk { "/?kiosk=1" } else { "/" },
        "data-place" = "";
        text(name)
    );
    all(vec![link, member.unwrap_or_default()])
}
