//! Docker's path patterns, as in moby/patternmatcher: `.dockerignore` lines and include lists.
//!
//! Pure text matching; touches no file system. Surprising: a path that matches a pattern carries
//! that on to everything below it, until a later `!` pattern takes it back.

use regex::Regex;

/// A pattern that is no pattern.
#[derive(Debug, thiserror::Error)]
#[error("the pattern {pattern:?} is not valid")]
pub struct PatternError {
    pattern: String,
    #[source]
    source: regex::Error,
}

/// Patterns in the order of their file: the last that matches decides.
#[derive(Debug)]
pub struct Patterns(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    /// Cleaned, without the leading `!`.
    text: String,
    exception: bool,
    regex: Regex,
}

/// Which patterns a directory matched, to be handed on to its children.
#[derive(Clone, Debug, Default)]
pub struct Matched(Vec<bool>);

impl Patterns {
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, PatternError> {
        let mut parsed = Vec::new();
        for pattern in patterns {
            let trimmed = pattern.as_ref().trim();
            if trimmed.is_empty() {
                continue;
            }
            let text = clean(trimmed);
            let (exception, text) = match text.strip_prefix('!') {
                Some(rest) => (true, clean(rest)),
                None => (false, text),
            };
            let regex = Regex::new(&to_regex(&text))
                .map_err(|source| PatternError { pattern: trimmed.to_owned(), source })?;
            parsed.push(Pattern { text, exception, regex });
        }
        Ok(Self(parsed))
    }

    /// The patterns of an ignore file's text; none where one of them is no pattern.
    ///
    /// Only a `#` that a line begins with makes it a comment, and blanks around a `!` do not count
    /// (moby/patternmatcher `ignorefile`, `ReadAll`).
    pub fn of_ignore_file(text: &str) -> Option<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::trim);
        let patterns = lines.map(|line| match line.strip_prefix('!') {
            Some(rest) => format!("!{}", rest.trim()),
            None => line.to_owned(),
        });
        Self::new(&patterns.collect::<Vec<_>>()).ok()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `path` matches, given what its parent matched (none for a top-level path).
    pub fn matches(&self, path: &str, parent: Option<&Matched>) -> (bool, Matched) {
        let mut matched = false;
        let mut by_pattern = vec![false; self.0.len()];
        for (index, pattern) in self.0.iter().enumerate() {
            let mut hit = parent.is_some_and(|parent| parent.0[index]);
            if !hit {
                // A pattern that could not change the answer is not looked at.
                if pattern.exception != matched {
                    continue;
                }
                hit = pattern.regex.is_match(path);
            }
            by_pattern[index] = hit;
            if hit {
                matched = !pattern.exception;
            }
        }
        (matched, Matched(by_pattern))
    }

    /// Whether `path` matches when each of its parents is asked before it, as a walk does.
    pub fn matches_below(&self, path: &str) -> bool {
        let mut carried = None;
        let mut answer = false;
        for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
            let (matched, more) = self.matches(&path[..end], carried.as_ref());
            (answer, carried) = (matched, Some(more));
        }
        answer
    }

    /// Whether an including pattern could match something below the directory `path`.
    pub fn may_include_below(&self, path: &str) -> bool {
        self.may_match_below(path, false)
    }

    /// Whether a `!` pattern could take back something below the directory `path`.
    pub fn may_except_below(&self, path: &str) -> bool {
        self.may_match_below(path, true)
    }

    fn may_match_below(&self, path: &str, exception: bool) -> bool {
        let mut candidates = self.0.iter().filter(|pattern| pattern.exception == exception);
        candidates.any(|pattern| {
            // Up to its first wildcard a pattern is a path, and can be compared with this one.
            match pattern.text.find(['*', '?', '[', '\\']) {
                Some(end) => {
                    let literal = &pattern.text[..end];
                    let below = format!("{path}/");
                    below.starts_with(literal) || literal.starts_with(&below)
                }
                None => pattern.text.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')),
            }
        })
    }
}

/// Whether a pattern may match anything but itself.
pub fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '\\'])
}

