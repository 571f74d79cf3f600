//! Secrets that builds mount and that caches are logged in to with: where their values are, and how
//! these are kept out of results.
//!
//! Read once, before anything is built. Nothing prints or serializes a value. Text is searched as it
//! was printed: what was cut or quoted is no longer a secret's line, but shows most of one.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Bound, Range};
use std::path::PathBuf;
use std::str::FromStr;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

/// The most that BuildKit takes for one (buildkit `session/secrets/secretsprovider/store.go`).
const LIMIT: usize = 500 * 1024;
/// Shorter lines stand in logs by chance, and hiding them would hide nothing.
const SHORTEST: usize = 6;
/// What stands in the place of a secret.
const STARS: &[u8] = b"***";

/// Where one secret is, as buildx takes it: `id=NAME`, `id=NAME,src=FILE` or `id=NAME,env=VARIABLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    id: String,
    from: From,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum From {
    File(PathBuf),
    Variable(String),
    /// The variable of the secret's name, else the file of that name.
    Either,
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read secret {id} from {}", path.display())]
    Read { id: String, path: PathBuf, source: std::io::Error },
    #[error("secret {id} is to come from the variable {variable}, which is not set")]
    NotSet { id: String, variable: String },
    #[error("secret {id} is larger than the 500 KiB that BuildKit takes")]
    TooLarge { id: String },
    #[error("secret {id} is given twice")]
    Twice { id: String },
    #[error("a cache attribute takes {{env:{variable}}}, and the variable {variable} is not set")]
    NoVariable { variable: String },
    #[error("secrets are too large, all together, to be looked for in what builds print")]
    Search { source: aho_corasick::BuildError },
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut id, mut file, mut variable) = (None, None, None);
        for pair in text.split(',') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (key, value) {
                (_, "") => return Err(format!("{pair:?} is not KEY=VALUE")),
                ("id", value) => id = Some(value.to_owned()),
                ("src" | "source", value) => file = Some(PathBuf::from(value)),
                ("env", value) => variable = Some(value.to_owned()),
                ("type", "file" | "env") => {}
                (key, _) => return Err(format!("unknown key {key:?}; there are id, src and env")),
            }
        }
        let id = id.ok_or("a secret needs id=NAME")?;
        let from = match (file, variable) {
            (Some(_), Some(_)) => return Err("a secret has src or env, not both".into()),
            (Some(file), None) => From::File(file),
            (None, Some(variable)) => From::Variable(variable),
            (None, None) => From::Either,
        };
        Ok(Self { id, from })
    }
}

/// Values by their names.
#[derive(Clone, Default)]
pub struct Secrets {
    /// For builds, by their ids.
    mounted: BTreeMap<String, Vec<u8>>,
    /// Of the environment, for cache attributes.
    variables: BTreeMap<String, String>,
    /// Every line of all that is hidden, in each of the ways that it may stand in text.
    hidden: BTreeSet<Vec<u8>>,
    /// Finds `hidden`; none where that is empty.
    finder: Option<AhoCorasick>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.mounted.keys().chain(self.variables.keys())).finish()
    }
}

impl Secrets {
    /// Reads every one of `places`.
    pub fn read(places: &[Place]) -> Result<Self, SecretError> {
        let mut found = BTreeMap::new();
        for Place { id, from } in places {
            let id = id.clone();
            let variable = |name: &str| {
                use std::os::unix::ffi::OsStringExt;
                std::env::var_os(name).map(OsStringExt::into_vec)
            };
            let file = |path: PathBuf| {
                let read = std::fs::read(&path);
                read.map_err(|source| SecretError::Read { id: id.clone(), path, source })
            };
            let value = match from {
                From::File(path) => file(path.clone())?,
                From::Variable(name) => {
                    let unset = || SecretError::NotSet { id: id.clone(), variable: name.clone() };
                    variable(name).ok_or_else(unset)?
                }
                From::Either => match variable(&id) {
                    Some(value) => value,
                    None => file(PathBuf::from(&id))?,
                },
            };
            if value.len() > LIMIT {
                return Err(SecretError::TooLarge { id });
            }
            if found.insert(id.clone(), value).is_some() {
                return Err(SecretError::Twice { id });
            }
        }
        Self::of(found)
    }

