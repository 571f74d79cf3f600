//! What a registry asks for when it answers 401: pure.
//!
//! Sources: RFC 7235 §4.1; `docs/spec/auth/token.md` of distribution/distribution.

/// A way to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    /// A token from `realm`, for `service`.
    Bearer {
        realm: String,
        service: String,
    },
}

impl Challenge {
    /// Reads the value of `WWW-Authenticate`; `None` where it names no way that registries use.
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters(rest);
        let value = |wanted: &str| {
            let found = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.clone())
        };
        Some(Self::Bearer { realm: value("realm")?, service: value("service").unwrap_or_default() })
    }
}

/// `name="value", …`, where a value may be quoted and hold escaped quotes.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = vec![];
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']).to_owned();
        let after = after.trim_start();
        let mut value = String::new();
        let mut end = after.len();
        let quoted = after.starts_with('"');
        let mut escaped = false;
        for (at, c) in after.char_indices().skip(usize::from(quoted)) {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => {
                    escaped = true;
                    continue;
                }
                '"' if quoted => {
                    end = at + 1;
                    break;
                }
                ',' if !quoted => {
                    end = at;
                    break;
                }
                _ => {}
            }
            value.push(c);
        }
        found.push((name, value.trim().to_owned()));
        rest = &after[end..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_challenge_is_read_in_any_order_and_spelling() {
        let expected =
            Challenge::Bearer { realm: "https://a.test/t?x=1".into(), service: "s,2".into() };
        for header in [
            r#"Bearer realm="https://a.test/t?x=1",service="s,2",scope="repository:a/b:pull,push""#,
            r#"bearer service="s\,2" , realm="https://a.test/t?x=1""#,
        ] {
            assert_eq!(Challenge::parse(header), Some(expected.clone()), "{header}");
        }
        assert_eq!(
            Challenge::parse("Bearer realm=https://a.test/t"),
            Some(Challenge::Bearer { realm: "https://a.test/t".into(), service: String::new() })
        );
    }

    #[test]
    fn basic_is_known_and_other_schemes_are_not() {
        assert_eq!(Challenge::parse("Basic realm=\"é\""), Some(Challenge::Basic));
        for header in ["", "Digest realm=\"x\"", "Bearer", "Bearer service=\"s\"", "\"=\\"] {
            assert_eq!(Challenge::parse(header), None, "{header}");
        }
    }
}
