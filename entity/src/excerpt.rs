//! Shortens what a caller sent before it goes into an error message: messages reach logs, terminals and pages, so they
//! never carry control characters, and never more than a little of the input.

/// At most so many characters of an input are repeated in a message; a message repeats an input at most twice.
const LIMIT: usize = 48;

/// The start of `text` with control and other invisible characters escaped, and `…` where some is left out.
pub(crate) fn excerpt(text: &str) -> String {
    let mut out = String::new();
    let mut length = 0;
    for c in text.chars() {
        // Quotes and backslashes are harmless and read better as they are.
        let plain = matches!(c, '"' | '\'' | '\\');
        let escaped = c.escape_debug();
        let width = if plain { 1 } else { escaped.len() };
        if length + width > LIMIT {
            out.push('…');
            break;
        }
        length += width;
        if plain {
            out.push(c);
        } else {
            out.extend(escaped);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_stays() {
        assert_eq!(excerpt("ghcr.io/a/b:\"1\"\\é☃"), "ghcr.io/a/b:\"1\"\\é☃");
        assert_eq!(excerpt(&"a".repeat(48)), "a".repeat(48));
    }

    #[test]
    fn long_text_is_cut_at_the_limit() {
        assert_eq!(
            excerpt(&"a".repeat(5000)),
            format!("{}…", "a".repeat(LIMIT))
        );
        assert!(excerpt(&"\u{1}".repeat(5000)).chars().count() <= LIMIT + 1);
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(
            excerpt("a\u{1b}[31m\nb\u{202e}"),
            "a\\u{1b}[31m\\nb\\u{202e}"
        );
    }
}
