//! Limits of a document's length before it is parsed: tokens, and brackets inside brackets.
//!
//! The parser takes a stack frame for every bracket and an allocation for most tokens. One pass over the text, which stops
//! at a limit, refuses documents that would be too expensive.

use crate::http::response::error::{ErrorCode, Refusal};

/// Most brackets inside brackets, which take stack. Documents that people write have a quarter of it.
const MOST_NESTED: usize = 64;

/// Fails for a text with more than `most` tokens (0: no limit), or with brackets too deep inside each other. The parser
/// refuses a text that is not GraphQL.
pub(crate) fn check(text: &str, most: usize) -> Result<(), Refusal> {
    let refuse = |message| Err(Refusal::new(ErrorCode::LimitExceeded, message));
    let (mut count, mut nested) = (0_usize, 0_usize);
    let text = text.as_bytes();
    for token in (Tokens { text, at: 0 }) {
        count += 1;
        if most > 0 && count > most {
            return refuse(format!(
                "the document has more than {most} tokens (limits.tokens): pass values as variables, or ask for less in one request"
            ));
        }
        match token {
            b'{' | b'[' | b'(' => nested += 1,
            b'}' | b']' | b')' => nested = nested.saturating_sub(1),
            _ => {}
        }
        if nested > MOST_NESTED {
            return refuse(format!(
                "the document has more than {MOST_NESTED} brackets inside each other: ask for less depth at once"
            ));
        }
    }
    Ok(())
}

/// An iterator over the first byte of each token (GraphQL specification, 2.1 "Source Text").
struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
}

