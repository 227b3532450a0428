//! How long a document is, before anything parses it: tokens, and brackets inside brackets.
//!
//! The parser takes a stack frame for every bracket and an allocation for most tokens. One pass over the text, which stops
//! where a limit is passed, refuses what is not worth that.

use super::error::{ErrorCode, Refusal};

/// Brackets inside brackets at most. It protects the stack and is no setting: what people write has a quarter of it.
const MOST_NESTED: usize = 64;

/// Refuses a text with more than so many tokens (0: with any number), or with brackets too deep inside each other. What
/// is no GraphQL at all is the parser's to refuse.
pub(super) fn check(text: &str, most: usize) -> Result<(), Refusal> {
    let (mut count, mut nested) = (0_usize, 0_usize);
    for token in Tokens::of(text) {
        count += 1;
        if most > 0 && count > most {
            return Err(Refusal::new(
                ErrorCode::LimitExceeded,
                format!(
                    "the document has more than {most} tokens (limits.tokens): pass values as variables, or ask for less in one request"
                ),
            ));
        }
        match token {
            b'{' | b'[' | b'(' => nested += 1,
            b'}' | b']' | b')' => nested = nested.saturating_sub(1),
            _ => {}
        }
        if nested > MOST_NESTED {
            return Err(Refusal::new(
                ErrorCode::LimitExceeded,
                format!(
                    "the document has more than {MOST_NESTED} brackets inside each other: ask for less depth at once"
                ),
            ));
        }
    }
    Ok(())
}

/// The first byte of each token (GraphQL specification, 2.1 "Source Text").
struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Tokens<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            at: 0,
        }
    }

    /// Moves on while `wanted` holds.
    fn skip(&mut self, wanted: impl Fn(u8) -> bool) {
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|&byte| !wanted(byte));
        self.at += length.unwrap_or(rest.len());
    }

    /// Moves behind the end of a string, or of the text where it has none.
    fn skip_string(&mut self) {
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
            b'_' | b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.at += 1;
                let number = !first.is_ascii_alphabetic() && first != b'_';
                self.skip(|byte| {
                    byte.is_ascii_alphanumeric()
                        || byte == b'_'
                        || (number && matches!(byte, b'.' | b'+' | b'-'))
                });
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
        Tokens::of(text).count()
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
        ] {
            assert_eq!(count(text), expected, "{text}");
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
            assert!((1..=2).contains(&count(text)), "{text:?}");
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
