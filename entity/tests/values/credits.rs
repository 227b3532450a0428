//! Properties of `Credits`.

use proptest::prelude::*;
use wharfinger_entity::Credits;

proptest! {
    #[test]
    fn text_round_trips(micro: i64) {
        let credits = Credits::from_micro(micro);
        let text = credits.to_string();
        prop_assert_eq!(text.parse(), Ok(credits));
        prop_assert!(!text.contains('.') || !text.ends_with('0'));
        prop_assert!(!text.contains(['e', 'E', '+']));
    }

    #[test]
    fn small_amounts_round_trip(micro in -3_000_000_i64..3_000_000) {
        let credits = Credits::from_micro(micro);
        prop_assert_eq!(credits.to_string().parse(), Ok(credits));
    }

    #[test]
    fn order_is_that_of_micro_credits(a: i64, b: i64) {
        prop_assert_eq!(Credits::from_micro(a).cmp(&Credits::from_micro(b)), a.cmp(&b));
    }

    #[test]
    fn arithmetic_is_that_of_micro_credits(a: i64, b: i64) {
        let (x, y) = (Credits::from_micro(a), Credits::from_micro(b));
        prop_assert_eq!(x.checked_add(y).map(Credits::micro), a.checked_add(b));
        prop_assert_eq!(x.checked_sub(y).map(Credits::micro), a.checked_sub(b));
    }

    #[test]
    fn a_byte_costs_a_micro_credit(bytes: u64) {
        prop_assert_eq!(
            Credits::from_bytes(bytes).map(Credits::micro),
            i64::try_from(bytes).ok()
        );
    }

    #[test]
    fn decimals_of_up_to_six_places_are_exact(whole in 0_i64..1_000_000_000_000, fraction in "[0-9]{1,6}") {
        let expected = whole * 1_000_000 + format!("{fraction:0<6}").parse::<i64>().unwrap();
        prop_assert_eq!(format!("{whole}.{fraction}").parse(), Ok(Credits::from_micro(expected)));
        prop_assert_eq!(format!("-{whole}.{fraction}").parse(), Ok(Credits::from_micro(-expected)));
    }
}
