//! [`Credits`]: what users pay with.

use std::{fmt, str::FromStr};

use sea_orm::DeriveValueType;

use crate::excerpt::excerpt;

/// Micro-credits in one credit.
const MICRO: u64 = 1_000_000;
/// Digits after the point.
const FRACTION_DIGITS: usize = 6;

/// An amount of credits, exact and signed, in whole micro-credits. One credit pays for 1,000,000 bytes, so one byte costs
/// one micro-credit. In the database a BIGINT of micro-credits; as text an exact decimal such as `-0.5`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, DeriveValueType)]
pub struct Credits(i64);

impl Credits {
    /// No credits.
    pub const ZERO: Self = Self(0);

    /// An amount of micro-credits.
    pub const fn from_micro(micro: i64) -> Self {
        Self(micro)
    }

    /// The amount in micro-credits.
    pub const fn micro(self) -> i64 {
        self.0
    }

    /// The price of an unpacked image of this many bytes; none above the largest amount (9.2 exabytes).
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        i64::try_from(bytes).ok().map(Self)
    }

    /// The sum, or none where it is out of range.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or none where it is out of range.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Whether it is less than zero.
    pub const fn is_negative(self) -> bool {
        self.0.is_negative()
    }
}

/// An exact decimal without exponent or trailing zeros: `1000`, `-0.5`, `12.345678`, `0`.
impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let mut digits = (magnitude / MICRO).to_string();
        let fraction = magnitude % MICRO;
        if fraction != 0 {
            let fraction = format!("{fraction:0FRACTION_DIGITS$}");
            digits.push('.');
            digits.push_str(fraction.trim_end_matches('0'));
        }
        f.pad_integral(!self.is_negative(), "", &digits)
    }
}

/// Plain decimals only: an optional `-`, digits, and at most six more after a point.
impl FromStr for Credits {
    type Err = CreditsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(CreditsError::Empty);
        }
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (unsigned, None),
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !fraction.is_none_or(digits) {
            return Err(CreditsError::NotDecimal(excerpt(text)));
        }
        let fraction = fraction.unwrap_or_default();
        if fraction.len() > FRACTION_DIGITS {
            return Err(CreditsError::TooPrecise(excerpt(text)));
        }
        let out_of_range = || CreditsError::OutOfRange(excerpt(text));
        // At most six zeros are appended, which makes the fraction a whole number of micro-credits.
        let micro = format!("{whole}{fraction:0<FRACTION_DIGITS$}")
            .parse::<u64>()
            .map_err(|_| out_of_range())?;
        let micro = if negative {
            0_i64.checked_sub_unsigned(micro)
        } else {
            0_i64.checked_add_unsigned(micro)
        };
        micro.map(Self).ok_or_else(out_of_range)
    }
}

/// Why a text is not an amount of [`Credits`], and what would be, with the input, shortened and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreditsError {
    /// There is nothing.
    #[error("the amount of credits is empty: write a decimal number such as \"300\" or \"12.5\"")]
    Empty,
    /// Not a plain decimal: an exponent, a plus sign, a blank, or a point without digits on both sides.
    #[error(
        "\"{0}\" is not an amount of credits: write digits, with at most one point between them, after a \"-\" if it is negative, such as \"300\" or \"-12.5\""
    )]
    NotDecimal(String),
    /// More digits after the point than a micro-credit has.
    #[error(
        "\"{0}\" is too precise for an amount of credits: give at most 6 digits after the point"
    )]
    TooPrecise(String),
    /// More than fits.
    #[error(
        "\"{0}\" is out of range for an amount of credits: it must be between -9223372036854.775808 and 9223372036854.775807"
    )]
    OutOfRange(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTREMES: [(i64, &str); 2] = [
        (i64::MAX, "9223372036854.775807"),
        (i64::MIN, "-9223372036854.775808"),
    ];

    #[test]
    fn text_is_exact_and_short() {
        for (micro, text) in [
            (1_000_000_000, "1000"),
            (-500_000, "-0.5"),
            (12_345_678, "12.345678"),
            (0, "0"),
            (1, "0.000001"),
            (-1, "-0.000001"),
            (10, "0.00001"),
            (-1_000_000, "-1"),
            (1_100_000, "1.1"),
        ]
        .into_iter()
        .chain(EXTREMES)
        {
            let credits = Credits::from_micro(micro);
            assert_eq!(credits.to_string(), text);
            assert_eq!(text.parse(), Ok(credits));
        }
        assert_eq!(format!("{:>6}|", Credits::from_micro(-500_000)), "  -0.5|");
    }

    #[test]
    fn other_plain_decimals_are_read() {
        for (text, micro) in [
            ("0.50", 500_000),
            ("1.000000", 1_000_000),
            ("-0", 0),
            ("007", 7_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Credits::from_micro(micro)), "{text}");
        }
    }

    #[test]
    fn what_is_no_plain_decimal_is_refused() {
        let parsed = |text: &str| text.parse::<Credits>();
        for text in [
            "+1", "1e3", "1E3", "NaN", "inf", " 1", "1 ", "1 000", "1,5", ".5", "5.", ".", "-",
            "--1", "-.5", "1.2.3", "1.-5", "1_000", "0x10", "१", "1\n",
        ] {
            assert_eq!(parsed(text), Err(CreditsError::NotDecimal(excerpt(text))));
        }
        assert_eq!(parsed(""), Err(CreditsError::Empty));
        for text in ["0.0000001", "1.0000000"] {
            assert_eq!(parsed(text), Err(CreditsError::TooPrecise(text.into())));
        }
        for text in [
            "9223372036854.775808",
            "-9223372036854.775809",
            "99999999999999999999999999",
        ] {
            assert_eq!(parsed(text), Err(CreditsError::OutOfRange(text.into())));
        }
    }

    #[test]
    fn a_credit_pays_for_a_million_bytes() {
        assert_eq!(Credits::from_bytes(5_000_000), "5".parse().ok());
        assert_eq!(Credits::from_bytes(u64::MAX), None);
        assert!(Credits::from_micro(i64::MIN).is_negative() && !Credits::ZERO.is_negative());
        assert_eq!(Credits::default(), Credits::ZERO);
    }

    #[test]
    fn the_database_has_a_bigint() {
        assert_eq!(
            sea_orm::Value::from(Credits::from_micro(-500_000)),
            sea_orm::Value::BigInt(Some(-500_000))
        );
        assert_eq!(
            <Credits as sea_orm::sea_query::ValueType>::column_type(),
            sea_orm::sea_query::ColumnType::BigInteger
        );
    }
}
