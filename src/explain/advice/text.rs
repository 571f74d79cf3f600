//! What the text of a step names: variables, files and folders, by whole words.
//!
//! The text is that of the Dockerfile with its heredocs' bodies, of which BuildKit's name for the step
//! shows only the beginning, and that name, in which variables have their values. Surprising: a
//! command such as `install` may be called what a file is called, so a word counts as a file that a
//! step is known to read only where it looks like a path.

use globset::Glob;

use crate::dockerfile::Instruction;
use crate::trace::bracketed;

/// The text of one step.
pub struct StepText {
    /// BuildKit's name for it, without stage and position.
    name: String,
    /// As the Dockerfile writes it; the name where its instruction is not known.
    written: String,
    is_found: bool,
}

impl StepText {
    pub fn of(step: &str, instruction: Option<&Instruction>) -> Self {
        let name = bare(step).to_owned();
        let written = instruction.map(|found| {
            let bodies = found.heredocs.iter().map(|heredoc| format!("\n{}", heredoc.body));
            format!("{} {}{}", found.keyword, found.text, bodies.collect::<String>())
        });
        let is_found = written.is_some();
        Self { written: written.unwrap_or_else(|| name.clone()), name, is_found }
    }

    /// What tells this step from others, whatever values its variables have.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Whether it names the variable, or where only BuildKit's name of the step is known its value.
    pub fn names_variable(&self, name: &str, value: &str) -> bool {
        holds_word(&self.written, name)
            || (!self.is_found && !value.is_empty() && self.name.contains(value))
    }

    /// Whether it may read the file at `path`, which a `COPY` put below `destination`: its name, a
    /// pattern that it matches, or a folder that it lies in is among the words.
    pub fn may_read(&self, path: &str, destination: &str) -> bool {
        let copied_to = last(destination);
        let parts: Vec<&str> = path.split('/').collect();
        self.words().any(|word| match last(word) {
            // The folder that it runs in, or the root of all, holds everything.
            None => true,
            Some(dots) if dots.bytes().all(|byte| byte == b'.') => true,
            found if found == copied_to => true,
            Some(found) => parts.iter().any(|part| is(found, part)),
        })
    }

    /// Whether it reads the file at `path` by all appearances: a word that looks like a path ends
    /// in its name.
    pub fn reads(&self, path: &str) -> bool {
        let name = last(path);
        self.words().any(|word| word.contains(['/', '.']) && last(word) == name)
    }

    /// Words as a shell parts them, and those that stand around `=`, `:` and `,`.
    fn words(&self) -> impl Iterator<Item = &str> {
        let parted = |c: char| c.is_whitespace() || ";&|<>()\"'`=,:{}$".contains(c);
        let all = self.name.split(parted).chain(self.written.split(parted));
        all.filter(|word| !word.is_empty())
    }
}

/// Whether `word`, which may be a pattern, stands for `part` of a path.
fn is(word: &str, part: &str) -> bool {
    if !word.contains(['*', '?', '[']) {
        return word == part;
    }
    Glob::new(word).is_ok_and(|glob| glob.compile_matcher().is_match(part))
}

/// The last part of a path; none of `.` and `/`.
fn last(path: &str) -> Option<&str> {
    path.split('/').rfind(|part| !part.is_empty() && *part != ".")
}

/// Whether `name` stands in `text` as a whole word of letters, digits and underscores.
fn holds_word(text: &str, name: &str) -> bool {
    text.split(parts_words).any(|word| word == name)
}

/// Whether `text` has the value of the variable `name` in it, as `$name` or `${name…}`.
pub fn refers_to(text: &str, name: &str) -> bool {
    text.split('$').skip(1).any(|after| {
        let after = after.strip_prefix('{').unwrap_or(after);
        after.split(parts_words).next() == Some(name)
    })
}

fn parts_words(c: char) -> bool {
    !c.is_ascii_alphanumeric() && c != '_'
}

/// A step's name without stage and position.
pub fn bare(step: &str) -> &str {
    bracketed(step).map_or(step, |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> StepText {
        StepText::of(&format!("[build 2/3] RUN {text}"), None)
    }

    #[test]
    fn files_are_named_by_whole_words() {
        assert!(!run("echo installed").may_read("install", "/w"));
        assert!(!run("sleep 0.2").may_read("lib/l", "/w"));
        assert!(run("sh ./install").may_read("install", "/w"));
        assert!(!run("cat /w/src/other.txt").may_read("src/main.txt", "/w"));
        assert!(run("cat --from=/w/main.txt").may_read("src/main.txt", "/w"));
        assert!(
            run("npm install").may_read("install", "/w") && !run("npm install").reads("install")
        );
        assert!(run("sh /w/install").reads("install"));
    }

    #[test]
    fn patterns_and_folders_may_hold_a_file() {
        for text in ["cat /w/src/*.txt", "ls /w/src/", "cp -r /w /x", "make -C .", "go test ./..."]
        {
            assert!(run(text).may_read("src/main.txt", "/w"), "{text}");
            assert!(!run(text).reads("src/main.txt"), "{text}");
        }
        assert!(!run("cat /w/doc/*.md").may_read("src/main.txt", "/w"));
        assert!(!run("cat [").may_read("src/main.txt", "/w"));
    }

    #[test]
    fn variables_are_named_by_whole_words_and_in_heredocs() {
        let heredoc = "FROM a\nRUN <<EOF\necho ${VERSION:-1}\nEOF\n";
        let dockerfile = crate::dockerfile::parse(heredoc);
        let instruction = &dockerfile.stages[0].instructions[0];
        let text = StepText::of("[2/2] RUN <<EOF (echo ...)", Some(instruction));
        assert!(text.names_variable("VERSION", "2") && !text.names_variable("VERS", "2"));
        // In BuildKit's name alone the value stands for it.
        assert!(run("echo 2.1").names_variable("VERSION", "2.1"));
        assert!(!run("echo").names_variable("VERSION", ""));
        assert!(refers_to("A=1-${V:-2}", "V") && refers_to("A=$V", "V"));
        assert!(!refers_to("V=1 A=$VV", "V"));
    }
}