    /// Those of these values, by their ids, for builds that mount them.
    pub fn of(mounted: BTreeMap<String, Vec<u8>>) -> Result<Self, SecretError> {
        let mut secrets = Self::default();
        secrets.conceal_all(mounted.values().map(Vec::as_slice))?;
        Ok(Self { mounted, ..secrets })
    }

    /// For the session that hands them to the engine.
    pub fn values(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.mounted
    }

    /// Reads the variables that `text` names as `{env:NAME}`, for [`Self::filled`].
    pub fn look_up(&mut self, text: &str) -> Result<(), SecretError> {
        for name in parts(text).filter_map(|(_, name)| name) {
            let value = std::env::var(name)
                .map_err(|_| SecretError::NoVariable { variable: name.to_owned() })?;
            self.conceal(&value)?;
            self.variables.insert(name.to_owned(), value);
        }
        Ok(())
    }

    /// `text` with the values of the variables that it names, which were looked up before.
    pub fn filled(&self, text: &str) -> String {
        let value = |name: &str| self.variables.get(name).map_or("", String::as_str);
        parts(text).flat_map(|(plain, name)| [plain, name.map_or("", value)]).collect()
    }

    /// Hides every line of `value` from now on.
    pub fn conceal(&mut self, value: &str) -> Result<(), SecretError> {
        self.conceal_all([value.as_bytes()])
    }

    fn conceal_all<'a>(
        &mut self,
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), SecretError> {
        let lines = values.into_iter().flat_map(|value| value.split(|&byte| byte == b'\n'));
        let lines = lines.map(<[u8]>::trim_ascii).filter(|line| line.len() >= SHORTEST);
        self.hidden.extend(lines.flat_map(forms));
        if !self.hidden.is_empty() {
            // A faster kind takes a kilobyte for each byte of a secret.
            let mut builder = AhoCorasick::builder();
            let finder = builder.kind(Some(AhoCorasickKind::ContiguousNFA)).build(&self.hidden);
            self.finder = Some(finder.map_err(|source| SecretError::Search { source })?);
        }
        Ok(())
    }

    /// Whether there is anything to hide.
    pub fn is_hiding(&self) -> bool {
        self.finder.is_some()
    }

    /// The length of the longest line that is hidden, in bytes.
    pub fn longest(&self) -> usize {
        self.hidden.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Puts `***` in the place of every line of a secret that `text` holds.
    pub fn hide(&self, text: &mut String) {
        let hidden = self.hidden(text.as_bytes());
        if let Cow::Owned(hidden) = hidden {
            *text = String::from_utf8_lossy(&hidden).into_owned();
        }
    }

    /// `text` with `***` in the place of every line of a secret.
    pub fn hidden<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let (mut shown, mut from) = (vec![], 0);
        for found in self.find(text) {
            shown.extend_from_slice(&text[from..found.start]);
            shown.extend_from_slice(STARS);
            from = found.end;
        }
        if from == 0 {
            return Cow::Borrowed(text);
        }
        shown.extend_from_slice(&text[from..]);
        Cow::Owned(shown)
    }

    /// The same of `text` that ends anywhere: the beginning of a secret at its end is hidden too.
    pub fn hidden_cut(&self, text: &[u8]) -> Vec<u8> {
        let (whole, rest) = text.split_at(self.unfinished(text));
        let mut shown = self.hidden(whole).into_owned();
        shown.extend_from_slice(if rest.len() < SHORTEST { rest } else { STARS });
        shown
    }

    /// Where `text`, which goes on or was cut, ends in what may be the beginning of a secret's line;
    /// its length where it does not.
    pub fn unfinished(&self, text: &[u8]) -> usize {
        let begun = |tail: &[u8]| {
            let after = (Bound::Included(tail), Bound::Unbounded);
            let mut after = self.hidden.range::<[u8], _>(after);
            after.next().is_some_and(|line| line.starts_with(tail))
        };
        let first = (text.len() + 1).saturating_sub(self.longest()).min(text.len());
        let start = (first..text.len()).find(|&start| begun(&text[start..]));
        let start = start.unwrap_or(text.len());
        // What overlaps with that beginning is known to be hidden only together with it.
        let over = self.find(text).into_iter().find(|found| found.end > start);
        over.map_or(start, |found| found.start.min(start))
    }

    /// Where lines of secrets stand in `text`, in its order; those that overlap are one.
    fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let Some(finder) = &self.finder else { return vec![] };
        let mut found: Vec<Range<usize>> = vec![];
        // These come in the order of their ends.
        for next in finder.find_overlapping_iter(text) {
            let mut next = next.range();
            while let Some(before) = found.pop_if(|before| before.end > next.start) {
                next.start = next.start.min(before.start);
            }
            found.push(next);
        }
        found
    }
}

