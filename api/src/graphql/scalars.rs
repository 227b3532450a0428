//! The contract's own scalars.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use chrono::{SecondsFormat, Utc};
use wharfinger_entity::Timestamp;

/// An instant, RFC 3339, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DateTime(pub(crate) Timestamp);

/// An instant, RFC 3339, in UTC.
#[Scalar(specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        let instant = chrono::DateTime::parse_from_rfc3339(text).map_err(|error| {
            InputValueError::custom(format!(
                "`{}` is not an instant like 2026-11-23T09:30:00Z: {error}",
                text.escape_debug()
            ))
        })?;
        Ok(Self(instant.with_timezone(&Utc).into()))
    }

    fn to_value(&self) -> Value {
        Value::String(
            chrono::DateTime::<Utc>::from(self.0).to_rfc3339_opts(SecondsFormat::Micros, true),
        )
    }
}

impl From<Timestamp> for DateTime {
    fn from(instant: Timestamp) -> Self {
        Self(instant)
    }
}

/// A count of bytes: a non-negative whole number, exact up to 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) u64);

/// A count of bytes: a non-negative whole number, exact up to 2^53.
#[Scalar]
impl ScalarType for ByteSize {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::Number(number) => number.as_u64().map(Self).ok_or_else(|| {
                InputValueError::custom("a count of bytes is a whole number from 0 to 2^53")
            }),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::Number(self.0.into())
    }
}

impl From<i64> for ByteSize {
    /// Converts a number of the database, where a check keeps it from being negative.
    fn from(bytes: i64) -> Self {
        Self(u64::try_from(bytes).unwrap_or(0))
    }
}

/// An amount of credits as an exact decimal string without exponent or trailing zeros: "1000", "-0.5",
/// "12.345678". One credit pays for one megabyte (1,000,000 bytes), so one byte is "0.000001".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credits(pub(crate) wharfinger_entity::Credits);

/// An amount of credits as an exact decimal string without exponent or trailing zeros: "1000", "-0.5",
/// "12.345678". One credit pays for one megabyte (1,000,000 bytes), so one byte is "0.000001".
#[Scalar]
impl ScalarType for Credits {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        text.parse()
            .map(Self)
            .map_err(|error: wharfinger_entity::CreditsError| {
                InputValueError::custom(error.to_string())
            })
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

impl From<wharfinger_entity::Credits> for Credits {
    fn from(credits: wharfinger_entity::Credits) -> Self {
        Self(credits)
    }
}

/// Converts a count to GraphQL's `Int`, which has 32 bits; larger counts are cut.
pub(crate) fn int(count: impl TryInto<i32>) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}