/// The pattern that `path` alone matches.
pub fn escaped(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for char in path.chars() {
        if matches!(char, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern
}

/// The path that a pattern without wildcards stands for.
pub fn unescaped(pattern: &str) -> String {
    let (mut path, mut chars) = (String::with_capacity(pattern.len()), pattern.chars());
    while let Some(char) = chars.next() {
        path.push(if char == '\\' { chars.next().unwrap_or(char) } else { char });
    }
    path
}

/// Go's `filepath.Clean` for a relative path, with a leading `/` dropped as Docker does.
pub fn clean(path: &str) -> String {
    let (bang, path) = match path.strip_prefix('!') {
        Some(rest) => ("!", rest),
        None => ("", path),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let joined = if parts.is_empty() { ".".to_owned() } else { parts.join("/") };
    format!("{bang}{joined}")
}

/// moby/patternmatcher `Pattern.compile`, without its shortcuts.
fn to_regex(pattern: &str) -> String {
    let mut regex = String::from("^");
    let mut chars = pattern.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                regex.push_str(if chars.peek().is_none() { ".*" } else { "(.*/)?" });
            }
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '\\' => match chars.next() {
                Some(next) => regex.push_str(&regex::escape(&next.to_string())),
                None => regex.push_str("\\\\"),
            },
            '[' | ']' | '^' | '-' => regex.push(char),
            char => regex.push_str(&regex::escape(&char.to_string())),
        }
    }
    regex.push('$');
    regex
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(patterns: &[&str], path: &str) -> bool {
        Patterns::new(patterns).unwrap().matches_below(path)
    }

    #[test]
    fn patterns_match_as_mobys_table_says() {
        // From moby/patternmatcher's TestMatches.
        for (pattern, path, expected) in [
            ("**", "dir/file", true),
            ("**/", "file", true),
            ("dir/**", "dir/dir2/file", true),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/**", "dir/dir2/dir2/file", true),
            ("a[b-d]e", "ace", true),
            ("a[^b]c", "abc", false),
            ("a.c", "abc", false),
            ("*.txt", "a/b.txt", false),
            ("**/*.txt", "a/b.txt", true),
            ("**file", "dir/file", true),
            ("a\\*b", "a*b", true),
            ("a(b)c/def", "a(b)c/def", true),
            ("/dir/", "dir/file", true),
            ("abc/def", "abcdef", false),
            ("**/.foo", "bar.foo", false),
        ] {
            assert_eq!(matches(&[pattern], path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn an_escaped_path_is_a_pattern_of_itself_alone() {
        for path in ["a", "a*b?", "[slug]/page.tsx", "a^b", "a\\b", "[]", "a-[b-c]"] {
            let pattern = escaped(path);
            assert!(matches(&[&*pattern], path), "{pattern}");
            assert_eq!(unescaped(&pattern), path);
        }
        assert!(!matches(&[&*escaped("[ab]")], "a") && !matches(&[&*escaped("a*")], "ab"));
    }

    #[test]
    fn an_ignore_file_is_read_as_moby_reads_it() {
        let matches =
            |text: &str, path: &str| Patterns::of_ignore_file(text).unwrap().matches_below(path);
        assert!(!matches("*\n! \ta\t\r\n", "a") && matches("*\n! a\n", "b"));
        assert!(matches("\u{feff}a\n", "a") && !matches("\u{feff}# a\n", "# a"));
        // A comment begins where its line does.
        assert!(matches("  # x\n", "# x") && !matches("# x\n", "# x"));
        assert!(!matches("#a\n\n \nb\n", "a") && matches("#a\n\n \nb\n", "b"));
    }

    #[test]
    fn the_last_matching_pattern_decides() {
        assert!(!matches(&["*", "!src"], "src/main.rs"));
        assert!(matches(&["*", "!src", "src/*.o"], "src/main.o"));
        assert!(matches(&["!src", "*"], "src/main.rs"));
        assert!(!matches(&["docs", "!docs/README.md"], "docs/README.md"));
        assert!(matches(&["docs", "!docs/README.md"], "docs/other.md"));
    }

    #[test]
    fn a_directory_is_skipped_only_if_nothing_below_can_match() {
        let include = Patterns::new(&["src/app", "**/*.toml"]).unwrap();
        assert!(include.may_include_below("src"));
        assert!(include.may_include_below("anything"));
        let exclude = Patterns::new(&["*", "!docs/a.md"]).unwrap();
        assert!(exclude.may_except_below("docs"));
        assert!(!exclude.may_except_below("src"));
    }
}