/// What `line` may look like: as it is, as text where it is none, and in the quotes of JSON, which
/// engines' messages and programs have too.
fn forms(line: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let text = String::from_utf8_lossy(line);
    let quoted = serde_json::Value::from(&*text).to_string();
    let quoted = quoted.as_bytes()[1..quoted.len() - 1].to_vec();
    [line.to_vec(), text.as_bytes().to_vec(), quoted].into_iter()
}

/// `text` in pieces: what is plain, and the name in the `{env:NAME}` after it; the last has none.
fn parts(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut left = Some(text);
    std::iter::from_fn(move || {
        let rest = left.take()?;
        let split = rest.split_once("{env:").and_then(|(plain, after)| {
            let (name, after) = after.split_once('}')?;
            Some((plain, name, after))
        });
        Some(match split {
            Some((plain, name, after)) => {
                left = Some(after);
                (plain, Some(name))
            }
            None => (rest, None),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Result<Place, String> {
        text.parse()
    }

    #[test]
    fn a_place_is_written_as_for_buildx() {
        let of = |id: &str, from| Ok(Place { id: id.into(), from });
        assert_eq!(place("id=npm,src=/x/y"), of("npm", From::File("/x/y".into())));
        assert_eq!(place("type=file,id=npm,source=y"), of("npm", From::File("y".into())));
        assert_eq!(place("id=npm,env=TOKEN"), of("npm", From::Variable("TOKEN".into())));
        assert_eq!(place("id=npm"), of("npm", From::Either));
        for bad in ["", "npm", "src=x", "id=a,src=b,env=c", "id=a,mode=4", "id="] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_there_too_large_or_given_twice_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, size: usize| {
            let path = folder.path().join(name);
            std::fs::write(&path, vec![b'x'; size]).unwrap();
            place(&format!("id={name},src={}", path.display())).unwrap()
        };
        let (small, large) = (file("small", 3), file("large", LIMIT + 1));
        let read = |places: &[&Place]| {
            Secrets::read(&places.iter().map(|place| (*place).clone()).collect::<Vec<_>>())
        };
        assert_eq!(read(&[&small]).unwrap().values()["small"], b"xxx");
        assert!(matches!(read(&[&large]), Err(SecretError::TooLarge { .. })));
        assert!(matches!(read(&[&small, &small]), Err(SecretError::Twice { .. })));
        let gone = place("id=a,src=/nowhere/x").unwrap();
        assert!(matches!(read(&[&gone]), Err(SecretError::Read { .. })));
        let unset = place("id=a,env=CACHEFROM_NO_SUCH_VARIABLE").unwrap();
        assert!(matches!(read(&[&unset]), Err(SecretError::NotSet { .. })));
    }

    #[test]
    fn values_are_hidden_line_by_line_and_never_printed() {
        let value = b"user=me\ncorrect-horse\n\nyes\n".to_vec();
        let secrets = Secrets::of(BTreeMap::from([("npm".to_owned(), value)])).unwrap();
        let mut text = "login with correct-horse as user=me failed: yes".to_owned();
        secrets.hide(&mut text);
        assert_eq!(text, "login with *** as *** failed: yes");
        assert_eq!(format!("{secrets:?}"), "{\"npm\"}");
    }

    fn hiding(values: &[&str]) -> Secrets {
        let mut secrets = Secrets::default();
        values.iter().for_each(|value| secrets.conceal(value).unwrap());
        secrets
    }

    fn shown(secrets: &Secrets, text: &str) -> String {
        let mut text = text.to_owned();
        secrets.hide(&mut text);
        text
    }

    #[test]
    fn a_secret_that_begins_or_ends_another_does_not_uncover_the_rest() {
        let secrets = hiding(&["hunter2", "hunter2-prod-9f3c", "9f3c-more", "prod-9"]);
        assert_eq!(shown(&secrets, "hunter2-prod-9f3c, then hunter2"), "***, then ***");
        assert_eq!(shown(&secrets, "a hunter2-prod-9f3c-more b"), "a *** b");
        assert_eq!(shown(&secrets, "hunter2hunter2"), "******");
    }

    #[test]
    fn a_secret_is_hidden_as_programs_quote_it() {
        let secrets = hiding(&["//registry.example/:_authToken=\"abc\\def\""]);
        let printed = "x //registry.example/:_authToken=\"abc\\def\" y";
        assert_eq!(shown(&secrets, printed), "x *** y");
        assert_eq!(shown(&secrets, &format!("{printed:?}")), "\"x *** y\"");
    }

    #[test]
    fn a_secret_that_is_no_text_is_hidden_as_it_is_and_as_text() {
        let value = b"key:\xff\xfe\x00:end".to_vec();
        let secrets = Secrets::of(BTreeMap::from([("a".to_owned(), value.clone())])).unwrap();
        assert_eq!(*secrets.hidden(&value), *STARS);
        assert_eq!(shown(&secrets, &String::from_utf8_lossy(&value)), "***");
    }

    #[test]
    fn the_beginning_of_a_secret_is_known_at_the_end_of_text() {
        let secrets = hiding(&["correct-horse", "horse-box"]);
        let unfinished = |text: &str| secrets.unfinished(text.as_bytes());
        assert_eq!(unfinished(""), 0);
        assert_eq!(unfinished("a b"), 3);
        assert_eq!(unfinished("a correct-hors"), 2);
        // The second may begin within the first.
        assert_eq!(unfinished("a correct-horse"), 2);
        assert_eq!(unfinished("a correct-horse!"), 16);
        assert_eq!(unfinished("a ccc"), 4);
        let cut = |text: &str| String::from_utf8(secrets.hidden_cut(text.as_bytes())).unwrap();
        assert_eq!(cut("correct-horse, correct-ho"), "***, ***");
        assert_eq!(cut("correct-horse, c"), "***, c");
        assert_eq!(Secrets::default().unfinished(b"abc"), 3);
    }

    #[test]
    fn variables_are_filled_in_once_and_hidden() {
        let mut secrets = Secrets::default();
        // Cargo sets this one for tests.
        let value = env!("CARGO_PKG_NAME");
        secrets.look_up("a").unwrap();
        assert!(!secrets.is_hiding());
        secrets.look_up("a{env:CARGO_PKG_NAME}b{env:CARGO_PKG_NAME}{env:").unwrap();
        let filled = secrets.filled("{env:CARGO_PKG_NAME}/{x}{env:");
        assert_eq!(filled, format!("{value}/{{x}}{{env:"));
        let mut text = format!("logged in with {value}");
        secrets.hide(&mut text);
        assert_eq!(text, "logged in with ***");
        assert_eq!(format!("{secrets:?}"), "{\"CARGO_PKG_NAME\"}");
        let unset = secrets.look_up("{env:CACHEFROM_NO_SUCH_VARIABLE}").unwrap_err();
        let said = "a cache attribute takes {env:CACHEFROM_NO_SUCH_VARIABLE}, and the variable \
                    CACHEFROM_NO_SUCH_VARIABLE is not set";
        assert_eq!(unset.to_string(), said);
    }
}