impl Tokens<'_> {
    /// Advances while `wanted` holds.
    fn skip(&mut self, wanted: impl Fn(u8) -> bool) {
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|&byte| !wanted(byte));
        self.at += length.unwrap_or(rest.len());
    }

    /// Advances behind the end of a string. To the parser, a block string without an end is an empty string, and it reads
    /// on behind it. Counted as one token to the end of the text, it would hide any number of tokens.
    fn skip_string(&mut self) {
        let start = self.at;
        let block = self.text[self.at..].starts_with(b"\"\"\"");
        self.at += if block { 3 } else { 1 };
        while let Some(&byte) = self.text.get(self.at) {
            let rest = &self.text[self.at..];
            match byte {
                b'\\' if block && rest.starts_with(b"\\\"\"\"") => self.at += 4,
                b'\\' if !block => self.at += 2,
                b'"' if !block => {
                    self.at += 1;
                    return;
                }
                b'"' if rest.starts_with(b"\"\"\"") => {
                    self.at += 3;
                    return;
                }
                // A string ends with its line, closed or not.
                b'\n' | b'\r' if !block => return,
                _ => self.at += 1,
            }
        }
        if block {
            self.at = start + 2;
        }
    }

    /// Advances behind the end of a number as the parser reads it: an integer ends where another may begin, with nothing in
    /// between. So `[000]` has three numbers, and `[1-1]` two.
    fn skip_number(&mut self) {
        if self.text[self.at] == b'-' {
            self.at += 1;
        }
        match self.text.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.skip(|byte| byte.is_ascii_digit()),
            _ => return,
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.skip_digits(1);
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            let signed = matches!(self.text.get(self.at + 1), Some(b'+' | b'-'));
            self.skip_digits(if signed { 2 } else { 1 });
        }
    }

    /// Advances over `prefix` bytes and the digits behind them, if there are digits.
    fn skip_digits(&mut self, prefix: usize) {
        let digits = self.at + prefix;
        if self.text.get(digits).is_some_and(u8::is_ascii_digit) {
            self.at = digits;
            self.skip(|byte| byte.is_ascii_digit());
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        loop {
            self.skip(|byte| {
                matches!(
                    byte,
                    b' ' | b'\t' | b'\n' | b'\r' | b',' | 0xEF | 0xBB | 0xBF
                )
            });
            if self.text.get(self.at) != Some(&b'#') {
                break;
            }
            self.skip(|byte| !matches!(byte, b'\n' | b'\r'));
        }
        let first = *self.text.get(self.at)?;
        match first {
            b'"' => self.skip_string(),
            b'.' if self.text[self.at..].starts_with(b"...") => self.at += 3,
            b'-' | b'0'..=b'9' => self.skip_number(),
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.skip(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            }
            _ => self.at += 1,
        }
        // A backslash may be the last of the text.
        self.at = self.at.min(self.text.len());
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        let text = text.as_bytes();
        Tokens { text, at: 0 }.count()
    }

    #[test]
    fn tokens_are_those_of_the_specification() {
        for (text, expected) in [
            ("", 0),
            (" ,\t\r\n\u{feff}# nothing { a }", 0),
            ("{ a }", 3),
            ("query Q($a:[Int!]! = [1, -2.5e+3]) @b { ...c }", 23),
            ("{ a(b: \"c } # \\\" d\") }", 8),
            ("{ a(b: \"\"\"c \" \\\"\"\" \n }\"\"\") }", 8),
            ("...", 1),
            ("é", 2),
            // Numbers end where the parser ends them.
            ("[000]", 5),
            ("[1-1]", 4),
            ("[-0-0]", 4),
            ("[10 -20]", 4),
            ("0.5", 1),
            ("-1.25", 1),
            ("1e5", 1),
            ("1E-5", 1),
            ("-2.5e+3", 1),
            ("[1.5-1]", 4),
            ("[1e5-1]", 4),
            ("[1.50.5]", 5),
            ("1e", 2),
            ("1a", 2),
            ("1...a", 3),
            ("-", 1),
            ("--", 2),
        ] {
            assert_eq!(count(text), expected, "{text}");
        }
    }

    /// Every value that the parser reads is counted as a token, even without white space in between.
    #[test]
    fn no_more_values_are_parsed_than_tokens_are_counted() {
        use async_graphql::parser::{parse_query, types::Selection};
        use async_graphql_value::Value;

        for values in [
            "0".repeat(100),
            "1-".repeat(100) + "1",
            "-0".repeat(100),
            "0.5".to_owned() + &"-1e+1".repeat(100),
            "\"a\"".repeat(100),
            format!("\"\"\" a\" {}", "1 ".repeat(100)),
        ] {
            let text = format!("{{ a(b: [{values}]) }}");
            let document = parse_query(&text).unwrap();
            let (_, operation) = document.operations.iter().next().unwrap();
            let Selection::Field(field) = &operation.node.selection_set.node.items[0].node else {
                panic!("{text}");
            };
            let Value::List(list) = &field.node.get_argument("b").unwrap().node else {
                panic!("{text}");
            };
            // The other tokens are `{ a ( b : [ ] ) }`.
            assert_eq!(count(&text), list.len() + 9, "{text}");
        }
    }

    #[test]
    fn strings_without_an_end_do_not_run_over_it() {
        for text in [
            "\"",
            "\"\"\"",
            "\"a\\",
            "\"\"\"a\\",
            "\"a\nb",
            "\"\"\"\\\"\"\"",
        ] {
            assert!((1..=3).contains(&count(text)), "{text:?}");
        }
    }

    #[test]
    fn what_is_over_a_limit_is_refused_where_the_limit_is_passed() {
        let refused = |text: &str, most| check(text, most).unwrap_err();
        assert!(check("{ a b }", 4).is_ok());
        assert!(check(&"a ".repeat(1 << 20), 0).is_ok());
        let refusal = refused("{ a b }", 3);
        assert_eq!(refusal.code, ErrorCode::LimitExceeded);
        assert!(refusal.message.contains("more than 3 tokens"), "{refusal}");
        for open in ["{", "[", "(", "{a", "{a(b:", "[["] {
            let refusal = refused(&open.repeat((1 << 20) / open.len()), 0);
            assert!(refusal.message.contains("64 brackets"), "{refusal}");
        }
    }
}
