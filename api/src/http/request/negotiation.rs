//! Content negotiation of GraphQL over HTTP by `Accept`: two media types of a single result, and a stream of events.

use axum::http::{HeaderMap, HeaderValue, header};

/// The media types of a single response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediaType {
    /// `application/graphql-response+json`: the status says whether the request was executed.
    GraphqlResponse,
    /// `application/json`: the status is 200 for any well-formed request, for clients of the older convention.
    Json,
}

/// Which operations are answered as a stream of events (`text/event-stream`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Events {
    /// No operation.
    Never,
    /// Operations with more than one result: the client accepts JSON too, with at least the same quality.
    Subscriptions,
    /// Every operation.
    Always,
}

/// The response types that a client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The preferred type of a single response; `None` where it accepts neither.
    pub(crate) media: Option<MediaType>,
    /// The operations that it wants as a stream of events.
    pub(crate) events: Events,
}

impl Accepted {
    /// Reads `Accept`. The default is `application/json` (GraphQL over HTTP, "Legacy watershed"); of two types with the
    /// same quality, the newer one wins. Streams of events are for clients that name them: a wildcard does not match them.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let says_nothing = |value: &HeaderValue| value.as_bytes().trim_ascii().is_empty();
        if headers.get_all(header::ACCEPT).iter().all(says_nothing) {
            return Self {
                media: Some(MediaType::Json),
                events: Events::Never,
            };
        }
        let ranges: Vec<_> = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(Range::parse)
            .collect();
        let newer = quality(&ranges, GRAPHQL_RESPONSE);
        let older = quality(&ranges, "json");
        let is_named = ranges.iter().any(|range| range.subtype == GRAPHQL_RESPONSE);
        let media = if newer > older || (newer > 0 && newer == older && is_named) {
            Some(MediaType::GraphqlResponse)
        } else {
            Some(MediaType::Json).filter(|_| older > 0)
        };
        let named = ranges.iter().find(|range| range.subtype == EVENT_STREAM);
        let events = match named.map_or(0, |range| range.quality) {
            0 => Events::Never,
            liked if liked > newer.max(older) => Events::Always,
            _ => Events::Subscriptions,
        };
        Self { media, events }
    }
}

impl MediaType {
    /// Returns the value of `Content-Type`.
    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        })
    }
}

const EVENT_STREAM: &str = "event-stream";
const GRAPHQL_RESPONSE: &str = "graphql-response+json";

/// One media range of `Accept` that can match `application/…`, or `text/event-stream`.
struct Range {
    subtype: String,
    /// 2 for an exact type, 1 for `application/*`, 0 for `*/*`: the more specific range wins (RFC 9110, 12.5.1).
    precision: u8,
    /// In thousandths, as the header's three decimals allow.
    quality: u16,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next()?.to_ascii_lowercase();
        let (kind, subtype) = media.split_once('/')?;
        let precision = match (kind, subtype) {
            ("*", "*") => 0,
            ("application", "*") => 1,
            ("application", _) | ("text", EVENT_STREAM) => 2,
            _ => return None,
        };
        let quality = parts.find_map(|text| text.strip_prefix("q=").or(text.strip_prefix("Q=")));
        let quality = quality.map_or(Some(1000), thousandths)?;
        Some(Self {
            subtype: subtype.to_owned(),
            precision,
            quality,
        })
    }
}

/// Parses a quality value: `0.25` is 250. `None` where it is none.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let well_formed = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "0" if well_formed => format!("{decimals:0<3}").parse().ok(),
        "1" if well_formed => Some(1000),
        _ => None,
    }
}

fn quality(ranges: &[Range], subtype: &str) -> u16 {
    ranges
        .iter()
        .filter(|range| range.subtype == subtype || range.subtype == "*")
        .max_by_key(|range| (range.precision, range.quality))
        .map_or(0, |range| range.quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &'static str) -> Accepted {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        Accepted::of(&headers)
    }

    #[test]
    fn the_best_liked_type_wins() {
        use MediaType::{GraphqlResponse, Json};
        for (accept, expected) in [
            ("application/graphql-response+json", Some(GraphqlResponse)),
            ("application/json", Some(Json)),
            ("*/*", Some(Json)),
            ("application/*", Some(Json)),
            (
                "application/graphql-response+json, application/json;q=0.9",
                Some(GraphqlResponse),
            ),
            (
                "application/json, application/graphql-response+json",
                Some(GraphqlResponse),
            ),
            (
                "application/graphql-response+json;q=0.1, application/json",
                Some(Json),
            ),
            ("application/json;q=0, */*", Some(GraphqlResponse)),
            ("text/html, */*;q=0.8", Some(Json)),
            ("text/html", None),
            ("application/json;q=0", None),
            ("Application/JSON; charset=utf-8; q=0.5", Some(Json)),
            ("nonsense", None),
        ] {
            let accepted = accepted(accept);
            assert_eq!(accepted.media, expected, "{accept}");
            assert_eq!(accepted.events, Events::Never, "{accept}");
        }
        let without = Accepted::of(&HeaderMap::new());
        assert_eq!((without.media, without.events), (Some(Json), Events::Never));
    }

    #[test]
    fn events_are_for_those_who_name_them() {
        use Events::{Always, Never, Subscriptions};
        use MediaType::{GraphqlResponse, Json};
        for (accept, media, events) in [
            ("text/event-stream", None, Always),
            ("Text/Event-Stream; q=0.1", None, Always),
            ("text/event-stream, */*;q=0.1", Some(Json), Always),
            ("text/event-stream;q=0", None, Never),
            ("text/*", None, Never),
            (
                "application/graphql-response+json, application/json, text/event-stream",
                Some(GraphqlResponse),
                Subscriptions,
            ),
            (
                "application/json;q=0.5, text/event-stream;q=0.6",
                Some(Json),
                Always,
            ),
        ] {
            assert_eq!(accepted(accept), Accepted { media, events }, "{accept}");
        }
    }
}
